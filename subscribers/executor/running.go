package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// sayEvery is how often what an execution says for people is stored at most.
const sayEvery = time.Second

// An execution is the domain.Run of its handler.
var _ domain.Run = (*execution)(nil)

// sayings are what an execution said that is not stored yet. Most executions say nothing, so it is made when needed.
type sayings struct {
	mu       sync.Mutex
	closed   bool // the outcome has been reported
	last     time.Time
	timer    *time.Timer
	progress *domain.ProgressStep
	lines    []string
	size     int // bytes of lines
	kept     int // bytes of all lines of the attempt
	dropped  int
	emitted  []domain.Custom
	bytes    int // of their data
}

// sayings returns what the execution says; nil when it has said nothing, unless it is about to.
func (x *execution) sayings(begin bool) *sayings {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.said == nil && begin {
		x.said = &sayings{}
	}
	return x.said
}

// Checkpoint stores the cursor; see domain.Run.
func (x *execution) Checkpoint(ctx context.Context, cursor json.RawMessage) error {
	x.Heartbeat()
	text, err := domain.CompactJSON(cursor)
	if err != nil {
		return fmt.Errorf("checkpoint of step %q: %w", x.call.Step.Name, err)
	}
	if len(text) > domain.MaxCursor {
		return fmt.Errorf("checkpoint of step %q: %d bytes, at most %d are possible", x.call.Step.Name, len(text), domain.MaxCursor)
	}
	if x.exec.cfg.Confirm == nil {
		return errors.New("this executor cannot store checkpoints")
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(x, func() { stop(context.Cause(x)) })()
	err = x.exec.cfg.Confirm(ctx, x.partition, x.key.task, domain.CheckpointStep{
		Step: int(x.key.step), Attempt: x.call.Step.Attempt, Cursor: text,
	})
	if err != nil {
		return fmt.Errorf("checkpoint of step %q: %w", x.call.Step.Name, err)
	}
	return nil
}

// Progress reports at most once a second, and the last one with the outcome.
func (x *execution) Progress(done, total int, message string) {
	x.Heartbeat()
	s := x.sayings(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.progress = &domain.ProgressStep{Step: int(x.key.step), Attempt: x.call.Step.Attempt, Done: done, Total: total, Message: clean(message)}
	if s.last.IsZero() {
		x.speak(s) // the first one at once: somebody may be watching
		return
	}
	x.later(s)
}

// AppendLog keeps lines for the next report.
func (x *execution) AppendLog(lines ...string) {
	x.Heartbeat()
	s := x.sayings(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, line := range lines {
		line = cutLine(clean(line))
		n := len(line) + 1
		if s.size+n > domain.MaxLogEvent || s.kept+n > domain.MaxLogAttempt {
			s.dropped++
			continue
		}
		s.lines = append(s.lines, line)
		s.size, s.kept = s.size+n, s.kept+n
	}
	x.later(s)
}

// Emit keeps an event for the report of the outcome.
func (x *execution) Emit(name string, data json.RawMessage) error {
	if !x.sequence.def.DeclaresEvent(int(x.key.step), name) {
		return fmt.Errorf("event %q is declared neither by step %q nor by %s: add it to custom_events", name, x.call.Step.Name, x.sequence.def.FullName())
	}
	if data != nil {
		var err error
		if data, err = domain.CompactJSON(data); err != nil {
			return fmt.Errorf("event %q: %w", name, err)
		}
	}
	s := x.sayings(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("event %q of step %q comes too late: %w", name, x.call.Step.Name, domain.ErrStale)
	case len(s.emitted) == domain.MaxEmitted:
		return fmt.Errorf("event %q: an execution emits at most %d events", name, domain.MaxEmitted)
	case s.bytes+len(data) > domain.MaxEmittedBytes:
		return fmt.Errorf("event %q: the events of an execution have at most %d bytes together: emit a reference", name, domain.MaxEmittedBytes)
	}
	s.bytes += len(data)
	s.emitted = append(s.emitted, domain.Custom{Name: name, Data: data})
	return nil
}

// later makes sure that what waits is reported when its time has come.
func (x *execution) later(s *sayings) {
	if s.timer != nil {
		return
	}
	wait := sayEvery
	if !s.last.IsZero() {
		wait = max(0, sayEvery-time.Since(s.last))
	}
	s.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			x.speak(s)
		}
	})
}

// speak reports what waits.
func (x *execution) speak(s *sayings) {
	s.timer, s.last = nil, time.Now()
	step, attempt := int(x.key.step), x.call.Step.Attempt
	if s.progress != nil {
		x.exec.cfg.Report(x.partition, x.key.task, *s.progress)
		s.progress = nil
	}
	if len(s.lines) > 0 || s.dropped > 0 {
		x.exec.cfg.Report(x.partition, x.key.task, domain.LogStep{Step: step, Attempt: attempt, Lines: s.lines, Dropped: s.dropped})
		s.lines, s.size, s.dropped = nil, 0, 0
	}
}

// lastWords reports what waits before the outcome, and returns the events that come with it. Nothing is said after.
func (x *execution) lastWords() []domain.Custom {
	s := x.sayings(false)
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	x.speak(s)
	return s.emitted
}

// hush ends an execution whose outcome does not matter any more.
func (x *execution) hush() {
	s := x.sayings(false)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// clean makes text that JSON can hold and a terminal survives.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.ReplaceAll(text, "\x00", "\uFFFD")
}

// cutLine holds a line to what is stored of one.
func cutLine(line string) string {
	const mark = " [cut]"
	if len(line) <= domain.MaxLogLine {
		return line
	}
	return strings.ToValidUTF8(line[:domain.MaxLogLine-len(mark)], "") + mark
}
