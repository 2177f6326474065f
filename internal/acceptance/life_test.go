package acceptance

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/internal/cut"
)

// life is one engine, from its start until it is stopped or killed.
type life struct {
	engine  *tasker.Engine
	line    *cut.Store
	stop    context.CancelFunc
	claimed atomic.Bool   // somebody sees to its end: who killed it, or who stops it
	ended   chan struct{} // closed at the end of Run
	err     error         // of Run
	owning  chan struct{} // closed when it owns every partition
	over    chan struct{} // closed when its successor has begun
}

func (l *life) dead() bool {
	select {
	case <-l.line.Dead():
		return true
	default:
		return false
	}
}

// within is a context for a call of the engine: it ends with the engine, too.
func (l *life) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-l.line.Dead():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// begin starts an engine that takes the place of the one before it. It is called with w.mu held.
func (w *world) begin() {
	w.t.Helper()
	before := w.life
	if before != nil {
		if err := before.line.Free(context.Background()); err != nil {
			w.t.Errorf("the lease of the dead engine: %v", err)
		}
	}
	l := &life{line: cut.New(w.store), ended: make(chan struct{}), owning: make(chan struct{}), over: make(chan struct{})}
	l.line.OnStored(func() bool { return w.stored(l) })
	config := tasker.Config{
		Store: l.line, Name: "acceptance", Drain: w.second, Clock: w.now,
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range w.config {
		f(&config)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	var err error
	if l.engine, err = tasker.New(ctx, config); err != nil {
		w.t.Errorf("the engine is not made: %v", err)
		panic(err)
	}
	for _, f := range w.register {
		if err := f(l.engine); err != nil {
			w.t.Errorf("the engine does not take what the one before it took: %v", err)
		}
	}
	go func() {
		defer close(l.ended)
		l.err = l.engine.Run(ctx)
	}()
	w.deaths.Go(func() { w.own(l) })
	w.life = l
	if before != nil {
		close(before.over)
	}
}

// own waits until the engine owns every partition.
func (w *world) own(l *life) {
	select {
	case <-l.engine.Ready():
	case <-l.line.Dead():
		return
	case <-time.After(w.patience()):
		w.t.Errorf("the engine is never ready")
		return
	}
	ctx, cancel := l.within(context.Background())
	defer cancel()
	for ctx.Err() == nil {
		if _, err := l.engine.Tasks(ctx, anyLive); err == nil {
			close(l.owning)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// stored is called after every commit: it may be the one after which the engine is killed.
func (w *world) stored(l *life) bool {
	if w.commits.Add(1) != w.killAt {
		return false
	}
	w.killed.Store(true)
	if !l.claimed.Swap(true) {
		w.deaths.Go(func() { w.succeed(l) })
	}
	return true
}

// succeed puts another engine in the place of one that was killed.
func (w *world) succeed(l *life) {
	<-l.line.Dead()
	l.stop()
	w.mu.Lock()
	w.begin()
	w.mu.Unlock()
	w.bury(l)
}

// bury waits for the end of an engine, and for those of its handlers that ignore their context.
func (w *world) bury(l *life) {
	<-l.ended
	if l.err != nil {
		w.t.Errorf("the engine ended with an error: %v", l.err)
	}
	for l.engine.Stats().Executor.Leaked > 0 {
		time.Sleep(w.second / 10)
	}
}

// living is the engine that runs now; while there is none, the next one.
func (w *world) living() *life {
	w.t.Helper()
	patience := time.NewTimer(w.patience())
	defer patience.Stop()
	for {
		w.mu.Lock()
		l := w.life
		w.mu.Unlock()
		select {
		case <-l.owning:
			if !l.dead() {
				return l
			}
		case <-l.line.Dead():
		case <-patience.C:
			w.t.Fatal("the engine does not start")
		}
		if l.dead() {
			<-l.over
		}
	}
}

// halt stops the engine as a regular end of its process does.
func (w *world) halt() {
	w.t.Helper()
	for {
		l := w.living()
		if l.claimed.Swap(true) {
			<-l.over // it was killed at this moment
			continue
		}
		l.stop()
		w.bury(l)
		return
	}
}

// restart stops the engine and starts another on the same log.
func (w *world) restart() {
	w.t.Helper()
	w.halt()
	w.mu.Lock()
	w.begin()
	w.mu.Unlock()
	w.living()
}

// crash kills the engine; another one starts on the same log.
func (w *world) crash() {
	w.t.Helper()
	if l := w.living(); !l.claimed.Swap(true) {
		l.line.Cut()
		w.succeed(l)
	}
	w.living()
}

// remember does something to the engine, and to those that come after it.
func (w *world) remember(f func(*tasker.Engine) error) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := f(w.life.engine); err != nil && !w.life.dead() {
		w.t.Fatal(err)
	}
	w.register = append(w.register, f)
}

func (w *world) add(items ...any) {
	w.t.Helper()
	w.remember(func(e *tasker.Engine) error { return e.Register(items...) })
}

func (w *world) handle(name string, h tasker.StepHandler) {
	w.t.Helper()
	w.remember(func(e *tasker.Engine) error { return e.Handler(name, h) })
}
