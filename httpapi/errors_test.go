package httpapi

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// failing is a service of which a task cannot be had.
type failing struct {
	*running
	err error
}

func (f *failing) Task(context.Context, tasker.TaskID) (*tasker.Task, error) { return nil, f.err }

// What keeps the engine from answering has a code, a status for proxies, and a time to try again.
func TestTroubleOfTheEngineHasItsCodes(t *testing.T) {
	f := &failing{running: start(t)}
	w := serve(t, f, Options{})
	for _, c := range []struct {
		err    error
		status int
		code   Code
		later  bool
	}{
		{tasker.ErrOverloaded, 503, CodeOverloaded, true},
		{tasker.ErrNotRunning, 503, CodeNotRunning, true},
		{tasker.ErrNoOwner, 503, CodeNoOwner, true},
		{tasker.ErrUnavailable, 503, CodeUnavailable, true},
		{fmt.Errorf("%w: %w", tasker.ErrOutcomeUnknown, tasker.ErrUnavailable), 504, CodeOutcomeUnknown, true},
		{tasker.ErrStoreFull, 507, CodeStoreFull, true},
		{tasker.ErrTooManyKeys, 503, CodeTooManyKeys, true},
		{domain.ErrIntakeFull, 503, CodeIntakeFull, true},
		{context.DeadlineExceeded, 504, CodeTimeout, true},
		{tasker.TrimmedError{Partition: 1, First: 7}, 410, CodeTrimmed, false},
		{&tasker.HistoryTrimmedError{}, 410, CodeTrimmed, false},
		{&tasker.CursorMismatchError{}, 409, CodeOtherLog, false},
		{&tasker.CursorAheadError{}, 409, CodeOtherLog, false},
		{&tasker.FrozenError{}, 409, CodeFrozen, false},
		{&domain.ForkTooLargeError{}, 409, CodeRefused, false},
		{&tasker.NoIdentityError{Definition: "x"}, 422, CodeInvalid, false},
		{errors.New("who knows"), 500, CodeInternal, false},
	} {
		f.err = fmt.Errorf("asking: %w", c.err)
		r := w.do("GET", tasksPath+"/"+nobody, nil)
		if p := r.problem(t); p.Code != c.code || p.Status != c.status || (r.Header.Get("Retry-After") != "") != c.later {
			t.Errorf("%v: %d %s %v", c.err, r.Status, r.Text, r.Header)
		}
	}
}

// Every code has the status that the description says.
func TestEveryCodeHasAStatus(t *testing.T) {
	for _, known := range sentinels {
		if statuses[known.code] != known.status {
			t.Errorf("%s: the description says %d, it is sent with %d", known.code, statuses[known.code], known.status)
		}
	}
	for _, o := range operations(t) {
		for _, code := range (&action{method: o.method}).common() {
			if statuses[code] == 0 {
				t.Errorf("%s has no status", code)
			}
		}
	}
}
