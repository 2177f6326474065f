package natslog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/storetest"
	"github.com/tasker-go/tasker/internal/faultnet"
)

// badNetwork is a store whose connections go through a proxy, on a server that can be started again.
type badNetwork struct {
	*natslog.Store
	proxy *faultnet.Proxy
	srv   *natsserver.Server
	dir   string
}

func listen(o *natsserver.Options) { o.Listen = "127.0.0.1:0" }

func openBadNetwork(t *testing.T) *badNetwork {
	b := &badNetwork{dir: t.TempDir()}
	b.start(t)
	b.proxy = faultnet.Start(t, strings.TrimPrefix(b.srv.URL(), "nats://"))
	b.Store = open(t, natslog.Options{Partitions: 1, Connect: func(opts ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(b.proxy.URL(), opts...)
	}})
	return b
}

func (b *badNetwork) start(t *testing.T) {
	b.srv = natsservertest.Single(t, natsservertest.Dir(b.dir), listen)
	if b.proxy != nil {
		b.proxy.Upstream(strings.TrimPrefix(b.srv.URL(), "nats://"))
	}
}

func (b *badNetwork) stop(t *testing.T) {
	if err := b.srv.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

type answer struct {
	sequence uint64
	err      error
}

func TestAcknowledgementsThatAreLostLateOrDoubled(t *testing.T) {
	ctx, b := testContext(t), openBadNetwork(t)
	log := b.Log(0)
	var n atomic.Int64
	b.proxy.Messages(func(m faultnet.Message) faultnet.Fate {
		if !m.IsAck() {
			return faultnet.Fate{}
		}
		switch n.Add(1) % 4 {
		case 1:
			return faultnet.Fate{Drop: true}
		case 2:
			return faultnet.Fate{Delay: 20 * time.Millisecond}
		case 3:
			return faultnet.Fate{Double: true}
		}
		return faultnet.Fate{}
	})
	// As a coordinator does: no answer for a while, so the log is asked, and the very same bytes are sent again.
	answered := map[uint64]int{}
	var mu sync.Mutex
	const rounds = 40
	for i := range uint64(rounds) {
		id := fmt.Sprintf("c%d", i+1)
		answers := make(chan answer, 10)
		for {
			log.Append(i, id, []byte(id), func(sequence uint64, err error) {
				if err == nil {
					mu.Lock()
					answered[sequence]++
					mu.Unlock()
				}
				answers <- answer{sequence, err}
			})
			select {
			case a := <-answers:
				if a.err == nil && a.sequence != i+1 {
					t.Fatalf("append %d was acknowledged as %d", i+1, a.sequence)
				}
			case <-time.After(50 * time.Millisecond):
			}
			m, err := log.Read(ctx, i+1)
			if err == nil && m.CommitID == id {
				break
			}
			if !errors.Is(err, domain.ErrNoMessage) {
				t.Fatalf("message %d is %s: %v", i+1, m.CommitID, err)
			}
		}
	}
	if bounds, err := log.Bounds(ctx); err != nil || bounds.Last != rounds {
		t.Fatalf("%+v %v", bounds, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for sequence, times := range answered {
		if times > 1 {
			t.Errorf("append %d was answered %d times", sequence, times)
		}
	}
}

func TestFollowMissesAndRepeatsNothing(t *testing.T) {
	ctx, b := testContext(t), openBadNetwork(t)
	const n = 3000
	enough := errors.New("enough")
	result := make(chan error, 1)
	var seen atomic.Uint64
	go func() {
		result <- b.Log(0).Follow(ctx, 1, func(m domain.Message) error {
			if want := seen.Add(1); m.Sequence != want || string(m.Data) != fmt.Sprint(want) {
				return fmt.Errorf("message %d is %d %q", want, m.Sequence, m.Data)
			}
			if seen.Load() == n {
				return enough
			}
			return nil
		})
	}()
	var k atomic.Int64
	b.proxy.Messages(func(m faultnet.Message) faultnet.Fate {
		// Deliveries carry the header of the commit.
		if !bytes.Contains(m.Header, []byte("Tasker-Commit")) {
			return faultnet.Fate{}
		}
		switch k.Add(1) % 500 {
		case 100:
			return faultnet.Fate{Drop: true}
		case 200:
			return faultnet.Fate{Double: true}
		case 300:
			return faultnet.Fate{Delay: 5 * time.Millisecond}
		}
		return faultnet.Fate{}
	})
	direct := open(t, natslog.Options{Connect: b.srv.Connect}).Log(0)
	for i := range uint64(n) {
		if i == n/3 {
			b.proxy.Cut()
		}
		if i == n/2 {
			b.stop(t)
			b.start(t)
			b.proxy.Cut()
			direct = open(t, natslog.Options{Connect: b.srv.Connect}).Log(0)
		}
		if _, err := storetest.Append(ctx, direct, i, "c", fmt.Append(nil, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-result; !errors.Is(err, enough) {
		t.Fatalf("after %d: %v", seen.Load(), err)
	}
}

func TestWithoutNATSEverythingIsUnavailableInTime(t *testing.T) {
	b := openBadNetwork(t)
	ctx := testContext(t)
	lease, err := b.Leases().Acquire(ctx, "x", "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(context.Context) error{
		"read":   func(ctx context.Context) error { _, err := b.Log(0).Read(ctx, 1); return err },
		"bounds": func(ctx context.Context) error { _, err := b.Log(0).Bounds(ctx); return err },
		"scan": func(ctx context.Context) error {
			return b.Log(0).Scan(ctx, 1, func(domain.Message) error { return nil })
		},
		"trim":     func(ctx context.Context) error { return b.Log(0).Trim(ctx, 2) },
		"at":       func(ctx context.Context) error { _, err := b.Log(0).SequenceAt(ctx, time.Now()); return err },
		"renew":    lease.Renew,
		"release":  lease.Release,
		"acquire":  func(ctx context.Context) error { _, err := b.Leases().Acquire(ctx, "y", "a", time.Minute); return err },
		"snapshot": func(ctx context.Context) error { _, err := b.Snapshots().List(ctx, 0); return err },
		"store": func(ctx context.Context) error {
			_, err := b.Snapshots().Put(ctx, domain.SnapshotInfo{Sequence: 1}, strings.NewReader("x"))
			return err
		},
		"blob":    func(ctx context.Context) error { _, err := b.Blobs().Get(ctx, "sha256-x"); return err },
		"put":     func(ctx context.Context) error { _, err := b.Cursors().Put(ctx, "a", nil, 0); return err },
		"keys":    func(ctx context.Context) error { _, err := b.Cursors().Keys(ctx); return err },
		"letter":  func(ctx context.Context) error { return b.DeadLetters().Put(ctx, domain.DeadLetter{}) },
		"clock":   func(ctx context.Context) error { _, err := b.Clock(ctx); return err },
		"usage":   func(ctx context.Context) error { _, err := b.Usage(ctx); return err },
		"request": func(ctx context.Context) error { _, err := b.Request(ctx, 0, nil); return err },
	}
	check := func(limit, deadline time.Duration) {
		var wg sync.WaitGroup
		for name, call := range calls {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), deadline)
				defer cancel()
				begin := time.Now()
				err := call(ctx)
				if !errors.Is(err, domain.ErrUnavailable) || errors.Is(err, domain.ErrNotStored) {
					t.Errorf("%s: the error is %v", name, err)
				}
				if d := time.Since(begin); d > limit {
					t.Errorf("%s: it took %s: %v", name, d, err)
				}
			})
		}
		wg.Wait()
	}
	b.proxy.Freeze(faultnet.ToClient, true)
	check(7*time.Second, 6*time.Second)
	b.proxy.Freeze(faultnet.ToClient, false)
	b.stop(t)
	for {
		// Until the connection is known to be gone, there is no answer at all.
		try, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := storetest.Append(try, b.Log(0), 0, "c", nil)
		cancel()
		if errors.Is(err, domain.ErrUnavailable) && !errors.Is(err, domain.ErrNotStored) {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			t.Fatalf("appending: the error is %v", err)
		}
	}
	check(2*time.Second, 500*time.Millisecond)
	if _, err := natslog.Open(ctx, natslog.Options{Connect: func(opts ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(b.proxy.URL(), opts...)
	}}); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("opening without NATS: %v", err)
	}
	b.start(t)
	for {
		_, err := b.Log(0).Bounds(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("it did not reconnect", err)
		}
	}
}

func TestWhatProvesThatAnAppendIsNotStored(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t, func(o *natsserver.Options) { o.MaxStore = natsserver.MinMaxStore })
	log := open(t, natslog.Options{Connect: srv.Connect, StoreLimit: srv.MaxStore()}).Log(0)
	if _, err := storetest.Append(ctx, log, 0, "c", make([]byte, 2<<20)); !errors.Is(err, domain.ErrNotStored) {
		t.Fatalf("too large: %v", err)
	}
	last := uint64(0)
	for {
		sequence, err := storetest.Append(ctx, log, last, "c", make([]byte, 1_000_000))
		if err != nil {
			if !errors.Is(err, domain.ErrNotStored) {
				t.Fatalf("full: %v", err)
			}
			break
		}
		last = sequence
	}
	s := open(t, natslog.Options{Connect: srv.Connect, StoreLimit: srv.MaxStore()})
	if u, err := s.Usage(ctx); err != nil || u < 0.9 {
		t.Errorf("full, its usage is %f: %v", u, err)
	}
	if b, err := log.Bounds(ctx); err != nil || b.Last != last {
		t.Fatalf("%+v %v, want %d", b, err, last)
	}
	if err := log.Trim(ctx, last-1); err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.Append(ctx, log, last, "c", make([]byte, 1_000_000)); err != nil {
		t.Fatalf("after a trim: %v", err)
	}
}

func TestAnAppendToNoStreamIsUnavailable(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t)
	log := open(t, natslog.Options{Connect: srv.Connect}).Log(0)
	if err := stream(t, srv).DeleteStream(ctx, "TASKER_LOG_1_00"); err != nil {
		t.Fatal(err)
	}
	_, err := storetest.Append(ctx, log, 0, "c", nil)
	if !errors.Is(err, domain.ErrUnavailable) || errors.Is(err, domain.ErrNotStored) {
		t.Fatalf("the error is %v", err)
	}
	var missing *domain.StreamMissingError
	for what, err := range map[string]error{
		"scan":   log.Scan(ctx, 1, nil),
		"follow": log.Follow(ctx, 1, nil),
	} {
		if !errors.As(err, &missing) {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
}

func TestADamagedSnapshotIsNotRead(t *testing.T) {
	for name, damage := range map[string]func(context.Context, jetstream.JetStream, jetstream.Stream, string) error{
		"a_chunk_is_missing": func(ctx context.Context, _ jetstream.JetStream, s jetstream.Stream, chunks string) error {
			return s.Purge(ctx, jetstream.WithPurgeSubject(chunks), jetstream.WithPurgeKeep(1))
		},
		"all_chunks_are_missing": func(ctx context.Context, _ jetstream.JetStream, s jetstream.Stream, chunks string) error {
			return s.Purge(ctx, jetstream.WithPurgeSubject(chunks))
		},
		"bytes_differ": func(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, chunks string) error {
			m, err := s.GetLastMsgForSubject(ctx, chunks)
			if err != nil {
				return err
			}
			if err := s.DeleteMsg(ctx, m.Sequence); err != nil {
				return err
			}
			m.Data[10] ^= 1
			_, err = js.Publish(ctx, chunks, m.Data)
			return err
		},
		"there_is_more": func(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, chunks string) error {
			m, err := s.GetLastMsgForSubject(ctx, chunks)
			if err != nil {
				return err
			}
			if err := s.DeleteMsg(ctx, m.Sequence); err != nil {
				return err
			}
			_, err = js.Publish(ctx, chunks, append(m.Data, 'x'))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, srv := testContext(t), natsservertest.Single(t)
			s := open(t, natslog.Options{Connect: srv.Connect}).Snapshots()
			info, err := s.Put(ctx, domain.SnapshotInfo{Sequence: 5, CommitID: "c"}, bytes.NewReader(commitLike(500_000)))
			if err != nil {
				t.Fatal(err)
			}
			js := stream(t, srv)
			obj, err := js.ObjectStore(ctx, "TASKER_SNAPSHOTS")
			if err != nil {
				t.Fatal(err)
			}
			object, err := obj.GetInfo(ctx, "1/00/5")
			if err != nil {
				t.Fatalf("nats object does not find it: %v", err)
			}
			if content, err := obj.GetBytes(ctx, "1/00/5"); err != nil || int64(len(content)) != info.Size {
				t.Fatalf("nats object does not read it: %v", err)
			}
			st, err := js.Stream(ctx, "OBJ_TASKER_SNAPSHOTS")
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(ctx, js, st, "$O.TASKER_SNAPSHOTS.C."+object.NUID); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(ctx, info); err == nil || errors.Is(err, domain.ErrUnavailable) {
				t.Fatalf("it was read: %v", err)
			}
			if err := s.Delete(ctx, info); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTheRestsOfATornUploadAreRemoved(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t)
	s := open(t, natslog.Options{Connect: srv.Connect}).Snapshots()
	js := stream(t, srv)
	for _, sequence := range []string{"7", "9"} { // what a crash leaves
		if _, err := js.Publish(ctx, "$O.TASKER_SNAPSHOTS.C.1-00-"+sequence+"-torn", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	var infos []domain.SnapshotInfo
	for _, sequence := range []uint64{5, 8} {
		info, err := s.Put(ctx, domain.SnapshotInfo{Sequence: sequence}, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	if err := s.Delete(ctx, infos[1]); err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(ctx, "OBJ_TASKER_SNAPSHOTS")
	if err != nil {
		t.Fatal(err)
	}
	state, err := st.Info(ctx, jetstream.WithSubjectFilter("$O.TASKER_SNAPSHOTS.C.>"))
	if err != nil {
		t.Fatal(err)
	}
	if len(state.State.Subjects) != 2 || state.State.Subjects["$O.TASKER_SNAPSHOTS.C.1-00-9-torn"] != 1 {
		t.Fatalf("there are %v: want those of 5, and of 9, which may still be going on", state.State.Subjects)
	}
	if _, err := s.Get(ctx, infos[0]); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLettersSayWhy(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t)
	s := open(t, natslog.Options{Connect: srv.Connect})
	if err := s.DeadLetters().Put(ctx, domain.DeadLetter{
		Kind: "subscriber", Name: "my index", Reason: "two\nlines", Headers: map[string]string{"Position": "00-1-0"}, Data: make([]byte, 2<<20),
	}); err != nil {
		t.Fatal(err)
	}
	st, err := stream(t, srv).Stream(ctx, "TASKER_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetLastMsgForSubject(ctx, "tasker.dead.subscriber.my_index")
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Tasker-Reason") != "two lines" || m.Header.Get("Position") != "00-1-0" || m.Header.Get("Tasker-Truncated") != "2097152" || len(m.Data) < 1<<19 {
		t.Fatalf("%v and %d bytes", m.Header, len(m.Data))
	}
}
