package crashtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// noise is a context that compression cannot make smaller.
func noise(n int) map[string]string {
	b := make([]byte, n*3/4)
	_, _ = rand.Read(b)
	return map[string]string{"noise": base64.StdEncoding.EncodeToString(b)}
}

// C7. The directory is locked by somebody else.
func TestC07DataDirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	single(t, natsservertest.Dir(dir))
	before := listing(t, dir)
	_, err := natsserver.Start(t.Context(), natsserver.Options{Dir: dir})
	want := fmt.Sprintf("data directory %s is in use by process %d: stop it, or choose another with --data", dir, os.Getpid())
	if !errors.Is(err, natsserver.ErrLocked) || err.Error() != want {
		t.Errorf("the error is\n  %v\nwant\n  %s", err, want)
	}
	if after := listing(t, dir); !slices.Equal(before, after) {
		t.Errorf("files were touched:\n%v\n%v", before, after)
	}
}

func listing(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// held is a step that waits until it is released.
func held(release <-chan struct{}, starts *atomic.Int64) step {
	return func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
		starts.Add(1)
		select {
		case <-release:
			return 1, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func smallStore(o *natsserver.Options) { o.MaxStore = natsserver.MinMaxStore }

// C7. At 90 % of the limit submissions are refused, running tasks end, and pruning makes room.
func TestC07StoreNearlyFull(t *testing.T) {
	t.Parallel()
	srv := single(t, smallStore)
	release := make(chan struct{})
	var starts atomic.Int64
	e := run(t, tasker.Config{Connect: srv.Connect, StoreLimit: srv.MaxStore()},
		one("held", held(release, &starts)), one("single", step(done)))
	running := submitAll(t, e.Engine, "held", 20, 20, nil)
	js := fill(t, srv, 84)
	usage := func() float64 {
		info, err := js.AccountInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return float64(info.Store) / float64(srv.MaxStore())
	}
	var ids []tasker.TaskID
	var full error
	for full == nil {
		if usage() > 0.86 {
			time.Sleep(50 * time.Millisecond) // the engine looks every two seconds
		}
		var r tasker.Receipt
		if r, full = e.Submit(t.Context(), "single", noise(100<<10)); full == nil {
			ids = append(ids, r.ID)
		}
	}
	if !errors.Is(full, tasker.ErrStoreFull) || usage() < 0.85 || usage() > 1 {
		t.Fatalf("at %.0f %% Submit returned %v", usage()*100, full)
	}
	t.Logf("refused at %.0f %%: %v", usage()*100, full)
	close(release)
	waitAll(t, e.Engine, append(running, ids...))

	would, err := e.Prune(t.Context(), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	did, err := e.Prune(t.Context(), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("prune would remove %+v, removed %+v", would, did)
	eventually(t, "submissions to be taken again", func() bool {
		r, err := e.Submit(t.Context(), "single", nil)
		ids = []tasker.TaskID{r.ID}
		return err == nil
	})
	waitAll(t, e.Engine, ids)
}

// C7. A store that is entirely full refuses the commit under way. It is sent again until there is space.
func TestC07StoreFull(t *testing.T) {
	t.Parallel()
	srv := single(t, smallStore)
	release := make(chan struct{})
	var starts atomic.Int64
	e := run(t, tasker.Config{Connect: srv.Connect, StoreLimit: srv.MaxStore()}, one("held", held(release, &starts)), one("single", step(done)))
	running := submitAll(t, e.Engine, "held", 50, 50, nil)
	eventually(t, "them to run", func() bool { return starts.Load() == 50 })

	js := fill(t, srv, 100)
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var refused error
	for refused == nil || !errors.Is(refused, tasker.ErrStoreFull) {
		short, stop := context.WithTimeout(ctx, 500*time.Millisecond)
		_, refused = e.Submit(short, "single", nil)
		stop()
		if ctx.Err() != nil {
			t.Fatalf("Submit on a full store returned %v", refused)
		}
	}
	for p := range 2 { // whether or not the commit under way had a submission in it
		began := time.Now()
		if _, err := submitTo(e, p, "single"); !errors.Is(err, tasker.ErrStoreFull) && !errors.Is(err, tasker.ErrOutcomeUnknown) || time.Since(began) > patience/3 {
			t.Errorf("partition %d: Submit returned %v after %s", p, err, time.Since(began))
		}
	}
	if err := js.DeleteStream(t.Context(), "JUNK"); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	waitAll(t, e.Engine, running)
	t.Logf("all running tasks ended %.2f s after there was space again", time.Since(freed).Seconds())
	eventually(t, "submissions to be taken again", func() bool {
		_, err := e.Submit(t.Context(), "single", nil)
		return err == nil
	})
	if n := starts.Load(); n != 50 {
		t.Errorf("handlers ran %d times for 50 tasks", n)
	}
	e.end(t)
	checkLog(t, openStore(t, srv.Connect), running)
}

// fill lets somebody else use up the server, to a percentage of its limit.
func fill(t testing.TB, srv *natsserver.Server, percent int64) jetstream.JetStream {
	t.Helper()
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "JUNK", Subjects: []string{"junk"}}); err != nil {
		t.Fatal(err)
	}
	left := srv.MaxStore() * percent / 100
	for size := int64(512 << 10); size > 16 && left > 0; {
		if _, err := js.Publish(t.Context(), "junk", make([]byte, size)); err != nil {
			size /= 4
		} else if left -= size; percent == 100 {
			left = size
		}
	}
	return js
}

// submitTo submits a task of that partition.
func submitTo(e *engine, partition int, name string) (tasker.Receipt, error) {
	for {
		id := newID()
		if id.Partition(e.Info().Partitions) == partition {
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
			defer cancel()
			return e.Submit(ctx, name, nil, tasker.WithID(id))
		}
	}
}

// A server that would refuse a large commit, for ever, is refused at the start.
func TestServerWithSmallMessages(t *testing.T) {
	t.Parallel()
	srv := single(t, func(o *natsserver.Options) { o.MaxPayload = 256 << 10 })
	_, err := tasker.New(t.Context(), tasker.Config{Connect: srv.Connect})
	const want = "the NATS server takes messages of at most 262144 bytes, and the engine needs 1048576: raise max_payload in its configuration"
	if err == nil || err.Error() != want {
		t.Errorf("the error is\n  %v\nwant\n  %s", err, want)
	}
}
