// Command embed shows Tasker inside a program of your own: an order service that takes orders over HTTP, runs them as
// tasks, and keeps its own read model up to date with a durable subscriber.
//
//	go run ./examples/embed            # one order, then it ends
//	go run ./examples/embed -listen localhost:8080
//	curl -d '{"customer":"ada","cents":4200}' localhost:8080/orders
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// Order is what customers send.
type Order struct {
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

// Payment is the result of the step "charge".
type Payment struct {
	ID string `json:"id"`
}

func main() {
	listen := flag.String("listen", "", "serve HTTP on this address instead of running one order")
	data := flag.String("data", "", "data directory (default: a new one, removed at the end)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *listen, *data)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, listen, data string) error {
	if data == "" {
		dir, err := os.MkdirTemp("", "embed")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		data = dir
	}
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: data})
	if err != nil {
		return err
	}
	defer func() { _ = server.Shutdown(context.WithoutCancel(ctx)) }()
	engine, err := tasker.New(ctx, tasker.Config{Connect: server.Connect, StoreLimit: server.MaxStore()})
	if err != nil {
		return err
	}
	if err := engine.Register(orders()); err != nil {
		return err
	}
	stopEngine := start(ctx, func(ctx context.Context) error { return engine.Run(ctx) })
	defer stopEngine()
	totals := newTotals()
	// Durable by its name: after a restart it goes on behind the last event that it handled. It ends before the engine,
	// whose connection it uses.
	stopTotals := start(ctx, func(ctx context.Context) error {
		return engine.Attach(ctx, "totals", []tasker.EventType{domain.TaskCreatedType, domain.TaskCompletedType}, totals.handle,
			tasker.AttachOptions{From: tasker.FromBeginning})
	})
	defer stopTotals()
	select {
	case <-engine.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	if listen != "" {
		return serve(ctx, listen, api(engine, totals))
	}
	paid, err := tasker.Run[map[string]string](ctx, engine, "order", Order{"ada", 4200}, tasker.Key("order-1"))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "receipt sent:", paid["receipt"])
	_, _ = fmt.Fprintln(out, "orders completed, as the subscriber counts them:", <-totals.first)
	return nil
}

// start runs f in the background. The function that it returns ends its context, which the end of ctx does not, and waits
// for it: what is started first is stopped last.
func start(ctx context.Context, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			log.Print(err)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// orders is the workflow: charge, then tell the warehouse and the customer at the same time.
func orders() *tasker.Workflow {
	charge := tasker.Handle(func(ctx context.Context, o Order) (Payment, error) {
		if o.Cents <= 0 {
			return Payment{}, tasker.Permanent(fmt.Errorf("an order of %d cents cannot be charged", o.Cents))
		}
		step, _ := tasker.StepOf(ctx) // the payment provider gets the same key on every attempt, and charges once
		return Payment{ID: "pay_" + step.IdempotencyKey[:8]}, nil
	})
	pack := tasker.Handle(func(context.Context, Order) (string, error) { return "packed", nil })
	receipt := tasker.Handle(func(ctx context.Context, o Order) (string, error) {
		payment, err := tasker.ResultOf[Payment](ctx, "charge")
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s paid %d.%02d, reference %s", o.Customer, o.Cents/100, o.Cents%100, payment.ID), nil
	})
	return tasker.Define("order").
		Step("charge", charge, tasker.Retries(5), tasker.DependentSystem("payments")).
		Step("pack", pack, tasker.After("charge")).
		Step("receipt", receipt, tasker.After("charge"), tasker.Timeout(10*time.Second)).
		MustBuild()
}

// totals is the read model: how many orders have been completed. Events come at least once, so it remembers how far it
// has come: in memory here; a real one would store position and count together.
type totals struct {
	mu        sync.Mutex
	seen      map[tasker.Position]bool
	completed int
	first     chan int
}

func newTotals() *totals { return &totals{seen: map[tasker.Position]bool{}, first: make(chan int, 1)} }

func (t *totals) handle(_ context.Context, e tasker.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[e.Position] {
		return nil
	}
	t.seen[e.Position] = true
	if _, ok := e.Event.(domain.TaskCompleted); ok {
		t.completed++
		select {
		case t.first <- t.completed:
		default:
		}
	}
	return nil
}

// api is what customers talk to.
func api(engine *tasker.Engine, t *totals) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		receipt, err := engine.Submit(r.Context(), "order", o)
		if errors.Is(err, tasker.ErrOverloaded) {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintln(w, receipt.ID)
	})
	mux.HandleFunc("GET /totals", func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		_, _ = fmt.Fprintln(w, t.completed)
	})
	return mux
}

func serve(ctx context.Context, listen string, handler http.Handler) error {
	s := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
