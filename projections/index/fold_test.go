package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tasker-go/tasker/domain"
)

// table is a Store in memory. It keeps what it is given in the form in which a file would.
type table struct {
	details map[domain.TaskID]Write
	defs    map[string]*domain.Definition
	loads   int
	fails   error
}

func newTable() *table {
	return &table{details: map[domain.TaskID]Write{}, defs: map[string]*domain.Definition{}}
}

func (s *table) Load(_ context.Context, id domain.TaskID) (*Row, error) {
	s.loads++
	w, ok := s.details[id]
	if !ok || s.fails != nil {
		return nil, s.fails
	}
	return UnpackRow(w.Num, w.Detail, s.find)
}

func (s *table) find(hash string) (*domain.Definition, bool) {
	d, ok := s.defs[hash]
	return d, ok
}

func (s *table) Definition(_ context.Context, hash string) (*domain.Definition, error) {
	return s.defs[hash], nil
}

func (s *table) Marks(context.Context) (map[int]Mark, error) { return nil, nil }

func (s *table) Apply(_ context.Context, b *Batch) error {
	for _, d := range b.Definitions {
		s.defs[d.Hash()] = d
	}
	for _, w := range b.Writes {
		if _, there := s.details[w.ID]; there == w.New {
			return fmt.Errorf("task %s: new is %t", w.ID, w.New)
		}
		s.details[w.ID] = w
	}
	return nil
}

const start domain.Instant = 1_767_225_600_000_000

func definition(t *testing.T, text string) *domain.Definition {
	t.Helper()
	d, err := domain.ParseDefinition([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// story makes commits of events, one each, a second apart.
type story struct {
	t     *testing.T
	f     *Folder
	store *table
	def   *domain.Definition
	id    domain.TaskID
	seq   uint64
}

func begin(t *testing.T, limits Limits) *story {
	t.Helper()
	store := newTable()
	s := &story{t: t, store: store, f: NewFolder(store, limits), def: definition(t, two), id: domain.KeyedTaskID("a", "b", "c")}
	s.fold(domain.Record{Event: domain.AdoptDefinition(s.def)})
	return s
}

func (s *story) fold(records ...domain.Record) {
	s.t.Helper()
	s.seq++
	for i := range records {
		records[i].At = start.Add(time.Duration(s.seq) * time.Second)
		records[i].Position = domain.Position{Sequence: s.seq, Index: i}
	}
	if err := s.f.Fold(s.t.Context(), domain.Commit{ID: fmt.Sprint("c", s.seq), At: start, Sequence: s.seq, Records: records}); err != nil {
		s.t.Fatal(err)
	}
}

// happen folds events of the task, and has them stored.
func (s *story) happen(events ...domain.Event) {
	s.t.Helper()
	for _, e := range events {
		s.fold(domain.Record{Event: e, Task: s.id, Prev: s.seq - 1})
	}
	s.flush()
}

func (s *story) create(context string) {
	s.t.Helper()
	s.fold(domain.Record{Event: domain.TaskCreated{Name: s.def.Name, Version: s.def.Version, Definition: s.def.Hash(), Context: domain.Inline(json.RawMessage(context))}, Task: s.id})
}

func (s *story) flush() *Batch {
	s.t.Helper()
	b := s.f.Take()
	if err := s.store.Apply(s.t.Context(), b); err != nil {
		s.t.Fatal(err)
	}
	s.f.Applied(b)
	return b
}

func (s *story) row() *Row {
	s.t.Helper()
	r, err := s.store.Load(s.t.Context(), s.id)
	if err != nil || r == nil {
		s.t.Fatalf("%v, %v", r, err)
	}
	return r
}

const two = `{"name":"order","index":["customer.id","total","express","items","note"],"steps":[{"name":"one","handler":"h"},{"name":"two","handler":"h","depends_on":["one"]}]}`

func TestFieldsAreTextsNumbersAndTruthValuesOfTheContext(t *testing.T) {
	s := begin(t, Limits{})
	s.create(`{"customer":{"id":"c1"},"total":1.50,"express":true,"items":[1],"note":null}`)
	s.flush()
	want := []Field{{"customer.id", "c1"}, {"total", "1.50"}, {"express", "true"}}
	if diff := cmp.Diff(want, s.row().Fields); diff != "" {
		t.Error(diff)
	}
	long := fieldsOf(s.def, domain.Inline(json.RawMessage(`{"note":"`+strings.Repeat("ü", 200)+`"}`)))
	if len(long) != 1 || long[0].Value != CutField(strings.Repeat("ü", 200)) || len(long[0].Value) > MaxFieldValue {
		t.Errorf("%d bytes", len(long[0].Value))
	}
	for _, context := range []string{`[]`, `"x"`, `{"customer":"c"}`, `{"customer":{"id":{}}}`} {
		if got := fieldsOf(s.def, domain.Inline(json.RawMessage(context))); len(got) != 0 {
			t.Errorf("%s: %v", context, got)
		}
	}
	if got := fieldsOf(s.def, domain.Payload{Blob: "sha256-x", Size: 1 << 20}); got != nil {
		t.Errorf("of a context that is not in the event: %v", got)
	}
}

func TestTheLastErrorStaysWhenALaterTryGoesWell(t *testing.T) {
	s := begin(t, Limits{})
	s.create(`{}`)
	s.happen(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "one", Attempt: 1},
		domain.StepFailed{Step: "one", Attempt: 1, Error: domain.StepError{Message: "no", Kind: domain.KindError, Frames: []string{"x.go:1"}}, RetryAt: start},
		domain.StepRetryRequested{Step: "one"}, domain.StepExecutionRequested{Step: "one", Attempt: 2}, domain.StepCompleted{Step: "one", Attempt: 2, Result: domain.Inline(json.RawMessage(`"large"`))})
	row := s.row().TaskRow()
	if e := row.LastError; e == nil || e.Step != "one" || e.Attempt != 1 || e.Message != "no" || row.Retries != 1 {
		t.Errorf("%+v", row)
	}
	if step := s.row().StepRow(0); step.Error != nil || step.Duration != time.Second || step.Attempt != 2 {
		t.Errorf("%+v", step)
	}
	if p := s.row().Task.Steps[0].Result; !p.IsZero() {
		t.Errorf("a result is kept: %+v", p)
	}
}

func TestTheNewestNotesAndReasonsAreKept(t *testing.T) {
	s := begin(t, Limits{})
	s.create(`{}`)
	for i := range MaxNotes + 3 {
		s.happen(domain.TaskAnnotated{Kind: "k", Annotation: json.RawMessage(fmt.Sprint(i))}, domain.TaskPaused{Reason: fmt.Sprint("reason ", i)})
	}
	r := s.row()
	if len(r.Notes) != MaxNotes || string(r.Notes[0].Annotation) != "3" {
		t.Errorf("%d notes from %s", len(r.Notes), r.Notes[0].Annotation)
	}
	if last := r.Said[len(r.Said)-1]; len(r.Said) != maxSaid || last != fmt.Sprint("reason ", MaxNotes+2) {
		t.Errorf("%q", r.Said)
	}
}

func TestWhatItDoesNotKnowIsPassedOver(t *testing.T) {
	s := begin(t, Limits{})
	s.create(`{}`)
	s.happen(domain.Unknown{TypeName: "task.teleported", Version: 3, Data: json.RawMessage(`{}`)}, domain.StepCompleted{Step: "none", Attempt: 1}, domain.TaskStartRequested{})
	if row := s.row().TaskRow(); row.State != domain.InProgress || row.Position.Sequence != s.seq {
		t.Errorf("%+v", row)
	}
	s.fold(domain.Record{Event: domain.TaskPaused{}, Task: domain.KeyedTaskID("x", "y", "z"), Prev: 1},
		domain.Record{Event: domain.TaskCreated{Name: "gone", Version: "1", Definition: "gone"}, Task: domain.KeyedTaskID("x", "y", "1")})
	if b := s.flush(); b.Skipped != 2 || len(b.Writes) != 0 {
		t.Errorf("%d skipped, %d written", b.Skipped, len(b.Writes))
	}
	s.fold(domain.Record{Event: domain.Unknown{TypeName: "partition.moved", Version: 1}}, domain.Record{Event: domain.DefinitionAdopted{Hash: "x", Body: json.RawMessage(`{"from":"the future"}`)}})
}

func TestATaskThatIsReopenedIsNotCountedAsFailed(t *testing.T) {
	s := begin(t, Limits{})
	s.create(`{}`)
	sums := map[StatKey]*Stat{}
	for _, e := range []domain.Event{
		domain.TaskFailed{Reason: domain.FailDeadline}, domain.TaskRetryRequested{}, domain.TaskFailed{Reason: domain.FailDeadline}, domain.TaskCancelled{},
	} {
		s.fold(domain.Record{Event: e, Task: s.id, Prev: s.seq})
		for key, stat := range s.flush().Stats {
			if sums[key] == nil {
				sums[key] = &Stat{}
			}
			sums[key].Add(stat)
		}
	}
	got := sums[StatKey{Kind: KindOf(s.def), Hour: HourOf(start)}]
	if len(sums) != 1 || got == nil || got.Failed != 0 || got.Cancelled != 1 {
		t.Errorf("%+v", got)
	}
}

func TestMemoryIsBoundedHoweverManyTasksGoOn(t *testing.T) {
	s := begin(t, Limits{Steps: 30})
	for i := range 100 {
		s.id = domain.KeyedTaskID("a", "b", fmt.Sprint(i))
		s.create(`{}`)
		s.flush()
		if s.f.steps > 30 || len(s.f.rows) > 10 {
			t.Fatalf("%d rows with %d steps in memory", len(s.f.rows), s.f.steps)
		}
	}
	s.id = domain.KeyedTaskID("a", "b", "0") // left memory long ago
	s.store.loads = 0
	s.happen(domain.TaskStartRequested{}, domain.TaskPaused{})
	if row := s.row().TaskRow(); row.State != domain.InProgress || !row.Paused || s.store.loads != 2 {
		t.Errorf("%+v, loaded %d times", row, s.store.loads)
	}
	s.happen(domain.TaskCancelled{})
	if _, there := s.f.rows[s.id]; there {
		t.Error("a task that has ended stays in memory")
	}
	s.store.fails = errors.New("the disk is gone")
	if err := s.f.Fold(t.Context(), domain.Commit{Records: []domain.Record{{Event: domain.TaskPaused{}, Task: domain.KeyedTaskID("a", "b", "5")}}}); !errors.Is(err, s.store.fails) {
		t.Errorf("%v", err)
	}
}

func TestADamagedDetailIsAnError(t *testing.T) {
	s := begin(t, Limits{})
	s.create(`{"customer":{"id":"c1"}}`)
	s.happen(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "one", Attempt: 1}, domain.TaskAnnotated{Kind: "k", Annotation: json.RawMessage(`1`)})
	detail := s.store.details[s.id].Detail
	for n := range detail {
		if _, err := UnpackRow(1, detail[:n], s.store.find); !errors.Is(err, ErrDetail) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	if _, err := UnpackRow(1, append(slices.Clone(detail), 0), s.store.find); !errors.Is(err, ErrDetail) {
		t.Errorf("one byte too many: %v", err)
	}
	if _, err := UnpackRow(1, detail, func(string) (*domain.Definition, bool) { return nil, false }); !errors.Is(err, ErrDetail) {
		t.Errorf("without its definition: %v", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 { // any bytes: an error, or a row; never a panic
		b := slices.Clone(detail)
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] = byte(random.Uint32())
		}
		if r, err := UnpackRow(1, b, s.store.find); err == nil {
			_ = r.TaskRow()
		}
	}
}

func TestASumSurvivesBeingStored(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var all, stored Stat
	for range 50 {
		one := Stat{Complete: 3, Failed: -1, Cancelled: 2, Resolved: 1, Retries: 7}
		for range random.IntN(100) {
			one.Took.Count(random.Int64N(1 << random.IntN(50)))
		}
		all.Add(&one)
		stored.Add(&one)
		read, err := ReadStat(stored.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		stored = *read
	}
	if diff := cmp.Diff(all.Took.Durations(), stored.Took.Durations()); diff != "" || all.Complete != stored.Complete || all.Failed != stored.Failed {
		t.Error(diff)
	}
	text := stored.Append(nil)
	for n := range 9 {
		if _, err := ReadStat(text[:n]); !errors.Is(err, ErrDetail) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	if _, err := ReadStat(append(new(Stat).Append(nil), 0xff, 0xff, 0xff, 0x7f, 1)); !errors.Is(err, ErrDetail) {
		t.Errorf("a bucket that there is not: %v", err)
	}
}

func TestPercentilesAreWithinTwoAndAHalfPercent(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var h Histogram
		list := make([]int64, 1+random.IntN(300))
		for i := range list {
			list[i] = random.Int64N(int64(1) << (1 + random.IntN(45)))
			h.Count(list[i])
		}
		slices.Sort(list)
		d := h.Durations()
		for share, have := range map[float64]time.Duration{0.5: d.P50, 0.95: d.P95, 0.99: d.P99} {
			want := float64(list[int(share*float64(len(list)))])
			if off := math.Abs(float64(have.Microseconds()) - want); off > 0.025*want {
				t.Fatalf("p%g of %d is %s, want %g µs", 100*share, len(list), have, want)
			}
		}
	}
	var h Histogram
	h.Count(-5)
	h.Count(math.MaxInt64)
	if d := h.Durations(); d.Count != 2 || d.Min != 0 {
		t.Errorf("%+v", d)
	}
}

func TestTheCriticalPathIsTheLongestByMedians(t *testing.T) {
	def := definition(t, `{"name":"d","steps":[{"name":"a","handler":"h"},{"name":"short","handler":"h","depends_on":["a"]},
		{"name":"long","handler":"h","depends_on":["a"]},{"name":"z","handler":"h","depends_on":["short","long"]},{"name":"alone","handler":"h"}]}`)
	stat := func(us int64) *Stat {
		s := &Stat{Complete: 1}
		s.Took.Count(us)
		return s
	}
	d := Sum(KindOf(def), def, map[string]*Stat{"": {Complete: 3, Failed: 1}, "a": stat(10), "short": stat(11), "long": stat(20), "z": stat(1), "alone": stat(30), "old": stat(1000)})
	us := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	want := []CriticalPoint{{"a", us(10), us(10)}, {"long", us(20), us(30)}, {"z", us(1), us(31)}}
	if diff := cmp.Diff(want, d.Critical); diff != "" {
		t.Error(diff)
	}
	var order []string
	for _, s := range d.Steps {
		order = append(order, s.Step)
	}
	if want := []string{"a", "short", "long", "z", "alone", "old"}; !slices.Equal(order, want) || d.SuccessRate != 0.75 {
		t.Errorf("%v, %g", order, d.SuccessRate)
	}
	if d := Sum(KindOf(def), nil, map[string]*Stat{"b": stat(1), "a": stat(1)}); d.Critical != nil || d.Steps[0].Step != "a" {
		t.Errorf("without the definition: %+v", d)
	}
	if d := Sum(KindOf(def), def, map[string]*Stat{"": {Failed: 1}}); d.Critical != nil {
		t.Errorf("of nothing: %+v", d.Critical)
	}
}

func TestATaskOfASnapshotIsARow(t *testing.T) {
	s := begin(t, Limits{})
	task := domain.NewTask(domain.Record{Event: domain.TaskCreated{Name: "order", Definition: s.def.Hash(), Context: domain.Inline(json.RawMessage(`{"total":5}`))}, At: start, Task: s.id}, s.def)
	for i, e := range []domain.Event{
		domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "one", Attempt: 1},
		domain.StepFailed{Step: "one", Attempt: 1, Error: domain.StepError{Message: "no", Kind: domain.KindPermanent}}, domain.TaskFailed{Reason: domain.FailStepsInError},
	} {
		domain.Evolve(task, domain.Record{Event: e, At: start.Add(time.Duration(i) * time.Second), Position: domain.Position{Sequence: 9, Index: i}})
	}
	task.Touch(9)
	if err := s.f.Load(t.Context(), task, 0); err != nil {
		t.Fatal(err)
	}
	s.flush()
	row := s.row().TaskRow()
	want := TaskRow{
		ID: s.id, Namespace: "default", Name: "order", Version: "0.1.0", State: domain.Error, Failed: domain.FailStepsInError, Round: 1,
		Fields: map[string]string{"total": "5"}, CreatedAt: start.Time(), StartedAt: start.Time(), UpdatedAt: start.Add(3 * time.Second).Time(),
		EndedAt: start.Add(3 * time.Second).Time(), Duration: 3 * time.Second, Steps: StepCounts{Total: 2, Pending: 1, Error: 1},
		LastError: &LastError{Step: "one", Attempt: 1, Kind: domain.KindPermanent, Message: "no", At: start.Add(2 * time.Second).Time()},
		Position:  domain.Position{Sequence: 9},
	}
	if diff := cmp.Diff(want, row, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if w := s.store.details[s.id]; w.Num >= 0 {
		t.Errorf("its number %d may be that of another task", w.Num)
	}
	s.happen(domain.TaskRetryRequested{})
	if row := s.row().TaskRow(); row.State != domain.Pending || row.Position.Sequence != s.seq {
		t.Errorf("%+v", row)
	}
}
