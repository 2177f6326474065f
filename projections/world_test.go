package projections

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

const worldStart domain.Instant = 1_790_000_000_000_000

func testDefinition(t testing.TB, name string) *domain.Definition {
	t.Helper()
	d, err := domain.ParseDefinition([]byte(`{"name":"` + name + `","steps":[` +
		`{"name":"a","handler":"h"},` +
		`{"name":"b","handler":"h","depends_on":["a"],"skippable":true},` +
		`{"name":"c","handler":"h","depends_on":["a"],"optional":true,"retry_limit":2},` +
		`{"name":"d","handler":"h","depends_on":["b","c"],"retryable":false}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// unkeyedID is the n-th id of a client library.
func unkeyedID(n int) domain.TaskID {
	ms := uint64(worldStart/1000) + uint64(n)
	id := domain.TaskID{6: 0x70, 8: 0x80}
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[14], id[15] = byte(n>>8), byte(n)
	return id
}

// world makes the log of a partition out of commands, as the coordinator does, without one.
type world struct {
	p       *Partition
	def     *domain.Definition
	now     domain.Instant
	ids     []domain.TaskID
	commits []domain.Commit
	records []domain.Record
	prev    map[domain.TaskID]uint64
}

func newWorld(t testing.TB) *world {
	w := &world{p: NewPartition(3), def: testDefinition(t, "w"), now: worldStart, prev: map[domain.TaskID]uint64{}}
	w.fact(domain.TaskID{}, domain.PartitionOpened{Writer: "w", Engine: "test"}, "")
	w.fact(domain.TaskID{}, domain.AdoptDefinition(w.def), "")
	w.commit(t)
	return w
}

func (w *world) fact(id domain.TaskID, e domain.Event, by domain.Actor) {
	next := uint64(len(w.commits) + 1)
	r := domain.Record{
		Event: e, At: w.now, By: by, Task: id,
		Position: domain.Position{Partition: w.p.Number, Sequence: next, Index: len(w.records)},
	}
	if !id.IsZero() {
		r.Prev = w.prev[id]
	}
	w.records = append(w.records, r)
	if _, err := w.p.Fold(r); err != nil {
		panic(err)
	}
}

// commit closes the commit, and sends it through the wire.
func (w *world) commit(t testing.TB) domain.Commit {
	t.Helper()
	next := uint64(len(w.commits) + 1)
	c := domain.Commit{ID: fmt.Sprintf("c-%d", next), At: w.now, Partition: w.p.Number, Sequence: next, Records: w.records}
	w.records = nil
	for _, r := range c.Records {
		if !r.Task.IsZero() {
			w.prev[r.Task] = next
		}
	}
	decoded, err := domain.DecodeCommit(domain.EncodeCommit(c), w.p.Number, next)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Collect(w.p.Tasks()) {
		w.p.Retire(e)
	}
	w.p.Sequence, w.p.CommitID, w.p.At = next, c.ID, c.At
	w.commits = append(w.commits, decoded)
	w.now += 1_000_003
	return decoded
}

func (w *world) create(id domain.TaskID, context string) {
	e, err := domain.DecideCreate(w.def, domain.CreateTask{
		ID: id, Context: domain.Inline(json.RawMessage(context)), Initiator: "t", InputHash: uint32(len(context)),
	}, w.now)
	if err != nil {
		panic(err)
	}
	w.ids = append(w.ids, id)
	w.fact(id, e, "")
}

// do decides a command and folds what it leads to. What is refused leads to nothing.
func (w *world) do(id domain.TaskID, cmd domain.Command, by domain.Actor) {
	e := w.p.Find(id)
	if e == nil {
		return
	}
	events, err := domain.Decide(e.Task, cmd, w.now, nil)
	if err != nil {
		return
	}
	for _, event := range events {
		w.fact(id, event, by)
	}
}

// run takes a task to its end, every step at the first try.
func (w *world) run(t testing.TB, id domain.TaskID) {
	t.Helper()
	w.do(id, domain.StartTask{}, "")
	for w.p.Find(id) != nil {
		task := w.p.Find(id).Task
		for i := range task.Steps {
			w.do(id, domain.StartStep{Step: i}, "")
			w.do(id, domain.CompleteStep{Step: i, Attempt: 1, Result: domain.Inline(json.RawMessage(`{"ok":true}`))}, "")
		}
		w.do(id, domain.CompleteTask{}, "")
		w.commit(t)
	}
}

// randomTurn does a few random things to random tasks.
func (w *world) randomTurn(rt *rapid.T, t testing.TB) {
	for range rapid.IntRange(0, 12).Draw(rt, "commands") {
		if len(w.ids) == 0 || rapid.IntRange(0, 5).Draw(rt, "new") == 0 {
			n := len(w.ids)
			id := unkeyedID(n)
			if rapid.Bool().Draw(rt, "keyed") {
				id = domain.KeyedTaskID("default", "w", fmt.Sprint(n))
			}
			w.create(id, `{"n":`+fmt.Sprint(n)+`,"fill":"`+strings.Repeat("x", 3*rapid.IntRange(0, 500).Draw(rt, "fill"))+`"}`)
			continue
		}
		id := rapid.SampledFrom(w.ids).Draw(rt, "task")
		w.do(id, w.randomCommand(rt, id), rapid.SampledFrom([]domain.Actor{"", domain.ByOperator}).Draw(rt, "by"))
		if e := w.p.Find(id); e != nil && rapid.Bool().Draw(rt, "finalize") {
			switch e.Task.Status() {
			case domain.StatusAllComplete:
				w.do(id, domain.StartTask{}, "")
				w.do(id, domain.CompleteTask{}, "")
			case domain.StatusBlockedByFailures:
				w.do(id, domain.FailTask{}, "")
			case domain.StatusFinished, domain.StatusHasReadySteps, domain.StatusProcessing, domain.StatusPaused,
				domain.StatusWaitingForRetry, domain.StatusWaitingForDependencies, domain.StatusUnclear:
			}
		}
	}
	w.commit(t)
}

func (w *world) randomCommand(rt *rapid.T, id domain.TaskID) domain.Command {
	e := w.p.Find(id)
	step := rapid.IntRange(0, 3).Draw(rt, "step")
	name := w.def.Steps[step].Name
	attempt := 0
	if e != nil {
		attempt = int(e.Task.Steps[step].Attempt)
	}
	result := domain.Inline(json.RawMessage(`"` + strings.Repeat("r", rapid.SampledFrom([]int{1, 40, 2000}).Draw(rt, "result")) + `"`))
	commands := []domain.Command{
		domain.StartTask{}, domain.StartStep{Step: step}, domain.StartStep{Step: 0}, domain.StartStep{Step: step},
		domain.CompleteStep{Step: step, Attempt: attempt, Result: result}, domain.CompleteStep{Step: 0, Attempt: 1, Result: result},
		domain.CompleteStep{Step: step, Attempt: attempt, Result: result},
		domain.FailStep{Step: step, Attempt: attempt, Error: domain.StepError{Message: "no", Kind: domain.KindPermanent}},
		domain.FailStep{Step: step, Attempt: attempt, Error: domain.StepError{Message: "later"}},
		domain.ReleaseStep{Step: step}, domain.WaitTask{Waiting: domain.Waiting{Reason: domain.WaitRetryBackoff, Until: w.now + 5}},
		domain.PauseTask{}, domain.ResumeTask{}, domain.CancelTask{}, domain.RetryTask{}, domain.ResolveTask{},
		domain.RetryStep{Step: name, RetryLimit: 7}, domain.ResolveStep{Step: name, Result: result}, domain.CancelStep{Step: name},
		domain.AnnotateTask{Kind: "note", Value: json.RawMessage(`1`)},
	}
	return commands[rapid.IntRange(0, len(commands)-1).Draw(rt, "command")]
}

// dump is everything that a partition knows, in one order.
func dump(p *Partition) string {
	var lines []string
	for id, e := range p.live {
		lines = append(lines, fmt.Sprintf("live %s %s frozen %v", id, hex.EncodeToString(e.Task.AppendPacked(nil)), e.Frozen))
	}
	for id, f := range p.failed {
		lines = append(lines, fmt.Sprintf("failed %s %d %s %d %s", id, f.Last, f.At, f.reference, hex.EncodeToString(f.packed)))
	}
	for hash, def := range p.definitions {
		lines = append(lines, fmt.Sprintf("definition %s %s", hash, def.Body()))
	}
	for sequence := range p.skipped {
		lines = append(lines, fmt.Sprintf("skipped %d", sequence))
	}
	for id, task := range p.Ended.All() {
		lines = append(lines, fmt.Sprintf("ended %s %+v", id, task))
	}
	slices.Sort(lines)
	return fmt.Sprintf("partition %d at %d, %s, %s\n", p.Number, p.Sequence, p.CommitID, p.At) +
		strings.Join(lines, "\n")
}

func randomUUID(n int) domain.TaskID {
	return domain.TaskID(uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, n)))
}
