package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// steps makes steps of lines such as "d: b c".
func steps(lines ...string) []stepView {
	var all []stepView
	for _, line := range lines {
		name, parents, _ := strings.Cut(line, ":")
		all = append(all, stepView{name: name, dependsOn: strings.Fields(parents), limit: 3})
	}
	return all
}

func TestTheTreeShowsWhatLeadsToWhat(t *testing.T) {
	for name, test := range map[string]struct {
		steps []stepView
		want  []string
	}{
		"a chain is a list": {steps("a", "b: a", "c: b"), []string{"a", "b", "c"}},
		"a diamond goes on where its branches meet": {
			steps("a", "b: a", "c: a", "d: b c", "e: d"),
			[]string{"a", "├─ b", "└─ c", "d (b c)", "e"},
		},
		"a branch is a list of its own": {
			steps("a", "b: a", "b2: b", "c: a", "d: b2 c"),
			[]string{"a", "├─ b", "│  b2", "└─ c", "d (b2 c)"},
		},
		"branches within a branch": {
			steps("a", "b: a", "c: a", "c1: c", "c2: c", "cx: c1 c2", "z: b cx"),
			[]string{"a", "├─ b", "└─ c", "   ├─ c1", "   └─ c2", "   cx (c1 c2)", "z (b cx)"},
		},
		"several beginnings":       {steps("a", "b", "c: a b"), []string{"a", "b", "c (a b)"}},
		"defined in another order": {steps("c: b", "b: a", "a"), []string{"a", "b", "c"}},
	} {
		var got []string
		for _, r := range layout(test.steps) {
			line := r.prefix + test.steps[r.step].name
			if len(r.after) > 0 {
				line += " (" + strings.Join(r.after, " ") + ")"
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestALongChainDoesNotOverflow(t *testing.T) {
	chain := []stepView{{name: "0"}}
	for i := 1; i < domain.MaxSteps; i++ {
		chain = append(chain, stepView{name: fmt.Sprint(i), dependsOn: []string{fmt.Sprint(i - 1)}})
	}
	if got := len(layout(chain)); got != domain.MaxSteps {
		t.Errorf("%d rows", got)
	}
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func view(all []stepView) *taskView {
	v := &taskView{name: "order 1.0.0", own: true, state: domain.InProgress, created: noon, steps: all}
	v.build()
	return v
}

func TestAFrameShowsStateAttemptAndTime(t *testing.T) {
	v := view(steps("fetch", "charge: fetch", "reserve: fetch", "nap: fetch", "extra: fetch", "ship: charge reserve"))
	set := func(name string, change func(*stepView)) { change(v.step(name)) }
	set("fetch", func(s *stepView) { s.state, s.attempt, s.took = domain.Complete, 1, 16*time.Millisecond })
	set("charge", func(s *stepView) {
		s.state, s.attempt, s.took, s.retryAt = domain.Error, 2, 1240*time.Millisecond, noon.Add(5*time.Second)
		s.err = &domain.StepError{Message: "card\ndeclined"}
	})
	set("reserve", func(s *stepView) { s.state, s.attempt, s.started = domain.InProgress, 1, noon.Add(time.Second) })
	set("nap", func(s *stepView) {
		s.state, s.attempt, s.started, s.handler = domain.InProgress, 1, noon, domain.SleepHandler
	})
	set("extra", func(s *stepView) { s.state, s.skipped = domain.Complete, true })
	now := noon.Add(2500 * time.Millisecond)
	want := `
    step        state     attempt      time
  ✓ fetch       complete  1 of 3      16 ms
  ├─ ↻ charge   waiting   2 of 3     1.24 s  again in 2.5 s: card declined
  ├─ ● reserve  running   1 of 3      1.5 s
  ├─ ● nap      sleeping  1 of 3      2.5 s
  └─ – extra    skipped
  ○ ship        pending                      after charge, reserve
● running, 2 of 6 steps, 2.5 s`
	if diff := cmp.Diff(want, strings.Join(frame{}.lines([]*taskView{v}, now, 100, 30), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	for _, width := range []int{20, 40, 60} {
		for _, line := range (frame{}).lines([]*taskView{v}, now, width, 30) {
			if n := len([]rune(line)); n > width {
				t.Errorf("width %d: %d columns: %s", width, n, line)
			}
		}
	}
}

func TestAStepSaysWhatHoldsItAndWhichSystemFailed(t *testing.T) {
	v := view(steps("fetch", "charge", "ship: fetch charge"))
	v.step("fetch").held = `no handler "fetch" is registered in this process`
	charge := v.step("charge")
	charge.state, charge.attempt, charge.took, charge.system = domain.Error, 3, 1240*time.Millisecond, "bank"
	charge.err = &domain.StepError{Message: "card declined"}
	want := `
    step    state     attempt      time
  ○ fetch   pending                      no handler "fetch" is registered in this process
  ✗ charge  failed    3 of 3     1.24 s  bank: card declined
  ○ ship    pending                      after fetch, charge
● running, 0 of 3 steps, 0.0 s`
	if diff := cmp.Diff(want, strings.Join(frame{}.lines([]*taskView{v}, noon, 100, 30), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestALargeTaskShowsWhatIsInteresting(t *testing.T) {
	var all []stepView
	for i := range 100 {
		s := stepView{name: fmt.Sprintf("s%02d", i), limit: 3, attempt: 1, state: domain.Complete}
		switch {
		case i == 40:
			s.state, s.err = domain.Error, &domain.StepError{Message: "broken"}
		case i == 50:
			s.state, s.started = domain.InProgress, noon
		case i > 90:
			s.state, s.attempt = domain.Pending, 0
		}
		all = append(all, s)
	}
	v := view(all)
	lines := frame{}.lines([]*taskView{v}, noon, 80, 10)
	if len(lines) > 10 {
		t.Errorf("%d lines on a screen of 10", len(lines))
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"✗ s40", "● s50", "○ s91", "94 steps not shown"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestTheScreenIsRedrawnInPlace(t *testing.T) {
	var out bytes.Buffer
	l := newLive(&out, -1) // no terminal: 80 by 24
	v := view(steps("only"))
	l.show(v)
	l.say("first")
	l.event(tasker.Event{
		Task: v.id, At: domain.InstantOf(noon), Event: domain.StepExecutionRequested{Step: "only", Attempt: 1},
		Position: tasker.Position{Sequence: 2},
	})
	l.say("second")
	l.close()
	l.close()
	l.say("after")
	text := out.String()
	if !strings.HasPrefix(text, "\x1b[?25l") || !strings.Contains(text, "\x1b[?25h") {
		t.Errorf("the cursor is not hidden and shown again: %q", text)
	}
	first, rest, _ := strings.Cut(text, "\x1b[4A") // blank line, head, step, foot
	if !strings.Contains(first, "first\n") || !strings.Contains(first, "○ only") || !strings.Contains(rest, "second\n") {
		t.Errorf("got %q", text)
	}
	if !strings.HasSuffix(text, "after\n") {
		t.Errorf("got %q", text)
	}
}

func TestSpansHaveAsManyDigitsAsPeopleRead(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 µs", 340 * time.Microsecond: "340 µs", 16 * time.Millisecond: "16 ms", 1240 * time.Millisecond: "1.24 s",
		10 * time.Second: "10 s", 12340 * time.Millisecond: "12.3 s", 200 * time.Second: "3 min 20 s", 2 * time.Minute: "2 min",
		125 * time.Minute: "2 h 5 min", 76 * time.Hour: "3 d 4 h", -time.Second: "-1 s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestTextOfStepsCannotMoveTheCursor(t *testing.T) {
	if got, want := oneLine("a\x1b[2J\r\nb\tc \u009b31m"), "a[2J b c 31m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEventsAreAppliedOnce(t *testing.T) {
	v := view(steps("a"))
	v.covered = 3
	at := func(sequence uint64, index int) tasker.Event {
		return tasker.Event{Event: domain.StepExecutionRequested{Step: "a", Attempt: 1}, Position: tasker.Position{Sequence: sequence, Index: index}}
	}
	for i, test := range []struct {
		event tasker.Event
		want  bool
	}{{at(3, 9), false}, {at(4, 0), true}, {at(4, 0), false}, {at(4, 1), true}, {at(4, 0), false}, {at(5, 0), true}} {
		if got := v.apply(test.event); got != test.want {
			t.Errorf("%d: got %v", i, got)
		}
	}
}

func TestTheStateOfAStepSaysWhatItWaitsForAndHowFarItIs(t *testing.T) {
	for want, s := range map[string]tasker.Step{
		"ready": {Ready: true},
		`ready (no handler "x" is registered in this process)`: {Ready: true, Held: `no handler "x" is registered in this process`},
		"in_progress": {State: domain.InProgress},
		"in_progress (40 of 100, half an hour left)": {
			State: domain.InProgress, Progress: &tasker.StepProgress{Done: 40, Total: 100, Message: "half an hour left"},
		},
		"complete": {State: domain.Complete, Progress: &tasker.StepProgress{Done: 100}},
		"skipped":  {State: domain.Complete, Skipped: true},
	} {
		if got := stepState(&s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
