package crashtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/internal/faultnet"
)

// badAcks loses, delays and doubles acknowledgements of publishes.
func badAcks(n *atomic.Int64) func(faultnet.Message) faultnet.Fate {
	return func(m faultnet.Message) faultnet.Fate {
		if !m.IsAck() {
			return faultnet.Fate{}
		}
		switch n.Add(1) % 8 {
		case 1:
			return faultnet.Fate{Drop: true}
		case 3:
			return faultnet.Fate{Delay: 30 * time.Millisecond}
		case 5:
			return faultnet.Fate{Double: true}
		case 7:
			return faultnet.Fate{Delay: 1200 * time.Millisecond} // when the log has been asked already
		}
		return faultnet.Fate{}
	}
}

// C4. The engine recognises its own commits, and nothing is there twice.
func TestC04AcknowledgementsLostLateOrDoubled(t *testing.T) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		srv := single(t, natsservertest.Strict(), listen)
		acknowledgements(t, srv.URL(), srv.Connect, 1)
	})
	t.Run("three servers", func(t *testing.T) {
		t.Parallel()
		servers := natsservertest.Cluster(t, 3, listen)
		acknowledgements(t, servers[0].URL(), servers[1].Connect, 3)
	})
}

func acknowledgements(t *testing.T, url string, connect func(...nats.Option) (*nats.Conn, error), replicas int) {
	proxy := faultnet.Start(t, strings.TrimPrefix(url, "nats://"))
	// The acknowledgements of renewals are as bad: with a short lease the engine would rightly give its partitions up.
	e := run(t, tasker.Config{Replicas: replicas, LeaseTTL: time.Minute, Connect: func(o ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(proxy.URL(), o...)
	}}, dummy(step(done)))
	var n atomic.Int64
	proxy.Messages(badAcks(&n))
	l := startLoad(t, 20, e)
	eventually(t, "40 bad acknowledgements", func() bool { return n.Load() >= 40 && l.count() >= 40 })
	ids := l.end(t)
	waitAll(t, e.Engine, ids)
	proxy.Messages(nil)
	e.end(t)
	store := openStore(t, connect)
	checkLog(t, store, ids)
	opened := count(t, store, func(r domain.Record) bool { return r.Event.Type() == domain.PartitionOpenedType })
	if opened != 2 {
		t.Errorf("the partitions were opened %d times: the engine took its own commits for somebody else's", opened)
	}
	t.Logf("%d acknowledgements for %d tasks", n.Load(), len(ids))
}

// C4. While nobody can say what became of a commit, nothing that it says happens: no handler, no answer.
func TestC04UnknownFateStopsThePartition(t *testing.T) {
	t.Parallel()
	srv := single(t, listen)
	proxy := faultnet.Start(t, strings.TrimPrefix(srv.URL(), "nats://"))
	var runs atomic.Int64
	h := step(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		runs.Add(1)
		return 1, nil
	})
	e := run(t, tasker.Config{URL: proxy.URL(), Partitions: 1}, one("single", h))
	waitAll(t, e.Engine, submitAll(t, e.Engine, "single", 5, 5, nil))
	runs.Store(0)

	var dropped atomic.Int64
	proxy.Messages(func(m faultnet.Message) faultnet.Fate {
		// An acknowledgement of the log, or the answer to the question for the message.
		if m.IsAck() && bytes.Contains(m.Data, []byte("TASKER_LOG")) || bytes.Contains(m.Data, []byte("stream_msg_get_response")) {
			dropped.Add(1)
			return faultnet.Fate{Drop: true}
		}
		return faultnet.Fate{}
	})
	store := openStore(t, srv.Connect)
	stored := func() int {
		return count(t, store, func(r domain.Record) bool { return r.Event.Type() == domain.TaskCreatedType })
	}
	answers := make(chan error, 2)
	submit := func() {
		_, err := e.Submit(context.Background(), "single", nil)
		answers <- err
	}
	go submit()
	eventually(t, "the commit to be stored", func() bool { return stored() == 6 })
	go submit() // behind the commit under way
	eventually(t, "the engine to ask again", func() bool { return dropped.Load() >= 3 })
	if n := runs.Load(); n != 0 {
		t.Errorf("%d handlers ran before the commit was known to be stored", n)
	}
	if n := stored(); n != 6 {
		t.Errorf("%d tasks are stored: the partition went on", n)
	}
	early := len(answers)
	proxy.Messages(nil)
	for i := range 2 {
		err := <-answers
		if i < early && err == nil {
			t.Error("Submit returned before anybody knew")
		}
		if err != nil && !errors.Is(err, tasker.ErrOutcomeUnknown) { // which is what a caller hears whose patience ends first
			t.Errorf("Submit returned %v in the end", err)
		}
	}
	eventually(t, "both handlers", func() bool { return runs.Load() == 2 })
	e.end(t)
	l := read(t, store)
	l.ended()
	l.report(t)
}
