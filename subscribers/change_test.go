package subscribers

import (
	"fmt"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

// did runs a verb and says what its answer tells.
func (w *world) did(id domain.TaskID, cmd domain.Command) string {
	w.t.Helper()
	said := ""
	w.m.Do(id, cmd, domain.ByOperator, w.now, func(a Answer) {
		said = fmt.Sprintf("%s to %s, attempt %d", a.Change.From, a.Change.To, a.Change.Attempt)
		if a.Change.Reopened {
			said += ", reopened"
		}
		if !a.Changed {
			said += ", unchanged"
		}
		if a.Err != nil {
			said += ", refused"
		}
	})
	w.store()
	return said
}

func TestAVerbSaysWhatItChanged(t *testing.T) {
	w := newWorld(t)
	id := w.submit(chain(t, nil, "first", "a", "b", "c"), 1)
	w.store()
	w.complete(id, 0, 1)
	w.fail(id, 1, 1, domain.KindPermanent)
	w.store()
	for _, c := range []struct {
		verb domain.Command
		want string
	}{
		{domain.FinishStep{Step: "a"}, "error to error, attempt 1, unchanged, refused"},
		{domain.ResolveStep{Step: "c"}, "pending to resolved_manually, attempt 0"},
		{domain.RetryStep{Step: "a"}, "error to pending, attempt 1, reopened"},
		{domain.FinishStep{Step: "a"}, "in_progress to complete, attempt 2"},
		{domain.FinishStep{Step: "a"}, "complete to complete, attempt 2, unchanged"},
		{domain.RetryStep{Step: "z"}, "in_progress to in_progress, attempt 0, unchanged, refused"},
		{domain.PauseTask{}, "in_progress to in_progress, attempt 0"},
		{domain.CancelTask{}, "in_progress to cancelled, attempt 0"},
	} {
		if got := w.did(id, c.verb); got != c.want {
			t.Errorf("%T: %s, want %s", c.verb, got, c.want)
		}
	}
}
