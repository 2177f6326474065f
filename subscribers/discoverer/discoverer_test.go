package discoverer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

const now domain.Instant = 1_767_225_600_000_000

// pool is slots, in all and by handler.
type pool struct {
	free  int
	limit map[string]int // -1: no handler
	taken []string
	asked int
}

func (p *pool) Take(d *domain.Definition, step int) bool {
	p.asked++
	h := d.Steps[step].Handler
	if n, ok := p.limit[h]; p.free == 0 || ok && n <= 0 {
		return false
	}
	p.free--
	if _, ok := p.limit[h]; ok {
		p.limit[h]--
	}
	p.taken = append(p.taken, d.Steps[step].Name)
	return true
}

// bench is some tasks and the discoverer that looks at them.
type bench struct {
	t     *testing.T
	d     *Discoverer
	pool  *pool
	tasks map[domain.TaskID]*domain.Task
}

func newBench(t *testing.T, slots int) *bench {
	t.Helper()
	p := &pool{free: slots, limit: map[string]int{}}
	return &bench{t: t, d: New(p), pool: p, tasks: map[domain.TaskID]*domain.Task{}}
}

// task makes a task whose steps "name:handler" depend on nothing, and lets the discoverer look at it.
func (b *bench) task(steps ...string) *domain.Task {
	b.t.Helper()
	def := &domain.Definition{Name: "x"}
	for _, s := range steps {
		name, handler, _ := strings.Cut(s, ":")
		tpl := domain.StepTemplate{Name: name, Handler: handler, Skippable: true}
		if handler == domain.SleepHandler {
			tpl.HandlerConfig = []byte(`{"duration":"1s"}`)
		}
		def.Steps = append(def.Steps, tpl)
	}
	if err := def.Validate(); err != nil {
		b.t.Fatal(err)
	}
	id := domain.TaskID{15: byte(len(b.tasks) + 1), 14: byte((len(b.tasks) + 1) >> 8), 6: 0x70}
	e, err := domain.DecideCreate(def, domain.CreateTask{ID: id}, now)
	if err != nil {
		b.t.Fatal(err)
	}
	t := domain.NewTask(domain.Record{Event: e, At: now, Task: id}, def)
	b.tasks[id] = t
	b.look(t)
	return t
}

func (b *bench) look(t *domain.Task) {
	b.t.Helper()
	for _, cmd := range b.d.React(t, now, nil) {
		b.do(t, cmd)
	}
}

func (b *bench) do(t *domain.Task, cmd domain.Command) {
	b.t.Helper()
	events, err := domain.Decide(t, cmd, now, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range events {
		domain.Evolve(t, domain.Record{Event: e, At: now, Task: t.ID})
	}
}

func (b *bench) resume() {
	b.t.Helper()
	b.d.Resume(now, func(id domain.TaskID) *domain.Task { return b.tasks[id] }, b.do)
}

func (b *bench) expect(taken ...string) {
	b.t.Helper()
	if !slices.Equal(b.pool.taken, taken) {
		b.t.Fatalf("slots were taken for %q, want %q", b.pool.taken, taken)
	}
	started := 0
	for _, t := range b.tasks {
		started += len(t.Running())
	}
	if started != len(taken) {
		b.t.Fatalf("%d slots were taken and %d steps started", len(taken), started)
	}
}

func TestStepsStartInTheOrderOfBecomingReadyAcrossTasksAndHandlers(t *testing.T) {
	b := newBench(t, 0)
	b.task("a1:x", "a2:y")
	b.task("b1:y", "b2:x")
	b.task("c1:z")
	if b.d.Held() != 5 {
		t.Fatalf("%d wait", b.d.Held())
	}
	b.pool.free = 3
	b.resume()
	b.expect("a1", "a2", "b1")
	b.pool.free = 5
	b.resume()
	b.expect("a1", "a2", "b1", "b2", "c1")
	if b.d.Held() != 0 || len(b.d.queues) != 0 {
		t.Fatalf("%d wait in %d queues", b.d.Held(), len(b.d.queues))
	}
}

func TestAStepDoesNotPassOneThatWaitsForTheSameHandler(t *testing.T) {
	b := newBench(t, 0)
	b.task("old:x")
	b.pool.free = 1
	b.task("new:x")
	b.expect()
	b.resume()
	b.expect("old")
}

func TestAHandlerWithoutSlotsDoesNotHoldOthersUp(t *testing.T) {
	b := newBench(t, 0)
	b.pool.limit["nobody"] = -1
	b.task("a:nobody", "b:x")
	b.task("c:nobody", "d:x")
	b.pool.free = 10
	b.resume()
	b.expect("b", "d")
	if b.d.Held() != 2 {
		t.Fatalf("%d wait", b.d.Held())
	}
	b.pool.limit["nobody"] = 1
	b.resume()
	b.expect("b", "d", "a")
}

func TestStepsThatAreNotReadyAnyMoreTakeNoSlot(t *testing.T) {
	b := newBench(t, 0)
	cancelled := b.task("a:x")
	paused := b.task("b:x")
	ended := b.task("c:x")
	b.task("d:x")
	b.do(cancelled, domain.CancelTask{})
	b.do(paused, domain.PauseTask{})
	delete(b.tasks, ended.ID)
	b.pool.free = 10
	b.resume()
	b.expect("d")
	b.do(paused, domain.ResumeTask{})
	b.look(paused)
	b.expect("d", "b")
}

func TestAStepThatWaitsTwiceStartsOnce(t *testing.T) {
	b := newBench(t, 0)
	task := b.task("a:x")
	for range 3 {
		b.do(task, domain.PauseTask{})
		b.do(task, domain.ResumeTask{})
		b.look(task)
	}
	b.pool.free = 10
	b.resume()
	b.expect("a")
	if b.pool.free != 9 || b.d.Held() != 0 {
		t.Fatalf("%d slots are free, %d wait", b.pool.free, b.d.Held())
	}
}

func TestSleepsNeedNoSlot(t *testing.T) {
	b := newBench(t, 0)
	task := b.task("a:sleep")
	if task.Steps[0].State != domain.InProgress || b.pool.asked != 0 {
		t.Fatalf("%s, %d slots asked for", task.Steps[0].State, b.pool.asked)
	}
}

func TestWhatIsNotReadyAnyMoreLeavesAQueueThatFindsNoHandler(t *testing.T) {
	b := newBench(t, 10)
	b.pool.limit["nobody"] = -1
	b.task("first:nobody") // it stays at the head
	for range 2000 {
		task := b.task("a:nobody")
		b.do(task, domain.CancelTask{})
		delete(b.tasks, task.ID)
		b.resume()
		b.tasks[domain.TaskID{1, byte(len(b.tasks)), byte(len(b.tasks) >> 8)}] = task // ids go on
	}
	if b.d.Held() > 200 {
		t.Fatalf("%d steps of cancelled tasks wait", b.d.Held())
	}
}

func TestManyHandlersThatWaitCostLittle(t *testing.T) {
	b := newBench(t, 0)
	var want []string
	for n := range 500 {
		b.task(fmt.Sprintf("s%d:h%d", n, n))
		want = append(want, fmt.Sprintf("s%d", n))
	}
	b.pool.asked = 0
	b.resume()
	if b.pool.asked != 500 {
		t.Fatalf("500 queues without a slot were asked about %d times", b.pool.asked)
	}
	b.pool.free = 500
	b.resume()
	b.expect(want...)
}

// clocked is a pool that wants to know how long steps waited.
type clocked struct {
	pool
	waited []time.Duration
}

func (c *clocked) Waited(d time.Duration) { c.waited = append(c.waited, d) }

func TestStepsSayHowLongTheyWaited(t *testing.T) {
	b := newBench(t, 0)
	slots := &clocked{pool: pool{free: 1, limit: map[string]int{}}}
	b.d = New(slots)
	b.task("a:h", "b:h", "c:h")
	at := now.Add(3 * time.Second)
	for range 2 {
		slots.free++
		b.d.Resume(at, func(id domain.TaskID) *domain.Task { return b.tasks[id] }, b.do)
		at = at.Add(time.Second)
	}
	if want := []time.Duration{0, 3 * time.Second, 4 * time.Second}; !slices.Equal(slots.waited, want) {
		t.Errorf("they waited %v, want %v", slots.waited, want)
	}
}
