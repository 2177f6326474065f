package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
)

// ear is a tap that remembers.
type ear struct {
	wants []domain.EventType // none = nobody listens

	mu   sync.Mutex
	said []string
}

func (e *ear) Open() bool { return len(e.wants) > 0 }

func (e *ear) Wants(t domain.EventType) bool {
	for _, w := range e.wants {
		if w == t {
			return true
		}
	}
	return false
}

func (e *ear) Tell(records []domain.Record) {
	for _, r := range records {
		e.say(fmt.Sprintf("%s %s %s", r.ID(), r.Event.Type(), domain.EventData(r.Event)))
	}
}

func (e *ear) say(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, what)
}

func TestTapsHearOfTheCallOfAHandlerOnceBeforeAndOnceAfter(t *testing.T) {
	const before, after = domain.SignalBeforeHandle, domain.SignalHandle
	gone := errors.New("no paper")
	for name, c := range map[string]struct {
		wants   []domain.EventType
		handler func(ctx context.Context) (any, error)
		timeout time.Duration
		want    []string
	}{
		"a result": {wants: []domain.EventType{before, after}, handler: func(context.Context) (any, error) {
			time.Sleep(time.Second)
			return 1, nil
		}, want: []string{
			`03-2-0 step.before_handle {"steps":["one"],"attempt":1}`, "called",
			`03-2-0 step.handle {"steps":["one"],"outcomes":["complete"],"attempt":1,"took":"1s"}`,
		}},
		"an error": {wants: []domain.EventType{before, after}, handler: func(context.Context) (any, error) { return nil, gone }, want: []string{
			`03-2-0 step.before_handle {"steps":["one"],"attempt":1}`, "called",
			`03-2-0 step.handle {"steps":["one"],"outcomes":["error"],"attempt":1,"error":{"message":"no paper","kind":"error"}}`,
		}},
		"a panic": {wants: []domain.EventType{after}, handler: func(context.Context) (any, error) { panic("broken") }, want: []string{
			"called", `03-2-0 step.handle {"steps":["one"],"outcomes":["error"],"attempt":1,"error":{"message":"panic: broken","kind":"panic"`,
		}},
		"a goroutine that ends": {wants: []domain.EventType{after}, handler: func(context.Context) (any, error) {
			runtime.Goexit()
			return nil, nil
		}, want: []string{
			"called", `03-2-0 step.handle {"steps":["one"],"outcomes":["error"],"attempt":1,"error":{"message":"the handler ended its goroutine`,
		}},
		"a result that comes after the timeout": {wants: []domain.EventType{after}, timeout: time.Second, handler: func(context.Context) (any, error) {
			time.Sleep(3 * time.Second)
			return 1, nil
		}, want: []string{"called", `03-2-0 step.handle {"steps":["one"],"outcomes":["complete"],"attempt":1,"took":"3s"}`}},
		"only before":    {wants: []domain.EventType{before}, handler: func(context.Context) (any, error) { return nil, nil }, want: []string{`03-2-0 step.before_handle {"steps":["one"],"attempt":1}`, "called"}},
		"nobody listens": {handler: func(context.Context) (any, error) { return nil, nil }, want: []string{"called"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tap := &ear{wants: c.wants}
				b := newBench(t, Config{Tap: tap}, define(t, domain.StepTemplate{Name: "one", Handler: "h", Timeout: c.timeout}))
				b.register("h", func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
					tap.say("called")
					return c.handler(ctx)
				})
				b.request("one")
				time.Sleep(time.Minute)
				b.drain()
				tap.mu.Lock()
				defer tap.mu.Unlock()
				var got []string
				for i, line := range tap.said {
					if i < len(c.want) && strings.HasPrefix(line, c.want[i]) {
						line = c.want[i] // frames follow
					}
					got = append(got, line)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestTapsHearNothingOfAHandlerThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := &ear{wants: []domain.EventType{domain.SignalBeforeHandle, domain.SignalHandle}}
		b := newBench(t, Config{Tap: tap}, define(t, domain.StepTemplate{Name: "one", Handler: "h"}))
		if err := b.exec.RegisterTask("default", "work", "", noHandlers{}); err != nil {
			t.Fatal(err)
		}
		b.request("one")
		b.drain()
		if len(tap.said) > 0 || b.failure().Error.Kind != domain.KindPermanent {
			t.Errorf("heard %q", tap.said)
		}
	})
}

type noHandlers struct{}

func (noHandlers) GetStepHandler(domain.StepView) (domain.StepHandler, error) { return nil, nil }
