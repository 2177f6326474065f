package tasker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/taskertest"
)

// only lets an engine own one of the partitions.
type only struct {
	*memlog.Store
	partition int
}

func (o only) Leases() domain.Leases { return onlyLease{o.Store.Leases(), o.partition} }

type onlyLease struct {
	domain.Leases
	partition int
}

func (o onlyLease) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	if strings.HasSuffix(name, fmt.Sprintf("%02d", 1-o.partition)) {
		return nil, domain.ErrLeaseTaken
	}
	return o.Leases.Acquire(ctx, name, holder, ttl)
}

// The owner of the task is another process than the owner of the fork's partition.
func TestAForkIsMadeAcrossOwners(t *testing.T) {
	store := memlog.New(memlog.Options{Partitions: 2})
	letters := func() *tasker.Workflow {
		return tasker.Define("letters").Step("write", taskertest.Returns(strings.Repeat("w", 5000))).
			Step("post", taskertest.FailTimes(-1, tasker.Permanent(errors.New("no")), nil), tasker.After("write")).MustBuild()
	}
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(letters())
		other, err := tasker.New(t.Context(), tasker.Config{Store: only{store, 1}, Name: "other", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Register(letters()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- other.Run(ctx) }()
		e.Settle()
		id := e.MustSubmit("letters", map[string]string{"c": strings.Repeat("c", 200_000)})
		e.MustFail(id)
		home := id.Partition(2)
		moved := 0
		for n := range 8 {
			r, err := e.Fork(t.Context(), id, tasker.ForkOptions{Key: fmt.Sprint(n)})
			if err != nil {
				t.Fatal(err)
			}
			if r.ID.Partition(2) != home {
				moved++
			}
			e.MustFail(r.ID)
			if task := e.MustTask(r.ID); len(task.Steps[0].Result) != 5002 || len(task.Context) != 200_008 || task.ForkedFrom.Task != id {
				t.Errorf("%+v", task)
			}
		}
		if moved == 0 || moved == 8 {
			t.Errorf("%d of 8 forks are in the other partition", moved)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}, func(c *tasker.Config) { c.Store = only{store, 0} })
}

// Requests come from whoever can publish on the owner's subject.
func TestARequestForAForkThatNoClientMakesIsRefused(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("x").Step("a", taskertest.Fails(tasker.Permanent(errors.New("no")))).MustBuild())
		id := e.MustSubmit("x", nil)
		e.MustFail(id)
		other := "01890a5d-ac96-774b-bcce-b302099a8057"
		for what, text := range map[string]string{
			"nothing":         `{"op":"fork"}`,
			"no task":         `{"op":"fork","submission":{"id":"` + other + `"},"fork":{}}`,
			"no id":           `{"op":"fork","task":"` + id.String() + `","submission":{},"fork":{}}`,
			"its own id":      `{"op":"fork","task":"` + id.String() + `","submission":{"id":"` + id.String() + `"},"fork":{}}`,
			"another's key":   `{"op":"fork","task":"` + id.String() + `","submission":{"id":"` + other + `","key":"k"},"fork":{}}`,
			"a context of 7":  `{"op":"fork","task":"` + id.String() + `","submission":{"id":"` + other + `","context":7},"fork":{}}`,
			"a lost context":  `{"op":"fork","task":"` + id.String() + `","submission":{"id":"` + other + `","context_blob":"sha256-00"},"fork":{}}`,
			"an odd position": `{"op":"fork","task":"` + id.String() + `","at":"00-1-999999","submission":{"id":"` + other + `"},"fork":{}}`,
			"no task's state": `{"op":"stand"}`,
			"no task at":      `{"op":"task_at","at":"00-1-0"}`,
		} {
			for p := range e.Store.Data().Partitions {
				answer, err := e.Store.Request(t.Context(), p, []byte(text))
				var got struct {
					Error   *struct{ Message string }
					Receipt *tasker.Receipt
				}
				if err == nil {
					err = json.Unmarshal(answer, &got)
				}
				if err != nil || got.Error == nil || got.Error.Message == "" || got.Receipt != nil && got.Receipt.Created ||
					strings.Contains(got.Error.Message, "panic") {
					t.Errorf("%s, partition %d: %s, %v", what, p, answer, err)
				}
			}
		}
		if all, err := e.Tasks(t.Context(), tasker.Filter{}); err != nil || len(all) != 1 {
			t.Errorf("%d tasks, %v", len(all), err)
		}
	})
}

// What an event that this version cannot read has made of a task, nobody here knows.
func TestAFrozenTaskIsForkedOnlyAsItWasBefore(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("x").Step("a", taskertest.Returns(1)).Step("b", taskertest.Takes(24*time.Hour, 2), tasker.After("a")).MustBuild())
		id := e.MustSubmit("x", nil)
		e.Settle()
		e.Crash()
		records := e.Records(id)
		last := records[len(records)-1]
		e.Stop()
		foreign := fmt.Sprintf(`{"v":1,"id":"later-1","at":%q,"tasks":[{"task":%q,"prev":%d,"events":[{"type":"step.teleported","v":2,"step":"b"}]}]}`,
			last.At, id, last.Position.Sequence)
		sequence := e.Store.Foreign(last.Position.Partition, "later-1", []byte(foreign))
		e.Restart()
		_, err := e.Fork(t.Context(), id, tasker.ForkOptions{})
		frozen := (*tasker.FrozenError)(nil)
		if !errors.As(err, &frozen) || frozen.Task != id {
			t.Errorf("now: %v", err)
		}
		then := tasker.Position{Partition: last.Position.Partition, Sequence: sequence}
		if _, err := e.TaskAt(t.Context(), id, then); err == nil || !strings.Contains(err.Error(), "step.teleported") {
			t.Errorf("right after it: %v", err)
		}
		if _, err := e.Fork(t.Context(), id, tasker.ForkOptions{At: last.Position}); err != nil {
			t.Errorf("before it: %v", err)
		}
	})
}

func TestAForkIsExportedAndImported(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		r := p.fork(p.failed(), tasker.ForkOptions{Context: rightAddress, Key: "k"})
		p.MustWait(r.ID)
		want := p.MustTask(r.ID)
		var file bytes.Buffer
		if _, err := p.Export(p.t.Context(), &file, tasker.ExportOptions{}); err != nil {
			p.t.Fatal(err)
		}
		to := memlog.New(memlog.Options{Partitions: 2})
		config := tasker.Config{Store: to, Logger: slog.New(slog.DiscardHandler)}
		if _, err := tasker.Import(p.t.Context(), config, bytes.NewReader(file.Bytes()), tasker.ImportOptions{}); err != nil {
			p.t.Fatal(err)
		}
		engine, err := tasker.New(p.t.Context(), config)
		if err != nil {
			p.t.Fatal(err)
		}
		if err := engine.Register(p.workflow()); err != nil {
			p.t.Fatal(err)
		}
		ctx, stop := context.WithCancel(p.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- engine.Run(ctx) }()
		p.Settle()
		got, err := engine.Task(ctx, r.ID)
		if err != nil {
			p.t.Fatal(err)
		}
		p.want("the fork", got, want)
		again, err := engine.Fork(ctx, want.ForkedFrom.Task, tasker.ForkOptions{Context: rightAddress, Key: "k"})
		if err != nil || again.ID != r.ID || again.Created {
			p.t.Errorf("%+v, %v", again, err)
		}
		stop()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
}
