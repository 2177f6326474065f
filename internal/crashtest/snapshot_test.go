package crashtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
)

// trimmed is a log with one partition, two snapshots, and nothing before them.
type trimmed struct {
	srv   *natsserver.Server
	store *natslog.Store
	infos []domain.SnapshotInfo
	ended []tasker.TaskID
	live  []tasker.TaskID // wait for a long retry
}

func unlucky(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
	return nil, tasker.RetryAfter(time.Hour, errors.New("not today"))
}

func (x *trimmed) config() tasker.Config {
	return tasker.Config{Connect: x.srv.Connect, Partitions: 1, SnapshotBytes: 1 << 40}
}

func (x *trimmed) workflows() []any {
	return []any{dummy(step(done)), one("unlucky", step(unlucky))}
}

func newTrimmed(t *testing.T) *trimmed {
	t.Helper()
	x := &trimmed{srv: single(t)}
	e := run(t, x.config(), x.workflows()...)
	x.ended = submitAll(t, e.Engine, "dummy", 100, 100, nil)
	x.live = submitAll(t, e.Engine, "unlucky", 20, 20, nil)
	waitAll(t, e.Engine, x.ended)
	prune(t, e)
	x.ended = append(x.ended, submitAll(t, e.Engine, "dummy", 100, 100, nil)...)
	waitAll(t, e.Engine, x.ended)
	prune(t, e) // the log begins at the older of two snapshots now
	x.ended = append(x.ended, submitAll(t, e.Engine, "dummy", 10, 10, nil)...)
	waitAll(t, e.Engine, x.ended)
	e.end(t)
	x.store = openStore(t, x.srv.Connect)
	var err error
	if x.infos, err = x.store.Snapshots().List(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	bounds, err := x.store.Log(0).Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(x.infos) != 2 || bounds.First == 1 || bounds.First > x.infos[1].Sequence+1 || x.infos[0].Sequence <= x.infos[1].Sequence {
		t.Fatalf("snapshots %+v of a log %+v", x.infos, bounds)
	}
	return x
}

func prune(t testing.TB, e *engine) {
	t.Helper()
	if _, err := e.Prune(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
}

// change replaces the content of a snapshot: the object store keeps what it is given, with a digest that is right.
func (x *trimmed) change(t *testing.T, info domain.SnapshotInfo, f func([]byte) []byte) {
	t.Helper()
	content, err := x.store.Snapshots().Get(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	x.put(t, info, f(content))
}

func (x *trimmed) put(t *testing.T, info domain.SnapshotInfo, content []byte) {
	t.Helper()
	if err := x.store.Snapshots().Delete(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	if _, err := x.store.Snapshots().Put(t.Context(), info, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// damage changes a byte of the stored object below its digest, as a disk does: a new chunk under the old description.
func (x *trimmed) damage(t *testing.T, info domain.SnapshotInfo) {
	t.Helper()
	s := newStranger(t, x.srv)
	objects, err := s.js.ObjectStore(t.Context(), "TASKER_SNAPSHOTS")
	if err != nil {
		t.Fatal(err)
	}
	object, err := objects.GetInfo(t.Context(), fmt.Sprintf("1/%02d/%d", info.Partition, info.Sequence))
	if err != nil {
		t.Fatal(err)
	}
	content, err := x.store.Snapshots().Get(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	stream, err := s.js.Stream(t.Context(), "OBJ_TASKER_SNAPSHOTS")
	if err != nil {
		t.Fatal(err)
	}
	subject := "$O.TASKER_SNAPSHOTS.C." + object.NUID
	if object.Chunks != 1 {
		t.Fatalf("the snapshot has %d chunks", object.Chunks)
	}
	if err := stream.Purge(t.Context(), purgeSubject(subject)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.Publish(t.Context(), subject, content); err != nil {
		t.Fatal(err)
	}
}

// works holds the engine that loaded what is left against what was before.
func (x *trimmed) works(t *testing.T) {
	t.Helper()
	e := run(t, x.config(), x.workflows()...)
	for _, id := range append(x.ended, x.live...) {
		r, err := e.Submit(t.Context(), "dummy", nil, tasker.WithID(id))
		if err != nil || r.Created {
			t.Fatalf("task %s is not known any more: %+v %v", id, r, err)
		}
	}
	for _, id := range x.live {
		v, err := e.Task(t.Context(), id)
		if err != nil || v.State != domain.Pending || v.Steps[0].Attempt != 1 || v.WaitingUntil.IsZero() {
			t.Fatalf("live task %s is %+v, %v", id, v, err)
		}
	}
	runsIn(t, e, 0, "dummy")
}

// closed is the error that keeps the partition closed.
func (x *trimmed) closed(t *testing.T) error {
	t.Helper()
	e := begin(t, x.config(), x.workflows()...)
	eventually(t, "the partition to be closed", func() bool { return phaseOf(e, 0) == subscribers.Closed })
	_, err := e.Submit(testContext(t, 5*time.Second), "dummy", nil)
	if err == nil {
		t.Fatal("a closed partition took a submission")
	}
	return err
}

// C1, DESIGN 6, snapshots: cut, damaged and swapped ones after a trim.
func TestSnapshotsAfterATrim(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, x *trimmed){
		"both good": func(t *testing.T, x *trimmed) { x.works(t) },
		"newest cut": func(t *testing.T, x *trimmed) {
			x.change(t, x.infos[0], func(b []byte) []byte { return b[:len(b)*2/3] })
			x.works(t)
		},
		"newest empty": func(t *testing.T, x *trimmed) {
			x.change(t, x.infos[0], func([]byte) []byte { return []byte("TASKSNAP") })
			x.works(t)
		},
		"newest with another byte": func(t *testing.T, x *trimmed) {
			x.change(t, x.infos[0], func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b })
			x.works(t)
		},
		"newest damaged below its digest": func(t *testing.T, x *trimmed) {
			x.damage(t, x.infos[0])
			x.works(t)
		},
		"newest gone": func(t *testing.T, x *trimmed) {
			if err := x.store.Snapshots().Delete(t.Context(), x.infos[0]); err != nil {
				t.Fatal(err)
			}
			x.works(t)
		},
		"newest holds the older": func(t *testing.T, x *trimmed) {
			older, err := x.store.Snapshots().Get(t.Context(), x.infos[1])
			if err != nil {
				t.Fatal(err)
			}
			x.put(t, x.infos[0], older)
			x.works(t)
		},
		"newest of another history": func(t *testing.T, x *trimmed) {
			x.change(t, x.infos[0], func(b []byte) []byte { return otherCommit(t, b) })
			x.works(t)
		},
		"newest of the future": func(t *testing.T, x *trimmed) {
			future := x.infos[0]
			future.Sequence += 1_000_000
			content, err := x.store.Snapshots().Get(t.Context(), x.infos[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.store.Snapshots().Put(t.Context(), future, bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			x.works(t)
		},
		"both bad": func(t *testing.T, x *trimmed) {
			x.change(t, x.infos[0], func(b []byte) []byte { return b[:len(b)*2/3] })
			x.damage(t, x.infos[1])
			err := x.closed(t)
			var gap *subscribers.GapError
			if !errors.As(err, &gap) {
				t.Fatalf("the error is %v", err)
			}
			for _, fact := range []string{
				fmt.Sprintf("its log begins at message %d", gap.First),
				fmt.Sprintf("at %d: ", x.infos[0].Sequence), fmt.Sprintf("at %d: ", x.infos[1].Sequence), "torn", "damaged",
			} {
				if !strings.Contains(err.Error(), fact) {
					t.Errorf("the error does not say %q: %v", fact, err)
				}
			}
		},
		"none": func(t *testing.T, x *trimmed) {
			for _, info := range x.infos {
				if err := x.store.Snapshots().Delete(t.Context(), info); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.closed(t); !strings.Contains(err.Error(), "there is no snapshot") {
				t.Errorf("the error is %v", err)
			}
		},
		"newest of a newer version": func(t *testing.T, x *trimmed) {
			x.change(t, x.infos[0], func(b []byte) []byte {
				b[len("TASKSNAP")] = projections.SnapshotFormat + 1
				return resum(b)
			})
			e := begin(t, x.config(), x.workflows()...)
			want := fmt.Sprintf("format %d and this version of tasker reads up to %d", projections.SnapshotFormat+1, projections.SnapshotFormat)
			eventually(t, "the error in the log", func() bool { return strings.Contains(e.log.String(), want) })
			if owns(e) != 0 {
				t.Error("the partition was opened")
			}
			_, err := e.Submit(testContext(t, 8*time.Second), "dummy", nil)
			var newer *projections.SnapshotVersionError
			if !errors.As(err, &newer) {
				t.Errorf("a submission is told: %v", err)
			}
		},
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, newTrimmed(t))
		})
	}
}

// otherCommit is the same snapshot with another commit id, and a right checksum.
func otherCommit(t *testing.T, b []byte) []byte {
	rest := b[len("TASKSNAP"):]
	for range 3 { // format, partition, sequence
		_, n := binary.Uvarint(rest)
		rest = rest[n:]
	}
	size, n := binary.Uvarint(rest)
	id := rest[n : n+int(size)]
	if id[0] == 'x' {
		t.Fatal("unlucky")
	}
	id[0] = 'x'
	return resum(b)
}

func resum(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// Pruning: a dry run removes nothing; a restart afterwards finds everything as it was, payloads in the log included.
func TestPruneThenRestart(t *testing.T) {
	t.Parallel()
	srv := single(t)
	config := tasker.Config{Connect: srv.Connect, Partitions: 1}
	var may atomic.Bool
	h := step(func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
		if !may.Load() {
			return nil, tasker.RetryAfter(time.Second, errors.New("later"))
		}
		return len(task.Context), nil
	})
	patient := func() *tasker.Workflow { return one("patient", h, tasker.Retries(1000)) }
	e := run(t, config, dummy(step(done)), patient())
	// A context that the state of a live task does not hold itself: it stays in the log.
	live := submitAll(t, e.Engine, "patient", 5, 5, noise(8<<10))
	ended := submitAll(t, e.Engine, "dummy", 300, 50, nil)
	waitAll(t, e.Engine, ended)
	store := openStore(t, srv.Connect)
	bounds := func() domain.LogBounds {
		b, err := store.Log(0).Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := bounds()
	dry, err := e.Prune(t.Context(), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if now := bounds(); now.First != before.First {
		t.Errorf("a dry run said %+v, and the log is %+v", dry, now)
	}
	if none, err := e.Prune(t.Context(), time.Hour, false); err != nil || none[0].Commits != 0 {
		t.Errorf("nothing is an hour old, and %+v went, %v", none, err)
	}
	for range 2 { // what is live keeps its payload in the log
		did, err := e.Prune(t.Context(), 0, false)
		if err != nil {
			t.Fatal(err)
		}
		if did[0].Commits > dry[0].Commits || did[0].First < dry[0].First-1 {
			t.Errorf("a dry run said %+v, and %+v went of %+v", dry, did, bounds())
		}
	}
	e.end(t)
	e = run(t, config, dummy(step(done)), patient())
	for _, id := range ended {
		if r, err := e.Submit(t.Context(), "dummy", nil, tasker.WithID(id)); err != nil || r.Created {
			t.Fatalf("task %s is not known any more: %+v %v", id, r, err)
		}
	}
	may.Store(true)
	ctx := testContext(t, 20*time.Second)
	for _, id := range live {
		r, err := e.Wait(ctx, id)
		if err != nil || !strings.Contains(string(r.Value), "8204") {
			t.Errorf("live task %s ended with %s %v", id, r.Value, err)
		}
	}
	did, err := e.Prune(t.Context(), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if did[0].Commits == 0 {
		t.Errorf("now that nothing is live, nothing was pruned: %+v of %+v", did, bounds())
	}
	h1, err := e.History(t.Context(), live[0])
	t.Logf("the history of a task that was pruned: %v, %v", h1 != nil && h1.Trimmed, err)
}
