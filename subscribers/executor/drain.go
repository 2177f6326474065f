package executor

import "context"

// Drain stops the executor: no Take succeeds any more, and Drain returns when every execution has been reported and
// every hook has returned. When ctx ends first, the contexts of the rest are cancelled, each is reported as interrupted,
// and Drain returns without waiting for handlers that ignore their context. The coordinators have to go on meanwhile: a
// slot taken counts until its event was notified or withdrawn. A second call waits as the first.
func (e *Executor) Drain(ctx context.Context) {
	e.slots.mu.Lock()
	began := !e.slots.closed
	e.slots.closed = true
	e.slots.mu.Unlock()
	if began {
		e.listeners.call()
	}
	defer e.workers.close()
	for e.pending.Load() > 0 {
		select {
		case <-e.drained:
		case <-ctx.Done():
			e.interruptAll()
			return
		}
	}
	e.passOn()
}

// passOn lets another Drain look, too.
func (e *Executor) passOn() {
	select {
	case e.drained <- struct{}{}:
	default:
	}
}

func (e *Executor) interruptAll() {
	for i := range e.active {
		a := &e.active[i]
		a.mu.Lock()
		a.stopped = true
		a.mu.Unlock()
		for _, x := range a.all(-1) {
			if a.claim(x) {
				x.cancel(ErrStopping)
				e.interrupt(x)
			}
		}
	}
	e.leaveTo(-1, true)
	e.passOn()
}
