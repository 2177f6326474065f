package attached

import (
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
)

const (
	// parkRetry is how long a lane waits when the dead letters cannot be reached.
	parkRetry = 5 * time.Second

	// A subscriber parks parkBurst events at once and then one every parkEvery: a dead letter costs a sync of the disk that
	// the engine's commits need too, and the dead letters have a limit, above which the oldest go. Whoever fails at
	// everything falls behind instead.
	parkEvery = 10 * time.Millisecond
	parkBurst = 100

	// loudEvery is how often a failed try is worth a line of level warn; the others are at debug.
	loudEvery = time.Second
)

// parkingTurn is how long the event has to wait before it may be parked; asked again, after that, it is 0.
func (e *session) parkingTurn(ev *event) time.Duration {
	now := time.Now()
	if ev.park.IsZero() {
		e.mu.Lock()
		if first := now.Add(-parkBurst * parkEvery); e.nextPark.Before(first) {
			e.nextPark = first
		}
		e.nextPark = e.nextPark.Add(parkEvery)
		ev.park = e.nextPark
		e.mu.Unlock()
	}
	return ev.park.Sub(now)
}

// loud reports whether none has been for a while.
func (e *session) loud() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if now.Before(e.quietUntil) {
		return false
	}
	e.quietUntil = now.Add(loudEvery)
	return true
}

func reasonOf(ev *event) string {
	failure := &domain.Failure{}
	if errors.As(ev.err, &failure) && failure.Kind == domain.KindPermanent {
		return fmt.Sprintf("the handler gave it up at try %d: %v", ev.tries, ev.err)
	}
	return fmt.Sprintf("the handler failed %d times: %v", ev.tries, ev.err)
}

// letterOf is the event as a commit of its own, in the wire format.
func letterOf(subscriber string, ev *event) domain.DeadLetter {
	r := ev.record
	headers := map[string]string{
		"Tasker-Subscriber": subscriber,
		"Tasker-Event":      r.ID(),
		"Tasker-Type":       string(r.Event.Type()),
		"Tasker-Tries":      fmt.Sprint(ev.tries),
	}
	if !r.Task.IsZero() {
		headers["Tasker-Task"] = r.Task.String()
	}
	if s, ok := r.Event.(domain.StepEvent); ok {
		headers["Tasker-Step"] = s.StepName()
	}
	return domain.DeadLetter{
		Kind: "subscriber", Name: subscriber,
		Reason:  reasonOf(ev),
		Headers: headers,
		Data:    domain.EncodeCommit(domain.Commit{ID: r.ID(), At: r.At, Records: []domain.Record{r}}),
	}
}
