package tasker_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/taskertest"
)

// submitIn submits tasks until one is in the partition.
func submitIn(e *taskertest.Engine, name string, partition int) tasker.TaskID {
	for {
		if id := e.MustSubmit(name, nil); id.Partition(e.Info().Partitions) == partition {
			return id
		}
	}
}

// twoPartitions gives the engines of a test a log of two partitions.
type twoPartitions struct{ log *memlog.Store }

func (p *twoPartitions) change(c *tasker.Config) {
	if p.log == nil {
		p.log = memlog.New(memlog.Options{Partitions: 2})
	}
	c.Store = p.log
}

func TestWhatCanBeReadIsListedBesideThePartitionsThatCannot(t *testing.T) {
	var two twoPartitions
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(long)
		for e.Stats().Partitions[0].Phase != subscribers.Owning || e.Stats().Partitions[1].Phase != subscribers.Owning {
			e.Advance(time.Second)
		}
		submitIn(e, "long", 0)
		there := submitIn(e, "long", 1)
		e.Stop()
		sequence := two.log.Foreign(0, "torn", []byte(`{"v":1,"id":"torn","at":`))
		e.Restart()
		e.Settle()

		tasks, err := e.Tasks(t.Context(), tasker.Filter{})
		var some *tasker.PartialError
		if !errors.As(err, &some) || some.Nothing() || len(some.Failed) != 1 || some.Failed[0].Partition != 0 || some.Partitions != 2 {
			t.Fatalf("the error is %v", err)
		}
		var unreadable *subscribers.UnreadableError
		if !errors.As(err, &unreadable) || unreadable.Sequence != sequence || !strings.HasPrefix(err.Error(), "partition 00 is closed: message ") {
			t.Errorf("the error is %v", err)
		}
		found := false
		for _, task := range tasks {
			if task.Position.Partition == 0 {
				t.Errorf("a task of a closed partition: %v", task.ID)
			}
			found = found || task.ID == there
		}
		if !found {
			t.Error("the task of the open partition is missing")
		}

		status, err := e.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		closed, open := status.Partitions[0], status.Partitions[1]
		if closed.Phase != subscribers.Closed || closed.Owner != "" || closed.Why != some.Failed[0].Err.Error() {
			t.Errorf("the closed partition: %+v", closed)
		}
		if open.Phase != subscribers.Owning || open.Owner != "taskertest" || open.Why != "" || open.Live == 0 {
			t.Errorf("the open partition: %+v", open)
		}
		if s := open.Stored; s == nil || s.First != 1 || s.Last < open.Sequence || s.Bytes == 0 {
			t.Errorf("what the open partition stores: %+v", s)
		}

		reports, err := e.Prune(t.Context(), 0, true)
		if !errors.As(err, &some) || len(reports) != 1 || reports[0].Partition != 1 {
			t.Errorf("prune: %v, %v", reports, err)
		}
		if err := e.Skip(t.Context(), 0, sequence, tasker.By{Actor: "ann", Reason: "a test"}); err != nil {
			t.Fatal(err)
		}
		e.Advance(0)
		if _, err := e.Tasks(t.Context(), tasker.Filter{}); err != nil {
			t.Error(err)
		}
		for r, err := range e.Replay(t.Context(), tasker.ReplayOptions{Types: []tasker.EventType{domain.PartitionSkippedType}}) {
			if err != nil || r.Actor() != "operator:ann" {
				t.Errorf("the decision is that of %s, %v", r.Actor(), err)
			}
		}
	}, two.change)
}

func TestALogWithoutEnginesHasNoOwner(t *testing.T) {
	var two twoPartitions
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		client, err := tasker.NewClient(t.Context(), tasker.Config{Store: two.log, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		e.Stop()
		var some *tasker.PartialError
		if tasks, err := client.Tasks(t.Context(), tasker.Filter{}); !errors.Is(err, tasker.ErrNoOwner) || errors.As(err, &some) || tasks != nil {
			t.Errorf("the list is %v, %v: when all partitions say the same, it is not about partitions", tasks, err)
		}
		if _, err := client.Status(t.Context()); !errors.Is(err, tasker.ErrNoOwner) {
			t.Errorf("the status is %v", err)
		}
		if _, err := e.Status(t.Context()); !errors.Is(err, tasker.ErrNotRunning) {
			t.Errorf("the status of an engine that was stopped is %v", err)
		}
	}, two.change)
}
