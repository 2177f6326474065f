package crashtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// The child process: this test binary, called again with these variables.
const (
	childDir  = "TASKER_CRASH_DIR"  // where data, runs and archive are
	childKill = "TASKER_CRASH_KILL" // point:n, when to kill itself; "" = never
	childLoad = "TASKER_CRASH_LOAD" // tasks in flight; "0" = only finish what is there
	childArm  = "TASKER_CRASH_ARM"  // acknowledged submissions before the kill point is armed
)

const (
	maxChild = 2 * time.Minute
)

// The kill points.
const (
	killAppend   = "append"   // before a commit is sent
	killSent     = "sent"     // after it was sent
	killAck      = "ack"      // its acknowledgement has come, nobody has been told
	killEffect   = "effect"   // a handler has run and not reported
	killSnapshot = "snapshot" // in the middle of writing one
	killSnapped  = "snapped"  // after writing one
	killTrim     = "trim"     // before a trim
	killTrimmed  = "trimmed"  // after it
)

// killer kills its own process at the n-th pass of its point, counted from when it is armed.
type killer struct {
	point string
	arm   int64
	left  atomic.Int64
	acked atomic.Int64
}

func (k *killer) pass(point string) {
	if point == k.point && k.acked.Load() >= k.arm && k.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it comes at once, but not before the call returns
	}
}

// killStore is a store with kill points.
type killStore struct {
	*natslog.Store
	kill    *killer
	archive string
}

func (s *killStore) Log(p int) domain.Log        { return &killLog{s.Store.Log(p), s, p} }
func (s *killStore) Snapshots() domain.Snapshots { return killSnapshots{s.Store.Snapshots(), s.kill} }

type killLog struct {
	domain.Log
	store     *killStore
	partition int
}

func (l *killLog) Append(last uint64, id string, data []byte, answered func(uint64, error)) {
	l.store.kill.pass(killAppend)
	l.Log.Append(last, id, data, func(sequence uint64, err error) {
		l.store.kill.pass(killAck)
		answered(sequence, err)
	})
	l.store.kill.pass(killSent)
}

// Trim first puts what goes into the archive, so that the parent can read the whole history.
func (l *killLog) Trim(ctx context.Context, before uint64) error {
	f, err := os.Create(filepath.Join(l.store.archive, fmt.Sprintf("%d-%d-%d", l.partition, before, os.Getpid())))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	enough := errors.New("enough")
	err = l.Scan(ctx, 1, func(m domain.Message) error {
		if m.Sequence >= before {
			return enough
		}
		head := binary.LittleEndian.AppendUint64(nil, m.Sequence)
		head = binary.LittleEndian.AppendUint32(head, uint32(len(m.Data)))
		_, err := w.Write(append(head, m.Data...))
		return err
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	l.store.kill.pass(killTrim)
	err = l.Log.Trim(ctx, before)
	l.store.kill.pass(killTrimmed)
	return err
}

type killSnapshots struct {
	domain.Snapshots
	kill *killer
}

func (s killSnapshots) Put(ctx context.Context, info domain.SnapshotInfo, content io.Reader) (domain.SnapshotInfo, error) {
	stored, err := s.Snapshots.Put(ctx, info, &killReader{content, s.kill})
	s.kill.pass(killSnapped)
	return stored, err
}

type killReader struct {
	io.Reader
	kill *killer
}

func (r *killReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == nil {
		r.kill.pass(killSnapshot)
	}
	return n, err
}

// child is the whole process: engine, handlers and load.
func child() int {
	if err := runChild(); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

func runChild() error {
	ctx, cancel := context.WithTimeout(context.Background(), maxChild)
	defer cancel()
	dir := os.Getenv(childDir)
	kill := &killer{}
	if point, n, ok := strings.Cut(os.Getenv(childKill), ":"); ok {
		kill.point = point
		count, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			return err
		}
		kill.left.Store(count)
		if kill.arm, err = strconv.ParseInt(os.Getenv(childArm), 10, 64); err != nil {
			return err
		}
	}
	load, err := strconv.Atoi(os.Getenv(childLoad))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	srv, err := natsserver.Start(ctx, natsserver.Options{Dir: filepath.Join(dir, "data"), MaxStore: 4 << 30, Logger: log})
	if err != nil {
		return err
	}
	store, err := natslog.Open(ctx, natslog.Options{Connect: srv.Connect, Durability: "strict", Logger: log})
	if err != nil {
		return err
	}
	engine, err := tasker.New(ctx, tasker.Config{
		Store: &killStore{store, kill, filepath.Join(dir, "archive")}, Logger: log, Slots: 400,
		SnapshotBytes: 256 << 10, Retention: time.Second,
	})
	if err != nil {
		return err
	}
	runs, err := os.OpenFile(filepath.Join(dir, "runs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := engine.Register(childWorkflows(runs, kill)...); err != nil {
		return err
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(work) }()
	select {
	case <-engine.Ready():
	case err := <-ended:
		return err
	}
	if load > 0 {
		err = generate(ctx, engine, load, kill)
	} else {
		err = finish(ctx, engine, dir)
	}
	stop()
	err = errors.Join(err, <-ended)
	store.Close()
	return errors.Join(err, srv.Shutdown(ctx))
}

// childWorkflows are the shapes of the load. A handler writes down every run, in one write that a kill cannot tear.
func childWorkflows(runs io.Writer, kill *killer) []any {
	note := func(task tasker.TaskView, s tasker.StepView) {
		_, _ = fmt.Fprintf(runs, "%s %s %d\n", task.ID, s.Name, s.Attempt)
	}
	quick := step(func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
		note(task, s)
		kill.pass(killEffect)
		return map[string]bool{"dummy": true}, nil
	})
	// The first execution fails, the second takes a moment: there is always something between two states.
	moody := step(func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
		note(task, s)
		if s.Attempt == 1 {
			return nil, errors.New("not this time")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
		}
		kill.pass(killEffect)
		return map[string]string{"text": strings.Repeat("x", rand.IntN(3000))}, nil
	})
	retrying := tasker.Define("retrying").
		Step("first", quick).
		Step("moody", moody, tasker.After("first"), quickRetry).
		Step("last", quick, tasker.After("moody")).
		MustBuild()
	return []any{dummy(quick), retrying}
}

// generate keeps tasks in flight and prints the id of every one that was acknowledged, until the process is killed.
func generate(ctx context.Context, e *tasker.Engine, inflight int, kill *killer) error {
	acked := make(chan tasker.TaskID, 1024)
	go func() {
		w := bufio.NewWriter(os.Stdout)
		written := int64(0)
		for id := range acked {
			_, _ = fmt.Fprintln(w, id)
			if written++; len(acked) == 0 {
				_ = w.Flush()
				kill.acked.Add(written) // only what the parent gets to read arms the kill
				written = 0
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range inflight {
		wg.Go(func() {
			for ctx.Err() == nil {
				// Of those without a key only the last 65,536 of a partition are remembered.
				name, options := "dummy", []tasker.SubmitOption{tasker.Key(newID().String())}
				if i%4 == 3 {
					name, options = "retrying", nil
				}
				r, err := e.Submit(ctx, name, map[string]any{"dummy": true, "text": strings.Repeat("y", rand.IntN(1500))}, options...)
				if err != nil {
					continue
				}
				acked <- r.ID
				_, _ = e.Wait(ctx, r.ID)
			}
		})
	}
	wg.Wait()
	return errors.New("nobody killed this process")
}

// finish waits until every task has ended, and submits those in the file "acked" again: none may be new.
func finish(ctx context.Context, e *tasker.Engine, dir string) error {
	for live := 1; live > 0; {
		if live = 0; ctx.Err() != nil {
			return errors.New("tasks are still live")
		}
		for _, p := range e.Stats().Partitions {
			live += int(p.Live)
		}
		tasks, err := e.Tasks(ctx, tasker.Filter{States: []domain.State{domain.Pending, domain.InProgress}, Limit: 1})
		if err != nil {
			return err
		}
		if live = max(live, len(tasks)); live > 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "acked"))
	if err != nil {
		return err
	}
	ids := strings.Fields(string(text))
	errs := make([]error, len(ids))
	parallel(len(ids), 200, func(i int) {
		id, err := domain.ParseTaskID(ids[i])
		if err != nil {
			errs[i] = err
			return
		}
		r, err := e.Submit(ctx, "dummy", nil, tasker.WithID(id))
		if errors.Is(err, tasker.ErrIdempotencyMismatch) {
			err = nil // it has a key, and this submission none: known
		}
		if r.Created {
			err = fmt.Errorf("acknowledged task %s was unknown", id)
		}
		errs[i] = err
	})
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if n := len(errs); n > 0 {
		return fmt.Errorf("%d of %d: %w", n, len(ids), errors.Join(errs[:min(n, 20)]...))
	}
	return nil
}
