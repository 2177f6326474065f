package domain_test

import (
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func TestABriefExplanationIsTheSameWithoutWords(t *testing.T) {
	for name, p := range map[string]*play{
		"runs": begin(t, nil, two(nil)...),
		"fails": func() *play {
			p := begin(t, nil, two(nil)...)
			if err := p.Report("first", "", &domain.StepError{Message: "no paper", Kind: domain.KindPermanent}, 0); err != nil {
				t.Fatal(err)
			}
			return p
		}(),
		"retries": func() *play {
			p := begin(t, nil, two(nil)...)
			if err := p.Report("first", "", &domain.StepError{Message: "no paper", Kind: domain.KindError}, 0); err != nil {
				t.Fatal(err)
			}
			return p
		}(),
	} {
		whole, around := domain.Explain(p.Task, p.around()), p.around()
		around.Brief = true
		brief := domain.Explain(p.Task, around)
		if brief.Text != "" || brief.Fix+brief.Hint+brief.Evidence != "" || brief.Verb != nil {
			t.Errorf("%s: %+v has words", name, brief)
		}
		if whole.Reason != brief.Reason || whole.Step != brief.Step || whole.Since != brief.Since || whole.Until != brief.Until || whole.Task != brief.Task {
			t.Errorf("%s: %+v is not the brief form of %+v", name, brief, whole)
		}
	}
}

func TestWhatMovesByItselfDoesNotStandStill(t *testing.T) {
	const now domain.Instant = 1_790_000_000_000_000
	ago := func(d time.Duration) domain.Instant { return now.Add(-d) }
	for _, c := range []struct {
		e    domain.Explanation
		want bool
	}{
		{domain.Explanation{Reason: domain.ReasonStepRunning, Since: ago(time.Hour)}, false},
		{domain.Explanation{Reason: domain.ReasonStepSleeping, Until: now.Add(time.Hour)}, false},
		{domain.Explanation{Reason: domain.ReasonAboutToMove, Since: ago(time.Hour)}, false},
		{domain.Explanation{Reason: domain.ReasonTaskEnded}, false},
		{domain.Explanation{Reason: domain.ReasonTaskExpired}, false},
		{domain.Explanation{Reason: domain.ReasonIndexBehind}, false},
		{domain.Explanation{Reason: domain.ReasonBackoff, Until: now.Add(domain.StuckBackoff)}, false},
		{domain.Explanation{Reason: domain.ReasonBackoff, Until: now.Add(domain.StuckBackoff + time.Microsecond)}, true},
		{domain.Explanation{Reason: domain.ReasonNoSlot, Since: ago(domain.StuckSlot)}, false},
		{domain.Explanation{Reason: domain.ReasonNoSlot, Since: ago(domain.StuckSlot + time.Microsecond)}, true},
		{domain.Explanation{Reason: domain.ReasonTaskPaused}, true},
		{domain.Explanation{Reason: domain.ReasonTaskFailed}, true},
		{domain.Explanation{Reason: domain.ReasonNoHandler, Since: now}, true},
	} {
		if got := c.e.Stuck(now); got != c.want {
			t.Errorf("%+v: %v, want %v", c.e, got, c.want)
		}
	}
	if domain.ReasonClosed.Severity() != 1 || domain.ReasonNoHandler.Severity() >= domain.ReasonTaskPaused.Severity() || domain.Reason("new").Severity() != 0 {
		t.Error("the order of the reasons")
	}
}

func TestAnAnswerFromAnIndexThatIsBehindIsExplained(t *testing.T) {
	at := domain.Position{Partition: 1, Sequence: 140, Index: 2}
	for want, b := range map[string]domain.Behind{
		"the index has read partition 01 up to message 120, and the answer is to contain 01-140-2: it is 20 commits behind": {
			Position: at, Covered: 120, Commits: 20, Since: 5},
		"the index has read partition 01 up to message 139, and the answer is to contain 01-140-2: it is 1 commit behind; it does not go on: disk full": {
			Position: at, Covered: 139, Commits: 1, End: 140, Why: "disk full\nat line 3"},
		"the index has read partition 01 up to message 139, and the answer is to contain 01-140-2; the log ends at message 139: nothing is stored at that position": {
			Position: at, Covered: 139, End: 139, Why: "disk full"},
		"the index has read partition 01 up to message 0, and the answer is to contain 01-140-2": {Position: at},
	} {
		e := domain.ExplainBehind(b)
		if e.Text != want || e.Reason != domain.ReasonIndexBehind || e.Evidence != "01-140-2" || e.Since != b.Since || e.Hint == "" {
			t.Errorf("%+v\nwant %s", e, want)
		}
	}
}

func TestPartitionsThatAreHeldForOneReasonAreNamedInOneText(t *testing.T) {
	for _, c := range []struct {
		partitions []int
		h          domain.Hold
		want       string
	}{
		{[]int{1}, domain.Hold{Reason: domain.ReasonNoOwner}, "no engine has partition 01"},
		{[]int{0, 1, 2, 3, 4, 5, 6, 7}, domain.Hold{Reason: domain.ReasonNoOwner}, "no engine has partitions 00, 01, 02, 03, 04 and 3 more"},
		{[]int{0, 1}, domain.Hold{Reason: domain.ReasonLoading}, "partitions 00 and 01 are being loaded"},
		{[]int{3}, domain.Hold{Reason: domain.ReasonClosed, Why: "partition 03 is closed: its log begins at 9"}, "partition 03 is closed: its log begins at 9"},
		{[]int{3}, domain.Hold{Reason: domain.ReasonClosed, Why: "message 9 is torn"}, "partition 03 is closed: message 9 is torn"},
		{[]int{0, 1}, domain.Hold{Reason: domain.ReasonStoreFull}, "the store is full: nothing can be appended, in partitions 00 and 01"},
	} {
		if e := domain.ExplainPartitions(c.partitions, c.h); e.Text != c.want || e.Reason != c.h.Reason {
			t.Errorf("%q, want %q", e.Text, c.want)
		}
	}
}
