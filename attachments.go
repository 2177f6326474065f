package tasker

import (
	"context"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// attachPatience is how long the end of an engine waits for its custom subscribers: they write their cursors.
const attachPatience = 5 * time.Second

// attachments are the custom subscribers that were attached to an engine: they end with it, while it can still write
// their cursors.
type attachments struct {
	mu      sync.Mutex
	stopped bool
	running sync.WaitGroup
	ended   chan struct{} // closed when the engine ends
}

func newAttachments() *attachments { return &attachments{ended: make(chan struct{})} }

// enter returns a context that also ends with the engine; done has to be called. ErrNotRunning after the end.
func (a *attachments) enter(ctx context.Context) (in context.Context, done func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return nil, nil, ErrNotRunning
	}
	a.running.Add(1)
	in, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		select {
		case <-a.ended:
			cancel()
		case <-over:
		}
	}()
	return in, func() {
		close(over)
		cancel()
		a.running.Done()
	}, nil
}

// stop ends them, and waits for a while. A second call does nothing.
func (a *attachments) stop() {
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		return
	}
	a.stopped = true
	close(a.ended)
	a.mu.Unlock()
	through := make(chan struct{})
	go func() {
		a.running.Wait()
		close(through)
	}()
	timer := time.NewTimer(attachPatience)
	defer timer.Stop()
	select {
	case <-through:
	case <-timer.C: // a handler that ignores its context
	}
}

// Attach is the router's, for as long as the engine runs: when Run ends, the subscriber ends, too, and has written its
// cursor before Run returns. ErrNotRunning after that.
func (e *Engine) Attach(ctx context.Context, name string, types []EventType, handle func(ctx context.Context, e Event) error, options ...AttachOptions) error {
	ctx, done, err := e.attached.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	return e.router.Attach(ctx, name, types, handle, options...)
}

// Subscribe is the router's, for as long as the engine runs, like Attach.
func (e *Engine) Subscribe(ctx context.Context, s domain.Subscription, handle func(ctx context.Context, e Event) error) error {
	ctx, done, err := e.attached.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	return e.router.Subscribe(ctx, s, handle)
}
