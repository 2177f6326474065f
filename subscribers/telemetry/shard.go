package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// shard is what is counted of one partition. The partition's coordinator counts, on one goroutine, so that no two
// processors write to the same memory; a scrape adds the shards up.
type shard struct {
	t      *Telemetry
	events []atomic.Uint64 // by number of the type

	last  *domain.Definition // that of the event before, which is mostly that of the next one
	seen  *view
	views map[string]*view // by hash of the definition

	mu          sync.Mutex // guards the growing of what follows
	definitions []*definitionCounters
	steps       []*stepCounters

	queueWait, commitEvents, commitSize, commitTook, appendTook histogram

	_ [64]byte
}

// view is how one content of a definition is counted.
type view struct {
	*definitionCounters
	steps []*stepCounters // by index; nil until one of its executions has ended
}

// definitionCounters are those of one label set, which versions of a definition share.
type definitionCounters struct {
	created, retries atomic.Uint64
	tasks            [4]atomic.Uint64 // by outcome
	steps            [5]atomic.Uint64
	*definitionHistograms
}

type definitionHistograms struct{ task, execution histogram }

// stepCounters are those of one label set.
type stepCounters struct {
	number             int
	executions, micros atomic.Uint64
	failures           [len(kinds)]atomic.Pointer[atomic.Uint64] // nil until there is one
}

// Outcomes, in the order of the counters.
const (
	ended = iota
	failed
	cancelled
	resolved
	skipped
)

var outcomes = [...]string{"complete", "error", "cancelled", "resolved_manually", "skipped"}

// maxViews bounds what definitions that are replaced again and again leave behind.
const maxViews = 1000

func newShard(t *Telemetry) *shard {
	s := &shard{t: t, events: make([]atomic.Uint64, len(t.types)), views: map[string]*view{}}
	s.queueWait.bounds, s.commitTook.bounds, s.appendTook.bounds = latencies, latencies, latencies
	s.commitEvents.bounds, s.commitSize.bounds = counts, sizes
	s.definition(0)
	s.step(0)
	return s
}

// Meter measures one partition; its coordinator's goroutine calls it.
type Meter struct{ shard *shard }

var _ subscribers.Meter = (*Meter)(nil)

// Stored notes what a commit cost: see subscribers.Meter.
func (m *Meter) Stored(events, bytes int, took, gathered time.Duration) {
	s := m.shard
	s.commitEvents.observe(int64(events))
	s.commitSize.observe(int64(bytes))
	s.appendTook.took(took)
	s.commitTook.took(gathered)
}

// Waited notes how long a step was ready before it was started: see discoverer.Waits.
func (m *Meter) Waited(d time.Duration) { m.shard.queueWait.took(d) }

func (s *shard) count(t domain.EventType) {
	i, ok := s.t.index[t]
	if !ok {
		if _, ok = domain.CustomName(t); !ok {
			return // of a newer version
		}
		i = len(s.t.types) - 1
	}
	s.events[i].Add(1)
}

// measure counts an event about a task.
func (s *shard) measure(c *subscribers.Committed) {
	v := s.view(c.Task.Definition)
	switch e := c.Record.Event.(type) {
	case domain.TaskCreated:
		v.created.Add(1)
	case domain.TaskCompleted:
		v.end(ended, c)
	case domain.TaskFailed:
		v.end(failed, c)
	case domain.TaskCancelled:
		v.end(cancelled, c)
	case domain.TaskResolvedManually:
		v.end(resolved, c)
	case domain.StepCompleted:
		v.definitionCounters.steps[ended].Add(1)
		s.executed(v, c)
	case domain.StepFailed:
		if e.RetryAt == 0 {
			v.definitionCounters.steps[failed].Add(1)
		}
		if step := s.executed(v, c); step != nil {
			s.failure(step, e.Error.Kind).Add(1)
		}
	case domain.StepCancelled:
		v.definitionCounters.steps[cancelled].Add(1)
		s.executed(v, c)
	case domain.StepResolvedManually:
		v.definitionCounters.steps[resolved].Add(1)
	case domain.StepSkipped:
		v.definitionCounters.steps[skipped].Add(1)
	case domain.StepRetryRequested:
		v.retries.Add(1)
	case domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskRetryRequested, domain.TaskPaused,
		domain.TaskResumed, domain.TaskAnnotated, domain.TaskExpired, domain.StepInherited, domain.StepExecutionRequested, domain.StepCheckpointed,
		domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.PartitionOpened, domain.PartitionSkipped,
		domain.DefinitionAdopted, domain.Signal, domain.Unknown:
	}
}

func (v *view) end(outcome int, c *subscribers.Committed) {
	v.tasks[outcome].Add(1)
	if c.Before.State == domain.Error {
		return // the run had ended before
	}
	v.task.took(c.Record.At.Sub(c.Task.CreatedAt))
}

// executed notes the end of an execution; nil when none was in progress, or a sleep.
func (s *shard) executed(v *view, c *subscribers.Committed) *stepCounters {
	before := &c.Before
	if before.Attempt == 0 || c.Task.Template(int(before.Step)).Handler == domain.SleepHandler {
		return nil
	}
	took := max(c.Record.At.Sub(before.Began), 0)
	v.execution.took(took)
	step := v.steps[before.Step]
	if step == nil {
		step = s.step(s.t.labels.step(c.Task.Definition, int(before.Step)))
		v.steps[before.Step] = step
	}
	step.executions.Add(1)
	step.micros.Add(uint64(took.Microseconds())) // #nosec G115 -- never negative
	return step
}

// failure is the counter of the step's failures of that kind. Pairs beyond the limit share those of "other".
func (s *shard) failure(step *stepCounters, kind domain.ErrorKind) *atomic.Uint64 {
	k := kindNumber(kind)
	if n := step.failures[k].Load(); n != nil {
		return n
	}
	if step.number != 0 && !s.t.labels.mayFail(step.number, k) {
		n := s.failure(s.step(0), kind)
		return n
	}
	n := new(atomic.Uint64)
	step.failures[k].Store(n)
	return n
}

func (s *shard) view(d *domain.Definition) *view {
	if d == s.last {
		return s.seen
	}
	v := s.views[d.Hash()]
	if v == nil {
		if len(s.views) >= maxViews {
			clear(s.views)
		}
		v = &view{definitionCounters: s.definition(s.t.labels.definition(d)), steps: make([]*stepCounters, len(d.Steps))}
		s.views[d.Hash()] = v
	}
	s.last, s.seen = d, v
	return v
}

func (s *shard) definition(number int) *definitionCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.definitions) <= number {
		s.definitions = append(s.definitions, nil)
	}
	c := s.definitions[number]
	if c == nil {
		c = &definitionCounters{}
		if number > MaxHistograms {
			c.definitionHistograms = s.definitions[0].definitionHistograms
		} else {
			c.definitionHistograms = &definitionHistograms{}
			c.task.bounds, c.execution.bounds = durations, durations
		}
		s.definitions[number] = c
	}
	return c
}

func (s *shard) step(number int) *stepCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.steps) <= number {
		s.steps = append(s.steps, nil)
	}
	if s.steps[number] == nil {
		s.steps[number] = &stepCounters{number: number}
	}
	return s.steps[number]
}
