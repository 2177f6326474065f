package attached

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/internal/scenario"
)

// everything but what is only told live.
var everything = []domain.EventType{"task.*", "step.*", "workflow.*", "observability.*", "custom.*", "partition.*", "definition.*"}

// history writes the log of some tasks, as an engine does: with the definition before its first task, and every commit of a
// task naming the one before.
type history struct {
	t    testing.TB
	s    *memlog.Store
	def  *domain.Definition
	last map[domain.TaskID]uint64
	want []string // everything that is told, as line writes it
}

func newHistory(t testing.TB, s *memlog.Store) *history {
	t.Helper()
	def := &domain.Definition{Name: "story", Steps: []domain.StepTemplate{
		{Name: "a", Handler: "work", Backoff: domain.Backoff{Jitter: domain.NoJitter}},
		{Name: "b", Handler: "work", DependsOn: []string{"a"}},
	}}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	return &history{t: t, s: s, def: def, last: map[domain.TaskID]uint64{}}
}

// commit stores what happened to some tasks as one message.
func (h *history) commit(records ...domain.Record) uint64 {
	h.t.Helper()
	b, err := h.s.Log(0).Bounds(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	seq := b.Last + 1
	if seq == 1 {
		records = append([]domain.Record{{Event: domain.AdoptDefinition(h.def), At: records[0].At}}, records...)
	}
	for i := range records {
		r := &records[i]
		r.Prev, r.Position = h.last[r.Task], domain.Position{Sequence: seq, Index: i}
	}
	for _, r := range records {
		h.last[r.Task] = seq
	}
	c := domain.Commit{ID: fmt.Sprint("commit-", seq), At: records[0].At, Records: records}
	done := make(chan error, 1)
	h.s.Log(0).Append(b.Last, c.ID, domain.EncodeCommit(c), func(_ uint64, err error) { done <- err })
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
	for _, r := range domain.WithSignals(records) {
		h.want = append(h.want, line(r))
	}
	return seq
}

// tasks plays n tasks to their end, all at once: each fails once, then completes. Every round is one message.
func (h *history) tasks(from, n int) {
	h.t.Helper()
	runs := make([]*scenario.Run, n)
	for i := range runs {
		runs[i] = scenario.New(h.def, scenario.AllSlots)
	}
	for _, input := range []func(r *scenario.Run) error{
		func(r *scenario.Run) error { return r.Submit(domain.CreateTask{}) },
		func(r *scenario.Run) error { return r.Report("a", "", &domain.StepError{Message: "no"}, 0) },
		func(r *scenario.Run) error { r.Advance(time.Minute); return nil },
		func(r *scenario.Run) error { return r.Report("a", "1", nil, 0) },
		func(r *scenario.Run) error { return r.Report("b", "1", nil, 0) },
	} {
		var records []domain.Record
		for i, r := range runs {
			n := len(r.Log)
			if err := input(r); err != nil {
				h.t.Fatal(err)
			}
			for _, rec := range r.Log[n:] {
				rec.Task = taskOf(from+i, 0, 1)
				records = append(records, rec)
			}
		}
		h.commit(records...)
	}
}

// line is what tells an event from all others.
func line(r domain.Record) string {
	return fmt.Sprintf("%s %s %s %s", r.ID(), r.Event.Type(), r.At, r.Task)
}

func linesOf(s *seen) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := []string{}
	for _, r := range s.records {
		lines = append(lines, line(r))
	}
	return lines
}

func sorted(lines []string) []string { return slices.Sorted(slices.Values(lines)) }

func TestSignalsComeOnceEachInOrderHoweverOftenTheSubscriberIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		h := newHistory(t, s)
		h.tasks(0, 5)
		got, failed := &seen{}, map[string]bool{}
		o := Options{Name: "books", From: FromBeginning, Types: everything, Lanes: 3}
		for range 30 {
			sub := start(t, s, o, func(ctx context.Context, r domain.Record) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(rand.N(30 * time.Millisecond)):
				}
				got.mu.Lock()
				fails := rand.IntN(5) == 0 && !failed[line(r)]
				failed[line(r)] = true
				got.mu.Unlock()
				if fails { // once, so that others of its position are through before it
					return errors.New("no")
				}
				return got.handle(ctx, r)
			})
			time.Sleep(100 * time.Millisecond)
			if err := sub.stop(); err != nil {
				t.Fatal(err)
			}
		}
		start(t, s, o, got.handle)
		h.tasks(5, 3)
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff(sorted(h.want), sorted(linesOf(got))); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		last := map[domain.TaskID]spot{}
		for _, r := range got.records {
			if before := last[r.Task]; !before.less(spotOf(r)) {
				t.Errorf("%s %s came after rank %d of %s", r.ID(), r.Event.Type(), before.rank, before.Position)
			}
			last[r.Task] = spotOf(r)
		}
	})
}

func TestReplayTellsTheSameSignals(t *testing.T) {
	s := memlog.New(memlog.Options{})
	h := newHistory(t, s)
	h.tasks(0, 3)
	var got []string
	for r, err := range Replay(t.Context(), s, ReplayOptions{Types: everything}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line(r))
	}
	if diff := cmp.Diff(h.want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// Of one task, and of some types.
	id := taskOf(1, 0, 1)
	got = nil
	for r, err := range Replay(t.Context(), s, ReplayOptions{
		Types: []domain.EventType{domain.SignalTaskStarted, domain.TaskCompletedType, "observability.*"}, Task: id,
	}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(r.Event.Type()))
	}
	if want := []string{"workflow.task_started", "observability.step.backoff", "task.completed"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFinalizationCompletedHasTheContextRightAfterItsFact(t *testing.T) {
	s := memlog.New(memlog.Options{})
	h := newHistory(t, s)
	h.tasks(0, 2)
	known := 0
	for _, find := range []func(string) (*domain.Definition, bool){
		nil, // it is in the log
		func(string) (*domain.Definition, bool) { known++; return nil, false },
		func(hash string) (*domain.Definition, bool) { known++; return h.def, hash == h.def.Hash() },
	} {
		var got []string
		for r, err := range Replay(t.Context(), s, ReplayOptions{
			Types: []domain.EventType{domain.SignalFinalizationCompleted}, Task: taskOf(1, 0, 1),
		}, WithDefinitions(find), WithLogger(quiet)) {
			if err != nil {
				t.Fatal(err)
			}
			signal := r.Event.(domain.Signal)
			got = append(got, fmt.Sprintf("%s: %s %v%%", signal.Decision, signal.Context.Status, signal.Context.CompletionPercentage))
		}
		want := []string{
			"task.start_requested: has_ready_steps 0%", "workflow.task_reenqueue_delayed: waiting_for_retry 0%",
			"task.start_requested: has_ready_steps 0%", "task.completed: finished 100%",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if known != 1+4 { // what was found in the log is remembered
		t.Errorf("the process was asked %d times for what it knows", known)
	}
}

func TestASignalWhoseHistoryWasPrunedComesWithoutContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		h := newHistory(t, s)
		h.tasks(0, 1)
		if err := s.Log(0).Trim(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		h.tasks(1, 1) // the definition is not in the log any more
		got := &seen{}
		start(t, s, Options{Name: "books", From: FromOldest, Types: []domain.EventType{domain.SignalFinalizationCompleted}}, got.handle)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(got.records) != 6 {
			t.Errorf("%d signals, want 6", len(got.records))
		}
		for _, r := range got.records {
			if r.Event.(domain.Signal).Context != nil {
				t.Errorf("%s has a context", r.ID())
			}
		}
	})
}

// awayLog cannot be read point by point for a while.
type awayLog struct {
	*memlog.Store
	away *atomic.Bool
}

func (s awayLog) Log(p int) domain.Log { return awayReads{s.Store.Log(p), s.away} }

type awayReads struct {
	domain.Log
	away *atomic.Bool
}

func (l awayReads) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	if l.away.Load() {
		return domain.Message{}, fmt.Errorf("read: %w", domain.ErrUnavailable)
	}
	return l.Log.Read(ctx, sequence)
}

func TestASignalWaitsForItsContextWhileTheLogIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := awayLog{memlog.New(memlog.Options{}), &atomic.Bool{}}
		s.away.Store(true)
		newHistory(t, s.Store).tasks(0, 1)
		got := &seen{}
		sub := start(t, s, Options{Name: "books", From: FromBeginning, Types: []domain.EventType{domain.SignalFinalizationCompleted}}, got.handle)
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := sub.Stats(); len(linesOf(got)) > 0 || st.Failed > 0 || st.Parked > 0 {
			t.Errorf("while the log is away: %d events, %+v", len(linesOf(got)), st)
		}
		s.away.Store(false)
		time.Sleep(time.Minute)
		_ = sub.stop()
		if len(got.records) != 4 || got.records[0].Event.(domain.Signal).Context == nil {
			t.Errorf("%d events: %+v", len(got.records), got.records)
		}
	})
}

func TestAParkedSignalKeepsWhatItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		newHistory(t, s).tasks(0, 1)
		start(t, s, Options{Name: "books", From: FromBeginning, Tries: 1, Types: []domain.EventType{domain.SignalStepBackoff}},
			func(context.Context, domain.Record) error { return errors.New("no") })
		time.Sleep(time.Second)
		synctest.Wait()
		letters := s.Letters()
		if len(letters) != 1 || letters[0].Headers["Tasker-Type"] != "observability.step.backoff" {
			t.Fatalf("%+v", letters)
		}
		for _, part := range []string{`"type":"observability.step.backoff"`, `"steps":["a"]`, `"attempt":1`} {
			if !strings.Contains(string(letters[0].Data), part) {
				t.Errorf("%s is not in %s", part, letters[0].Data)
			}
		}
	})
}

func TestWhatNeverComesIsRefused(t *testing.T) {
	s := memlog.New(memlog.Options{})
	for name, want := range map[domain.EventType]string{
		"task.finished":              "is no type of an event",
		"step.complete":              `did you mean "step.completed"?`,
		"order.shipped":              `it is "custom.order.shipped"`,
		"custom.task.x":              "reserved",
		domain.SignalHandle:          "Engine.Tap",
		domain.SignalBeforeHandle:    "Engine.Tap",
		domain.SignalReenqueueFailed: "Engine.Tap",
		domain.SignalStateUnclear:    "Engine.Tap",
	} {
		types := []domain.EventType{domain.TaskCreatedType, name}
		var bad *domain.EventTypeError
		var live *LiveOnlyError
		_, err := New(s, Options{Name: "books", Types: types}, (&seen{}).handle)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &bad) && !errors.As(err, &live) {
			t.Errorf("attach to %s: %v, want %s", name, err, want)
		}
		for r, err := range Replay(t.Context(), s, ReplayOptions{Types: types}) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("replay %s: %+v, %v, want %s", name, r, err, want)
			}
		}
	}
}

// Cursors without ranks name facts.
func TestACursorFromBeforeThereWereSignalsIsGoneOnFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, types := range [][]domain.EventType{everything, {domain.TaskCompletedType}} {
			s := memlog.New(memlog.Options{})
			h := newHistory(t, s)
			h.tasks(0, 1)
			saved := fmt.Sprintf(`{"data":%q,"generation":%d,"sequence":1,"index":2,"until":[3,1],"open":[[1,2],[2,0]]}`,
				s.Data().ID, s.Data().Generation)
			if _, err := s.Cursors().Put(t.Context(), "books.00", []byte(saved), 0); err != nil {
				t.Fatal(err)
			}
			got := &seen{}
			sub := start(t, s, Options{Name: "books", Types: types}, got.handle)
			time.Sleep(time.Second)
			synctest.Wait()
			var want []string
			for _, line := range h.want {
				wants := types[0] != domain.TaskCompletedType || strings.Contains(line, " task.completed ")
				open := strings.HasPrefix(line, "00-1-2 task.") || strings.HasPrefix(line, "00-2-0 step.")
				if wants && (open || line >= "00-3-1") {
					want = append(want, line)
				}
			}
			if diff := cmp.Diff(want, linesOf(got)); diff != "" {
				t.Errorf("%v: (-want +got)\n%s", types, diff)
			}
			if err := sub.stop(); err != nil {
				t.Fatal(err)
			}
			value, _, err := s.Cursors().Get(t.Context(), "books.00")
			if err != nil || strings.Contains(string(value), "open") || !strings.Contains(string(value), `"sequence":6`) {
				t.Errorf("%v: the cursor is %s, %v", types, value, err)
			}
		}
	})
}
