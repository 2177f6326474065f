package modelcheck

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/internal/scenario"
)

// leastStates is how many distinct states a full search has to reach.
const leastStates = 100_000

// TestNothingGetsStuckWhateverHappens is the exhaustive search of SEMANTICS 1 to 6 on small definitions.
func TestNothingGetsStuckWhateverHappens(t *testing.T) {
	all := models()
	if testing.Short() || raceEnabled {
		// The search is one goroutine per model, so the race detector makes it ten times slower for nothing. A few models are
		// searched with it, and all of them in a test without it.
		searchAll(t, all[:10])
		if !t.Failed() && !testing.Short() {
			withoutRaceDetector(t)
		}
		return
	}
	if states := searchAll(t, all); states < leastStates {
		t.Errorf("%d states; at least %d were meant to be searched", states, leastStates)
	}
}

// searchAll searches as many models at a time as there are processors, and returns how many states they have.
func searchAll(t *testing.T, all []model) int {
	t.Helper()
	began := time.Now()
	var next, states, moves atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)) && !t.Failed(); i = next.Add(1) - 1 {
				s := newSearch(all[i])
				s.run(t)
				t.Logf("%-44s %7d states, %8d transitions", s.name, len(s.seen), s.moves)
				states.Add(int64(len(s.seen)))
				moves.Add(int64(s.moves))
			}
		})
	}
	workers.Wait()
	t.Logf("%d states, %d transitions in %v", states.Load(), moves.Load(), time.Since(began).Round(time.Millisecond))
	return int(states.Load())
}

const child = "TASKER_MODELCHECK_WITHOUT_RACE_DETECTOR"

func withoutRaceDetector(t *testing.T) {
	t.Helper()
	if os.Getenv(child) != "" {
		t.Fatal("the test without the race detector has it")
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-race=false", "-vet=off", "-count=1", "-run=^"+t.Name()+"$", "-v", ".")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// model is a definition and what may happen to its task.
type model struct {
	name   string
	def    *domain.Definition
	slots  int // 0: a slot for any ready step may come at any time; else there are always enough
	bypass []string
	lost   int32 // executions of a step that may be lost per round
	talks  bool  // handlers checkpoint, and operators change inputs and limits
	forked bool  // forks of the task are tasks of the model
}

// search is a breadth-first search over one model.
type search struct {
	model
	seen  map[uint64]int // where in nodes
	nodes []node
	moves int
}

type node struct {
	run    *scenario.Run // nil when everything that may happen in it has been tried
	parent int
	action string
	over   bool  // the task has ended or failed
	before []int // states that lead here without anything going wrong
}

// action is one thing that may happen next.
type action struct {
	name string
	verb bool // an operator may say it twice
	good bool // it goes on by itself, or by an operator who lifts a pause
	do   func(*scenario.Run) error
}

func newSearch(m model) *search { return &search{model: m, seen: map[uint64]int{}} }

func (s *search) run(t *testing.T) {
	first := scenario.New(s.def, s.slots)
	if err := first.Submit(domain.CreateTask{Context: domain.Inline([]byte(`{}`)), BypassSteps: s.bypass}); err != nil {
		t.Error(s.name, err)
		return
	}
	log := first.Log
	s.visit(t, node{run: first, parent: -1, action: "submit"})
	for cut := 1; cut < len(log); cut++ {
		torn := scenario.New(s.def, s.slots)
		torn.Task = scenario.Fold(s.def, log[:1])
		torn.Replay(log[1:cut])
		s.visit(t, node{run: torn, parent: -1, action: fmt.Sprintf("submit, cut after %d", cut)})
	}
	for at := 0; at < len(s.nodes) && !t.Failed(); at++ {
		s.expand(t, at)
		s.nodes[at].run = nil
	}
	if !t.Failed() {
		s.reachEnd(t)
	}
	s.nodes = nil
}

// reachEnd: every state goes on to an end when handlers succeed and time passes.
func (s *search) reachEnd(t *testing.T) {
	var next []int
	reached := make([]bool, len(s.nodes))
	for at := range s.nodes {
		if s.nodes[at].over {
			reached[at], next = true, append(next, at)
		}
	}
	for len(next) > 0 {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		for _, from := range s.nodes[at].before {
			if !reached[from] {
				reached[from], next = true, append(next, from)
			}
		}
	}
	for at := range s.nodes {
		if !reached[at] {
			t.Errorf("%s: the task never ends from here on:\n%s", s.name, s.path(at))
			return
		}
	}
}

// expand does everything that may happen in a state, whole and cut short after each event.
func (s *search) expand(t *testing.T, at int) {
	from := s.nodes[at].run
	if s.forked {
		s.forks(t, at, from)
	}
	before := key(from)
	for _, a := range s.actions(from) {
		to := from.Fork()
		err := a.do(to)
		s.moves++
		log := to.Log
		if err != nil && len(log) > 0 {
			t.Errorf("%s: %q was refused and led to %d events:\n%s", s.name, a.name, len(log), s.path(at))
		}
		if from.Task.Over() && key(to) != before {
			t.Errorf("%s: %q changed a task that had ended:\n%s", s.name, a.name, s.path(at))
		}
		if from.Task.Expired && a.verb && err == nil {
			t.Errorf("%s: %q was not refused after the task had expired:\n%s", s.name, a.name, s.path(at))
		}
		if len(log) == 0 {
			continue
		}
		if lost := lostCursor(from.Task, to.Task, a.name); lost != "" {
			t.Errorf("%s: after %q the checkpoint of %s is gone:\n%s", s.name, a.name, lost, s.path(at))
		}
		if what := unlawful(from.Task, log); what != "" {
			t.Errorf("%s: %q led to %s\n%s", s.name, a.name, what, s.path(at))
		}
		reached := s.visit(t, node{run: to, parent: at, action: a.name})
		if a.good {
			s.nodes[reached].before = append(s.nodes[reached].before, at)
		}
		if a.verb {
			if err := a.do(to); len(to.Log) != len(log) {
				t.Errorf("%s: %q said twice did something else (%v):\n%s", s.name, a.name, err, s.path(at))
			}
		}
		for cut := 1; cut < len(log); cut++ {
			torn := from.Fork()
			torn.Replay(log[:cut])
			s.visit(t, node{run: torn, parent: at, action: fmt.Sprintf("%s, cut after %d: %T", a.name, cut, log[cut-1].Event)})
		}
	}
}

// lostCursor is the step whose checkpoint went although it may have another attempt with the same inputs; "" when none did.
func lostCursor(from, to *domain.Task, action string) string {
	for i := range from.Steps {
		s := &to.Steps[i]
		if from.Steps[i].Cursor() != nil && s.Cursor() == nil && s.State != domain.Complete && !strings.HasPrefix(action, "other inputs") {
			return to.Template(i).Name
		}
	}
	return ""
}

// visit returns where in nodes the state is.
func (s *search) visit(t *testing.T, n node) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key(n.run)))
	if at, ok := s.seen[h.Sum64()]; ok {
		return at
	}
	at := len(s.nodes)
	s.seen[h.Sum64()] = at
	n.run, n.over = n.run.Fork(), !n.run.Task.State.Live()
	s.nodes = append(s.nodes, n)
	if wrong := s.wrong(n.run); wrong != "" {
		t.Errorf("%s: %s\n%s", s.name, wrong, s.path(at))
	}
	return at
}

// wrong names what SEMANTICS promises and the state breaks.
func (s *search) wrong(r *scenario.Run) string {
	task := r.Task
	running, ready := 0, 0
	for i := range task.Steps {
		if task.Steps[i].State == domain.InProgress {
			running++
		}
		if task.Ready(i) {
			ready++
		}
	}
	unsettled := r.Unsettled()
	switch {
	case task.Status() == domain.StatusUnclear:
		return "the status is unclear"
	case len(unsettled) > 0:
		return fmt.Sprintf("settled, and yet the reactors say %#v", unsettled)
	case task.State.Live() && running == 0 && ready == 0 && task.NextWake() == 0 && !task.Paused:
		return "a live task to which nothing can happen"
	case !task.State.Live() && running > 0:
		return "a task that is not live has a running step"
	case !task.State.Live() && task.NextWake() != 0:
		return "a task that is not live waits for a timer"
	case task.Expired && task.State != domain.Error:
		return "a task that has expired is " + task.State.String()
	case task.NextWake() != wakes(task):
		return fmt.Sprintf("it wakes at %s, and should at %s", task.NextWake(), wakes(task))
	case task.NextWake() != 0 && task.NextWake() <= r.Now:
		return "something is due and nothing happens"
	case task.State.Live() && s.slots > 0 && ready > 0:
		return "a ready step, and slots, and it does not start"
	case task.State == domain.InProgress && running == 0 && ready == 0:
		return "in progress, and nothing runs or could"
	case task.State == domain.Pending && (running > 0 || ready > 0):
		return "the task waits, and something runs or could"
	}
	return unexplained(r, s.slots)
}

// actions lists what may happen to the task.
func (s *search) actions(r *scenario.Run) []action {
	var list []action
	do := func(name string, verb bool, cmd domain.Command) {
		good := strings.HasPrefix(name, "ok ") || strings.HasPrefix(name, "start ") || name == "resume"
		list = append(list, action{name, verb, good, func(r *scenario.Run) error { _, err := r.Do(cmd); return err }})
	}
	task := r.Task
	for i := range task.Steps {
		step, name := &task.Steps[i], s.def.Steps[i].Name
		attempt := int(step.Attempt)
		if step.State == domain.InProgress && step.WakeAt == 0 { // a sleep is the engine's own
			do("ok "+name, false, domain.CompleteStep{Step: i, Attempt: attempt, Result: domain.Inline([]byte(`1`))})
			do("fail "+name, false, domain.FailStep{Step: i, Attempt: attempt})
			do("permanent "+name, false, domain.FailStep{Step: i, Attempt: attempt, Error: domain.StepError{Kind: domain.KindPermanent}})
			do("stale "+name, false, domain.FailStep{Step: i, Attempt: attempt - 1})
			if s.talks {
				do("checkpoint "+name, false, domain.CheckpointStep{Step: i, Attempt: attempt, Cursor: []byte(`1`)})
				do("stale checkpoint "+name, false, domain.CheckpointStep{Step: i, Attempt: attempt + 1, Cursor: []byte(`1`)})
			}
			if step.Lost < s.lost {
				do("lose "+name, false, domain.FailStep{Step: i, Attempt: attempt, Error: domain.StepError{Kind: domain.KindWorkerLost}})
			}
		}
		if s.slots == 0 && task.Ready(i) {
			do("start "+name, false, domain.StartStep{Step: i})
		}
		do("retry step "+name, true, domain.RetryStep{Step: name})
		if s.talks {
			do("other inputs "+name, true, domain.RetryStep{Step: name, Inputs: []byte(`{}`)})
			do("limit of one "+name, true, domain.RetryStep{Step: name, RetryLimit: 1})
		}
		do("resolve step "+name, true, domain.ResolveStep{Step: name, Result: domain.Inline([]byte(`2`))})
		do("cancel step "+name, true, domain.CancelStep{Step: name})
		do("complete step "+name, true, domain.FinishStep{Step: name, Result: domain.Inline([]byte(`3`))})
	}
	do("cancel", true, domain.CancelTask{})
	do("retry", true, domain.RetryTask{})
	do("resolve", true, domain.ResolveTask{})
	do("pause", true, domain.PauseTask{})
	do("resume", true, domain.ResumeTask{})
	do("expire", false, domain.ExpireTask{})
	if wake := task.NextWake(); wake != 0 {
		list = append(list, action{"time passes", false, true, func(r *scenario.Run) error { r.Advance(max(0, wake.Sub(r.Now))); return nil }})
	}
	return list
}

// key is everything that decides what can happen to the task from here on: times as what is left, and neither attempts
// nor rounds, which only ever grow.
func key(r *scenario.Run) string {
	t := r.Task
	b := make([]byte, 0, 64)
	left := func(at domain.Instant) {
		if at == 0 {
			b = append(b, 255)
			return
		}
		b = append(b, byte(max(0, at.Sub(r.Now))/time.Second))
	}
	b = append(b, byte(t.State), flag(t.Paused), flag(t.Expired), byte(len(t.Waiting.Reason)), byte(len(t.Failed)))
	left(t.Waiting.Until)
	if t.State.Live() {
		left(t.Deadline)
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		b = append(b, byte(s.State), flag(s.Skipped), flag(s.Inherited), byte(s.Executions), byte(s.Lost), flag(s.Cursor() != nil), byte(t.RetryLimit(i)))
		left(s.WakeAt)
	}
	return string(b)
}

func flag(is bool) byte {
	if is {
		return 1
	}
	return 0
}

// path is how the search came to a state.
func (s *search) path(at int) string {
	var steps []string
	for ; at >= 0; at = s.nodes[at].parent {
		steps = append(steps, s.nodes[at].action)
	}
	for i, j := 0, len(steps)-1; i < j; i, j = i+1, j-1 {
		steps[i], steps[j] = steps[j], steps[i]
	}
	return "  " + strings.Join(steps, "\n  ")
}
