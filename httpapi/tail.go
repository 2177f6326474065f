package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// tail reads what is stored from now on, once for all who listen: decoding the log anew for each would cost more than the
// engine itself. It runs as long as anybody listens.
type tail struct {
	s     *server
	types []tasker.EventType // nil: every fact

	mu        sync.Mutex
	listeners map[*listener]bool
	at        place // what all listeners have been offered
	stop      context.CancelFunc
}

// everySignal asks for facts and for the signals that follow from them.
var everySignal = []tasker.EventType{"task.*", "step.*", "workflow.*", "observability.*", "partition.*", "definition.*", "custom.*"}

// message is an event on its way to listeners, who share it.
type message struct {
	at    tasker.Position
	task  tasker.TaskID
	kind  tasker.EventType
	text  []byte // JSON
	place string // after it
}

// listener is one stream.
type listener struct {
	wants  func(e *tasker.Event) bool // quick
	queue  chan *message
	bytes  atomic.Int64  // in queue
	behind chan struct{} // closed when something did not fit: nothing comes any more
	failed *Problem      // why, if it was not that; set before behind is closed
}

// offer hands a message over without waiting.
func (l *listener) offer(m *message) bool {
	if l.bytes.Add(int64(len(m.text))) > maxStreamBytes {
		return false
	}
	select {
	case l.queue <- m:
		return true
	default:
		return false
	}
}

// listen adds a listener, and returns the place from which on it is told everything.
func (t *tail) listen(ctx context.Context, wants func(e *tasker.Event) bool) (*listener, place, error) {
	l := &listener{wants: wants, queue: make(chan *message, t.s.StreamBuffer), behind: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop == nil {
		ends, err := t.s.service.LogEnd(ctx)
		if err != nil {
			return nil, place{}, err
		}
		t.at = place{cursor: domain.Cursor{DataID: t.s.service.Info().ID, Sequences: map[int]uint64{}}}
		for _, end := range ends {
			t.at.cursor.Advance(end)
		}
		running, stop := context.WithCancel(context.WithoutCancel(ctx))
		t.stop = stop
		go t.run(running)
	}
	t.listeners[l] = true
	return l, t.at.clone(), nil
}

// leave removes a listener; the last one switches off the light.
func (t *tail) leave(l *listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.listeners, l)
	t.restIfAlone()
}

func (t *tail) restIfAlone() {
	if len(t.listeners) == 0 && t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// place is where the tail is, if the listener has taken all that it was offered.
func (t *tail) place(l *listener) (place, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at.clone(), len(l.queue) == 0
}

// run reads until ctx ends. What passes is waited for; the listeners need not know.
func (t *tail) run(ctx context.Context) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		t.mu.Lock()
		t.at.resume()
		from := t.at.cursor.String()
		t.mu.Unlock()
		o := tasker.ReplayOptions{Types: t.types, From: domain.FromPosition(from), Follow: true}
		for e, err := range t.s.service.Replay(ctx, o) {
			if err == nil {
				t.tell(ctx, &e)
				pause = 50 * time.Millisecond
				continue
			}
			if t.over(ctx, err) {
				return
			}
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// over ends all streams when what is to be read next is not there any more.
func (t *tail) over(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	p := typedProblem(err)
	if p == nil {
		t.s.Logger.Warn("events are not read now; trying again", "error", err)
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil { // another one runs
		return true
	}
	for l := range t.listeners {
		l.failed = p
		t.cutOff(l)
	}
	return true
}

// cutOff is called with the lock.
func (t *tail) cutOff(l *listener) {
	delete(t.listeners, l)
	close(l.behind)
	t.restIfAlone()
}

// tell offers an event to all who want it.
func (t *tail) tell(ctx context.Context, e *tasker.Event) {
	if made, ok := e.Event.(domain.TaskCreated); ok {
		namespace := made.Namespace
		if namespace == "" {
			namespace = domain.DefaultNamespace
		}
		t.s.owners.note(e.Task, owner{namespace: namespace, name: made.Name, version: made.Version})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil || t.at.has(e.Position, t.types != nil) {
		return
	}
	t.at.reached(e.Position)
	var m *message
	for l := range t.listeners {
		if !l.wants(e) {
			continue
		}
		if m == nil {
			m = t.s.message(e, &t.at)
		}
		if !l.offer(m) {
			t.cutOff(l)
		}
	}
}

// EventData is an event as a stream tells it.
type EventData struct {
	ID        string           `json:"id" doc:"of the event: its position"`
	Type      tasker.EventType `json:"type"`
	At        domain.Instant   `json:"at"`
	Task      string           `json:"task,omitempty" doc:"left out for the facts without a task"`
	Namespace string           `json:"namespace,omitempty" doc:"of the task, where it is known"`
	Name      string           `json:"name,omitempty" doc:"of the task's definition, where it is known"`
	Step      string           `json:"step,omitempty"`
	Attempt   int              `json:"attempt,omitempty"`
	Actor     domain.Actor     `json:"actor"`
	Data      json.RawMessage  `json:"data,omitempty" doc:"what the event says beyond that; docs/events.md"`
}

func (s *server) message(e *tasker.Event, after *place) *message {
	d := EventData{ID: e.ID(), Type: e.Event.Type(), At: e.At, Actor: e.Actor(), Data: domain.EventData(e.Event)}
	if !e.Task.IsZero() {
		d.Task = e.Task.String()
		if of, ok := s.owners.recall(e.Task); ok {
			d.Namespace, d.Name = of.namespace, of.name
		}
	}
	if about, ok := e.Event.(domain.StepEvent); ok {
		d.Step, d.Attempt = about.StepName(), about.AttemptNumber()
	}
	if unknown, ok := e.Event.(domain.Unknown); ok {
		d.Step, d.Attempt = unknown.Step, unknown.Attempt
	}
	text, err := json.Marshal(d)
	if err != nil { // what is stored can be written
		text, _ = json.Marshal(EventData{ID: d.ID, Type: d.Type, At: d.At, Task: d.Task, Actor: d.Actor})
	}
	return &message{at: e.Position, task: e.Task, kind: d.Type, text: text, place: after.String()}
}

// streams are all of the server's.
type streams struct {
	facts, signals *tail
	open           atomic.Int64
	most           int64
}

func newStreams(s *server) *streams {
	return &streams{
		facts:   &tail{s: s, listeners: map[*listener]bool{}},
		signals: &tail{s: s, types: everySignal, listeners: map[*listener]bool{}},
		most:    int64(s.MaxStreams),
	}
}

// enter counts a stream in.
func (s *streams) enter() *Problem {
	if s.open.Add(1) > s.most {
		s.open.Add(-1)
		p := newProblem(http.StatusTooManyRequests, CodeTooManyStreams, "too many streams of events are open", "close some, or raise Options.MaxStreams")
		p.retryAfter = 5 * time.Second
		return p
	}
	return nil
}

func (s *streams) leave() { s.open.Add(-1) }

// gone reports whether an error only says that nobody listens any more.
func gone(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}
