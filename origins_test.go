package tasker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// originLog is a log of one partition of which reads are counted.
type originLog struct {
	*memlog.Store
	mu    sync.Mutex
	reads int
}

func (l *originLog) Log(p int) domain.Log { return countedLog{l.Store.Log(p), l} }

type countedLog struct {
	domain.Log
	l *originLog
}

func (c countedLog) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	c.l.mu.Lock()
	c.l.reads++
	c.l.mu.Unlock()
	return c.Log.Read(ctx, sequence)
}

func (l *originLog) append(t *testing.T, sequence uint64, records ...Event) []Event {
	t.Helper()
	stored := make(chan error, 1)
	id := fmt.Sprint("c-", sequence)
	l.Store.Log(0).Append(sequence-1, id, domain.EncodeCommit(domain.Commit{ID: id, At: 1, Records: records}), func(_ uint64, err error) { stored <- err })
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	for i := range records {
		records[i].Position = Position{Sequence: sequence, Index: i}
	}
	return records
}

// tasksOf is a log with n tasks: created in commit 1, started in 2, annotated in 3; the records are those of 3.
func tasksOf(t *testing.T, n int) (*originLog, []Event) {
	t.Helper()
	l := &originLog{Store: memlog.New(memlog.Options{DataID: "data", Partitions: 1})}
	var commits [3][]Event
	for i := range n {
		id := domain.KeyedTaskID("a", "b", fmt.Sprint(i))
		created := domain.TaskCreated{Name: "order", Version: "1.0.0", Context: domain.Inline([]byte("{}"))}
		if i%2 == 1 {
			created.Namespace, created.Correlation = "shop", fmt.Sprint("req-", i)
		}
		commits[0] = append(commits[0], Event{Task: id, Event: created})
		commits[1] = append(commits[1], Event{Task: id, Event: domain.TaskStartRequested{}, Prev: 1})
		commits[2] = append(commits[2], Event{Task: id, Event: domain.TaskAnnotated{Kind: "k", Annotation: []byte("1")}, Prev: 2})
	}
	var last []Event
	for i, records := range commits {
		last = l.append(t, uint64(i+1), records...)
	}
	return l, last
}

func nobody(context.Context, TaskID) (*Task, error) { return nil, ErrTaskNotFound }

func TestWhatATaskIsMadeOfIsReadFromTheLogOnce(t *testing.T) {
	l, records := tasksOf(t, 100)
	o := newOrigins(l, nobody)
	var all sync.WaitGroup
	for i, r := range records {
		all.Go(func() {
			e, err := o.event(t.Context(), r)
			namespace, correlation := "default", ""
			if i%2 == 1 {
				namespace, correlation = "shop", fmt.Sprint("req-", i)
			}
			if err != nil || e.Namespace != namespace || e.Definition != "order" || e.DefinitionVersion != "1.0.0" || e.Correlation != correlation ||
				e.Source != "/tasker/data" || e.ID != r.ID() {
				t.Errorf("task %d: %+v, %v", i, e, err)
			}
		})
	}
	all.Wait()
	if l.reads > 3 {
		t.Errorf("%d messages were read for tasks that begin in the same one, want 3", l.reads)
	}
	if len(o.shared) != 1 {
		t.Errorf("%d origins are kept for the tasks without a correlation, want 1", len(o.shared))
	}
}

func TestWhatWasHeardIsNotRead(t *testing.T) {
	l, records := tasksOf(t, 4)
	o := newOrigins(l, nobody)
	created, err := domain.DecodeCommit(mustRead(t, l, 1), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	l.reads = 0
	for _, r := range append(created.Records, records...) {
		if e, err := o.event(t.Context(), r); err != nil || e.Definition != "order" {
			t.Errorf("%s: %+v, %v", r.ID(), e, err)
		}
	}
	if l.reads != 0 {
		t.Errorf("%d messages were read", l.reads)
	}
	alone := Event{Event: domain.PartitionOpened{Writer: "w"}}
	if e, err := o.event(t.Context(), alone); err != nil || e.Namespace != "" || e.Subject != "" {
		t.Errorf("a fact without a task: %+v, %v", e, err)
	}
}

func mustRead(t *testing.T, l *originLog, sequence uint64) []byte {
	t.Helper()
	m, err := l.Log(0).Read(t.Context(), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}

func TestWhereTheLogWasTrimmedTheOwnerIsAsked(t *testing.T) {
	l, records := tasksOf(t, 3)
	if err := l.Log(0).Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	asked := map[TaskID]int{}
	var fails error
	o := newOrigins(l, func(_ context.Context, id TaskID) (*Task, error) {
		if fails != nil {
			return nil, fails
		}
		asked[id]++
		if id == records[0].Task {
			return &Task{Namespace: "old", Name: "order", Version: "0.9.0", Correlation: "c"}, nil
		}
		return nil, ErrTaskNotFound
	})
	for _, fails = range []error{ErrNoOwner, domain.ErrUnavailable} {
		if _, err := o.event(t.Context(), records[0]); !errors.Is(err, fails) {
			t.Errorf("an owner that does not answer: %v", err)
		}
	}
	fails = nil
	for range 2 {
		if e, err := o.event(t.Context(), records[0]); err != nil || e.Namespace != "old" || e.DefinitionVersion != "0.9.0" || e.Correlation != "c" {
			t.Errorf("a live task: %+v, %v", e, err)
		}
		if e, err := o.event(t.Context(), records[1]); err != nil || e.Namespace != "" || e.Definition != "" || e.Subject == "" {
			t.Errorf("a task that nobody knows: %+v, %v", e, err)
		}
	}
	if asked[records[0].Task] != 1 || asked[records[1].Task] != 1 {
		t.Errorf("the owner was asked %v", asked)
	}
}

func TestOldOriginsAreForgotten(t *testing.T) {
	o := newOrigins(memlog.New(memlog.Options{}), nobody)
	often := domain.KeyedTaskID("a", "b", "often")
	o.note(often, origin{name: "often"})
	for i := range 3 * knownOrigins {
		o.note(domain.KeyedTaskID("a", "b", fmt.Sprint(i)), origin{name: "order"})
		if i%1000 == 0 {
			if _, ok := o.look(often); !ok {
				t.Fatalf("a task that is asked for was forgotten after %d others", i)
			}
		}
	}
	if n := len(o.known) + len(o.old); n > 2*knownOrigins+1 {
		t.Errorf("%d tasks are remembered", n)
	}
	if _, ok := o.look(domain.KeyedTaskID("a", "b", "0")); ok {
		t.Error("the first task is remembered")
	}
}
