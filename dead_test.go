package tasker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

func onlyLetter(t *testing.T, e *taskertest.Engine) tasker.DeadLetter {
	t.Helper()
	letters, err := e.DeadLetters(t.Context(), tasker.DeadLetterFilter{})
	if err != nil || len(letters) != 1 {
		t.Fatalf("the letters are %+v (%v)", letters, err)
	}
	return letters[0]
}

func TestARequeuedRequestKeepsWhatMakesItTheSameTask(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		headers []string
		want    func(letter tasker.DeadLetter, data string) domain.TaskID
	}{
		"its key": {
			`{"context":{"id":"x"},"idempotency_key":"k","tags":["a"]}`, []string{"Nats-Msg-Id", "m"},
			func(tasker.DeadLetter, string) domain.TaskID { return domain.KeyedTaskID("default", "orders", "k") },
		},
		"its message id": {
			`{"context":{"id":"x"}}`, []string{"Nats-Msg-Id", "m", domain.HeaderReplyTo, "_INBOX.me", "Nats-TTL", "1s"},
			func(tasker.DeadLetter, string) domain.TaskID { return domain.MessageTaskID("default", "orders", "m") },
		},
		"the letter": {
			`garbage`, nil,
			func(_ tasker.DeadLetter, data string) domain.TaskID {
				return domain.MessageTaskID("default", "orders", "dead-"+data+"-1")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
				told := 0
				m.Replies("_INBOX.me", func([]byte) { told++ })
				m.publish("default.orders", c.body, c.headers...)
				e.Advance(time.Second)
				letter := onlyLetter(t, e)
				told = 0
				// What was published and not removed, because the operator's process died, is there still.
				kept, err := e.DeadLetter(t.Context(), letter.Sequence)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := e.Requeue(t.Context(), onlyLetter(t, e).Sequence, map[string]int{"id": 8}); err != nil {
						t.Fatal(err)
					}
					e.Advance(time.Second)
					if n := len(m.Letters()); n != 0 {
						t.Fatalf("the letters are %q", m.letters())
					}
					if err := m.DeadLetters().Put(t.Context(), kept.DeadLetter); err != nil {
						t.Fatal(err)
					}
					if name == "the letter" {
						break // put again it is another letter
					}
				}
				tasks, err := e.Tasks(t.Context(), tasker.Filter{Name: "orders"})
				if err != nil || len(tasks) != 1 || tasks[0].ID != c.want(letter, e.Info().ID) {
					t.Fatalf("the tasks are %+v (%v)", tasks, err)
				}
				if task := e.MustTask(tasks[0].ID); string(task.Context) != `{"id":8}` || strings.Contains(c.body, "tags") && len(task.Tags) != 1 {
					t.Errorf("the task is %+v", task)
				}
				if told != 0 {
					t.Error("whoever asked first was told again")
				}
			})
		})
	}
}

func TestWhatCannotBeRequeuedStays(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		for name, c := range map[string]struct {
			letter domain.DeadLetter
			input  any
			want   string
		}{
			"an event":         {domain.DeadLetter{Kind: tasker.LetterSubscriber}, nil, "what came after it in its task has been handled since"},
			"something else":   {domain.DeadLetter{Kind: "commit"}, nil, "it is no submission"},
			"garbage":          {domain.DeadLetter{Kind: tasker.LetterSubmission, Subject: "tasker.submit.task.a.b", Data: []byte("x")}, nil, "it would be refused again"},
			"a wrong subject":  {domain.DeadLetter{Kind: tasker.LetterSubmission, Subject: "tasker.submit.task.a"}, map[string]int{}, "two parts"},
			"no subject":       {domain.DeadLetter{Kind: tasker.LetterSubmission}, map[string]int{}, "two parts"},
			"an input that is": {domain.DeadLetter{Kind: tasker.LetterSubmission, Subject: "tasker.submit.task.a.b"}, 7, "context must be a JSON object"},
			"an input of Go's": {domain.DeadLetter{Kind: tasker.LetterSubmission, Subject: "tasker.submit.task.a.b"}, func() {}, "unsupported type"},
		} {
			if err := m.DeadLetters().Put(t.Context(), c.letter); err != nil {
				t.Fatal(err)
			}
			l := onlyLetter(t, e)
			err := e.Requeue(t.Context(), l.Sequence, c.input)
			var stays *tasker.NotRequeuableError
			if !errors.As(err, &stays) || stays.Sequence != l.Sequence || stays.Hint == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			if err := e.DropDeadLetter(t.Context(), onlyLetter(t, e).Sequence); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			var gone *tasker.DeadLetterNotFoundError
			if err := e.DropDeadLetter(t.Context(), l.Sequence); !errors.As(err, &gone) {
				t.Errorf("%s, dropped again: %v", name, err)
			}
			if err := e.Requeue(t.Context(), l.Sequence, nil); !errors.As(err, &gone) || gone.Sequence != l.Sequence {
				t.Errorf("%s, dropped: %v", name, err)
			}
		}
		if e.Store.Waiting() != 0 {
			t.Error("something was published")
		}
	})
}

// TestParkedEventsGoBackToTheirProgram: facts from the letters, also when the log has lost them, and signals from the log.
func TestParkedEventsGoBackToTheirProgram(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, _ mail) {
		types := []tasker.EventType{domain.TaskCreatedType, domain.TaskCompletedType, domain.SignalTaskStarted}
		failing := func(ctx context.Context, name string) func() {
			ctx, stop := context.WithCancel(ctx)
			over := make(chan struct{})
			go func() {
				defer close(over)
				if err := e.Attach(ctx, name, types, func(context.Context, tasker.Event) error { return errors.New("it has a mistake") },
					tasker.AttachOptions{Tries: 1, From: tasker.FromBeginning}); err != nil {
					t.Error(err)
				}
			}()
			return func() { stop(); <-over }
		}
		a, b := failing(t.Context(), "billing"), failing(t.Context(), "other")
		id := e.MustSubmit("orders", map[string]int{"id": 1})
		e.MustWait(id)
		e.Advance(time.Minute)
		a()
		b()
		var stored []string
		for _, r := range e.Records(id) {
			if r.Event.Type() == domain.TaskCreatedType || r.Event.Type() == domain.TaskCompletedType {
				stored = append(stored, r.ID()+" "+string(r.Event.Type()))
			}
		}
		var got []string
		wrong := errors.New("still wrong")
		n, err := e.Redeliver(t.Context(), "billing", func(_ context.Context, ev tasker.Event) error {
			if ev.Task != id {
				t.Errorf("it is of task %s", ev.Task)
			}
			if ev.Event.Type() == domain.TaskCompletedType {
				return wrong
			}
			if _, signal := ev.Event.(domain.Signal); !signal {
				got = append(got, ev.ID()+" "+string(ev.Event.Type()))
			}
			return nil
		})
		if n != 2 || !errors.Is(err, wrong) {
			t.Errorf("%d were handled (%v)", n, err)
		}
		n, err = client(t, e).Redeliver(t.Context(), "billing", func(_ context.Context, ev tasker.Event) error {
			got = append(got, ev.ID()+" "+string(ev.Event.Type()))
			return nil
		})
		if n != 1 || err != nil || strings.Join(got, ", ") != strings.Join(stored, ", ") {
			t.Errorf("%d were handled (%v): %q, want %q", n, err, got, stored)
		}
		letters, err := e.DeadLetters(t.Context(), tasker.DeadLetterFilter{Kind: tasker.LetterSubscriber})
		if err != nil || len(letters) != 3 || letters[0].Name != "other" {
			t.Errorf("the letters are %+v (%v)", letters, err)
		}
	})
}
