package watermill_test

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/watermill"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// The promise is a custom subscriber in under 15 lines: every line with code counts, also what only prints.
func TestACustomSubscriberTakesFewerThanFifteenLines(t *testing.T) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "example_test.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "ExampleBus" {
			continue
		}
		lines := files.Position(f.Body.List[len(f.Body.List)-1].End()).Line - files.Position(f.Body.Lbrace).Line
		statements := 0
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if _, ok := n.(ast.Stmt); ok {
				if _, block := n.(*ast.BlockStmt); !block {
					statements++
				}
			}
			return true
		})
		if lines >= 15 || statements >= 15 || statements < 5 {
			t.Errorf("ExampleBus has %d lines and %d statements", lines, statements)
		}
		return
	}
	t.Error("there is no ExampleBus")
}

func newBus(t *testing.T, from domain.Subscriptions, c watermill.BusConfig) *watermill.Bus {
	t.Helper()
	if c.Events.Logger == nil {
		c.Events.Logger = quiet
	}
	b, err := watermill.NewBus(from, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replayAll is a bus that reads everything there is, once.
func replayAll() watermill.BusConfig {
	return watermill.BusConfig{Events: watermill.EventsConfig{
		Subscription: domain.Subscription{Lanes: 1}, Replay: &domain.ReplayOptions{},
	}}
}

// shipped is a custom event as a user declares it.
type shipped struct {
	Van string `json:"van"`
}

func (shipped) Name() string { return "custom.order.shipped" }

// custom stores a custom event of a task that exists.
func custom(t *testing.T, s *memlog.Store, id domain.TaskID, name, data string) {
	t.Helper()
	b, err := s.Log(0).Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store(t, s, 0, domain.Record{Task: id, Prev: b.Last, Event: domain.Custom{Name: name, Step: "charge", Attempt: 1, Data: []byte(data)}})
}

func TestTypedHandlersAreToldOfTheirEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		id := taskOf(1, 0, 1)
		story(t, s, id, "req-42")
		custom(t, s, id, "order.shipped", `{"van":"7"}`)
		custom(t, s, id, "order.lost", "")
		b := newBus(t, client(t, s), replayAll())
		var mu sync.Mutex
		got := map[string][]string{}
		say := func(handler, what string) {
			mu.Lock()
			defer mu.Unlock()
			got[handler] = append(got[handler], what)
		}
		if err := b.Handle(
			cqrs.NewEventHandler("failed", func(ctx context.Context, e *domain.TaskFailed) error {
				r, err := watermill.RecordOf(cqrs.OriginalMessageFromCtx(ctx))
				if err != nil || r.Task != id || r.Event.Type() != domain.TaskFailedType {
					t.Errorf("around it: %+v, %v", r, err)
				}
				say("failed", e.Steps[0]+" "+string(e.Reason)+" "+r.ID())
				return nil
			}),
			cqrs.NewEventHandler("created", func(_ context.Context, e *domain.TaskCreated) error {
				say("created", e.Name+" "+string(e.Context.JSON)+" "+e.Correlation)
				return nil
			}),
			cqrs.NewEventHandler("mine", func(_ context.Context, e *shipped) error { say("mine", e.Van); return nil }),
			cqrs.NewEventHandler("custom", func(_ context.Context, e *domain.Custom) error {
				say("custom", e.Name+" "+string(e.Data))
				return nil
			}),
			cqrs.NewEventHandler("signals", func(_ context.Context, e *domain.Signal) error { say("signals", string(e.Name)); return nil }),
			cqrs.NewEventHandler("records", func(_ context.Context, r *domain.Record) error {
				say("records", r.ID()+" "+string(r.Event.Type()))
				return nil
			}),
		); err != nil {
			t.Fatal(err)
		}
		if err := b.HandleGroup("group",
			cqrs.NewGroupEventHandler(func(_ context.Context, e *domain.StepFailed) error {
				say("group", e.Step+" "+e.Error.Message)
				return nil
			}),
			cqrs.NewGroupEventHandler(func(_ context.Context, e *shipped) error { say("group", "van "+e.Van); return nil }),
			cqrs.NewGroupEventHandler(func(_ context.Context, e *domain.TaskResolvedManually) error { say("group", e.Reason); return nil }),
		); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{
			"failed":  {"charge steps_in_error_state 00-2-1"},
			"created": {`pay {"a":1} req-42`},
			"mine":    {"7"},
			"custom":  {`order.shipped {"van":"7"}`, "order.lost "},
			"signals": {
				"workflow.task_finalization_started", "workflow.task_started", "workflow.task_finalization_completed",
				"workflow.viable_steps_discovered", "workflow.steps_execution_started",
				"observability.step.max_retries_reached", "workflow.steps_execution_completed",
				"workflow.task_finalization_started", "workflow.task_finalization_completed",
			},
			"records": {
				"00-1-0 task.created", "00-1-1 task.start_requested", "00-1-2 step.execution_requested", "00-2-0 step.failed",
				"00-2-1 task.failed", "00-3-0 task.resolved_manually", "00-4-0 custom.order.shipped", "00-5-0 custom.order.lost",
			},
			"group": {"charge no", "paid by hand", "van 7"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestHandlersThatCannotBeToldOfAnythingAreRefused(t *testing.T) {
	s := memlog.New(memlog.Options{})
	b := newBus(t, client(t, s), watermill.BusConfig{})
	if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no handlers") {
		t.Errorf("a bus without handlers: %v", err)
	}
	if err := b.Handle(cqrs.NewEventHandler("ok", func(context.Context, *domain.TaskFailed) error { return nil })); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"no type of event":       b.Handle(cqrs.NewEventHandler("a", func(context.Context, *struct{ A int }) error { return nil })),
		"custom.*":               b.Handle(cqrs.NewEventHandler("b", func(context.Context, *misnamed) error { return nil })),
		"names are unique":       b.Handle(cqrs.NewEventHandler("ok", func(context.Context, *domain.TaskFailed) error { return nil })),
		"each handler takes one": b.HandleGroup("c", cqrs.NewGroupEventHandler(func(context.Context, *domain.Record) error { return nil })),
		"no handlers":            b.HandleGroup("d"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := watermill.NewBus(client(t, s), watermill.BusConfig{Events: watermill.EventsConfig{Subscription: durable("x")}}); err == nil {
		t.Error("a name for all handlers was taken")
	}
}

// misnamed has the name of a family.
type misnamed struct{}

func (misnamed) Name() string { return "customs.*" }

func TestEveryHandlerOfABusHasACursorOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		var fast, slow, total atomic.Int64
		for life := range 3 {
			for i := range 10 {
				store(t, s, i%2, note(taskOf(i, i%2, 2), 10*life+i))
			}
			total.Add(10)
			b := newBus(t, client(t, s), watermill.BusConfig{Events: watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning}}})
			if err := b.Handle(
				cqrs.NewEventHandler("fast", func(context.Context, *domain.TaskAnnotated) error { fast.Add(1); return nil }),
				cqrs.NewEventHandler("slow", func(context.Context, *domain.TaskAnnotated) error {
					time.Sleep(time.Duration(life) * time.Second)
					slow.Add(1)
					return nil
				}),
			); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			through := make(chan error, 1)
			go func() { through <- b.Run(ctx) }()
			settle(time.Minute)
			cancel()
			if err := <-through; err != nil {
				t.Error(err)
			}
			if fast.Load() != total.Load() || slow.Load() != total.Load() {
				t.Errorf("life %d: fast has handled %d, slow %d of %d", life, fast.Load(), slow.Load(), total.Load())
			}
		}
	})
}

func TestRunSaysWhyItsSubscriptionsHaveEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		for i := range 5 {
			store(t, s, 0, note(taskOf(1, 0, 1), i))
		}
		if err := s.Log(0).Trim(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		run := func(c watermill.BusConfig) (string, error) {
			var log bytes.Buffer
			c.Events.Logger = slog.New(slog.NewTextHandler(&log, nil))
			b := newBus(t, client(t, s), c)
			if err := b.Handle(cqrs.NewEventHandler("books", func(context.Context, *domain.TaskAnnotated) error { return nil })); err != nil {
				t.Fatal(err)
			}
			err := b.Run(t.Context())
			return log.String(), err
		}
		from := domain.Subscription{From: domain.FromBeginning}
		var trimmed attached.ErrTrimmed
		for name, c := range map[string]watermill.BusConfig{
			"durable":   {Events: watermill.EventsConfig{Subscription: from}},
			"ephemeral": {Events: watermill.EventsConfig{Subscription: from}, Ephemeral: true},
			"finite":    {Events: watermill.EventsConfig{Replay: &domain.ReplayOptions{}}},
		} {
			log, err := run(c)
			if !errors.As(err, &trimmed) || trimmed.First != 3 {
				t.Errorf("%s: Run returned %v", name, err)
			}
			if name == "durable" && !strings.Contains(log, "has been trimmed") || strings.Contains(log, "all router handlers stopped") {
				t.Errorf("%s: the log says %s", name, log)
			}
		}
	})
}

func TestASubscriptionThatCannotBeginEndsTheBus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		var log bytes.Buffer
		c := watermill.BusConfig{Events: watermill.EventsConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
		b := newBus(t, client(t, s), c)
		if err := b.Handle(
			cqrs.NewEventHandler("good", func(context.Context, *domain.TaskAnnotated) error { return nil }),
			cqrs.NewEventHandler("not.good", func(context.Context, *domain.TaskAnnotated) error { return nil }),
		); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `"not.good": want a name`) {
			t.Errorf("Run: %v", err)
		}
		if err := b.Run(t.Context()); err == nil {
			t.Error("it runs twice")
		}
	})
}

func TestABusRecoversFromPanicsAndParksWithTheReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		story(t, s, taskOf(1, 0, 1), "")
		b := newBus(t, client(t, s), watermill.BusConfig{Events: watermill.EventsConfig{
			Subscription: domain.Subscription{From: domain.FromBeginning, Tries: 2},
		}})
		fail := func(name string, err error) cqrs.EventHandler {
			return cqrs.NewEventHandler(name, func(context.Context, *domain.TaskFailed) error {
				if err == nil {
					panic("the ledger is torn")
				}
				return err
			})
		}
		if err := b.Handle(fail("panics", nil), fail("fails", errors.New("the ledger is closed")), fail("permanent", domain.Permanent(errors.New("no such account"))),
			cqrs.NewEventHandler("unfit", func(context.Context, *unfit) error { return nil })); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		through := make(chan error, 1)
		go func() { through <- b.Run(ctx) }()
		settle(time.Minute)
		cancel()
		if err := <-through; err != nil {
			t.Error(err)
		}
		got := map[string]string{}
		for _, l := range s.Letters() {
			got[l.Name] = l.Headers["Tasker-Tries"] + " " + l.Reason
		}
		for name, want := range map[string]string{
			"panics": "the ledger is torn", "fails": "2 the handler failed 2 times: the ledger is closed",
			"permanent": "no such account", "unfit": "1 ",
		} {
			if !strings.Contains(got[name], want) {
				t.Errorf("dead letter of %s: %s", name, got[name])
			}
		}
	})
}

// unfit does not fit what task.failed says.
type unfit struct {
	Steps int `json:"steps"`
}

func (unfit) Name() string { return string(domain.TaskFailedType) }

func TestAHandlerThatIgnoresItsContextHoldsTheBusUpForAWhileOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(1, 0, 1), 1))
		b := newBus(t, client(t, s), watermill.BusConfig{Events: watermill.EventsConfig{
			Subscription: domain.Subscription{From: domain.FromBeginning}, CloseTimeout: 10 * time.Second,
		}})
		deaf := make(chan struct{})
		if err := b.Handle(cqrs.NewEventHandler("deaf", func(context.Context, *domain.TaskAnnotated) error { <-deaf; return nil })); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		through := make(chan error, 1)
		go func() { through <- b.Run(ctx) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-through; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 10*time.Second || took > time.Minute {
			t.Errorf("the bus ended after %s", took)
		}
		close(deaf)
		synctest.Wait()
		e := newEvents(t, s, watermill.EventsConfig{Subscription: durable("deaf")})
		(<-subscribe(t, e, annotations)).Ack() // it was not finished
	})
}

func TestCorrelationIsCopiedToWhatAHandlerPublishes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		story(t, s, taskOf(1, 0, 1), "req-42")
		b := newBus(t, client(t, s), replayAll())
		e := newEvents(t, s, watermill.EventsConfig{Replay: &domain.ReplayOptions{}})
		var out published
		b.Router().AddHandler("forward", string(domain.TaskFailedType), e, "mail", &out, func(*message.Message) ([]*message.Message, error) {
			return []*message.Message{message.NewMessage("m-1", nil)}, nil
		})
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(out.messages) != 1 || out.messages[0].Metadata.Get(watermill.MetadataCorrelation) != "req-42" {
			t.Errorf("published: %+v", out.messages)
		}
	})
}

// published keeps what it is given.
type published struct {
	mu       sync.Mutex
	messages []*message.Message
}

func (p *published) Publish(_ string, messages ...*message.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, messages...)
	return nil
}

func (*published) Close() error { return nil }
