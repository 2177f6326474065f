package executor

import "sync"

// maxIdle is how many goroutines are kept for the next execution.
const maxIdle = 128

// workers are the goroutines that run executions. An execution never waits for another to end: while the queue is not
// empty, a worker is on its way to it. But a worker that is through with one takes the next, which saves most
// executions a new goroutine, its growing stack, and a switch.
type workers struct {
	mu     sync.Mutex
	wake   sync.Cond
	run    func(*execution)
	queue  []*execution
	head   int
	parked int
	onWay  bool // somebody has been woken or started and has not looked at the queue yet
	closed bool
}

func (w *workers) init(run func(*execution)) { w.run, w.wake.L = run, &w.mu }

func (w *workers) add(x *execution) {
	w.mu.Lock()
	w.queue = append(w.queue, x)
	w.send()
	w.mu.Unlock()
}

// send makes sure that somebody looks at the queue.
func (w *workers) send() {
	switch {
	case w.onWay:
		return
	case w.parked > 0:
		w.parked--
		w.wake.Signal()
	default:
		go w.work()
	}
	w.onWay = true
}

func (w *workers) work() {
	w.mu.Lock()
	w.onWay = false
	for {
		for w.head == len(w.queue) {
			if w.closed || w.parked >= maxIdle {
				w.mu.Unlock()
				return
			}
			w.parked++
			w.wake.Wait()
			w.onWay = false
		}
		x := w.queue[w.head]
		w.queue[w.head] = nil
		if w.head++; w.head == len(w.queue) {
			w.queue, w.head = w.queue[:0], 0
		} else {
			w.send() // before the handler, which may take long
		}
		w.mu.Unlock()
		w.run(x)
		w.mu.Lock()
	}
}

// close lets idle workers go. Executions added later still run.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.parked = 0
	w.wake.Broadcast()
}
