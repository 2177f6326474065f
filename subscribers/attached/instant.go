package attached

import (
	"context"
	"errors"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// storedLate is how much later than its commit was made a message may have been stored, so that the time of storing is
// believed: clocks may differ by half of it (DESIGN 5), and an append may have had to wait. Beyond it the log was imported,
// or NATS was away for long.
const storedLate = time.Minute

// sequenceAt is the first sequence stored at or after t. In a log that was imported everything was stored later than it
// happened: there the times of the commits say it, which never go back within a partition, so that a search in halves
// finds the place with some twenty reads.
func sequenceAt(ctx context.Context, log domain.Log, partition int, bounds domain.LogBounds, t time.Time) (uint64, error) {
	sequence, err := log.SequenceAt(ctx, t)
	if err != nil || sequence > bounds.Last || sequence < bounds.First {
		return sequence, err
	}
	var decoder domain.Decoder
	// after looks at the first commit from the sequence from on, before to: was it made at or after t?
	after := func(from, to uint64) (at uint64, m domain.Message, made time.Time, err error) {
		for at = from; at < to; at++ {
			m, err = log.Read(ctx, at)
			if errors.Is(err, domain.ErrNoMessage) {
				continue
			}
			if err != nil {
				return at, m, made, err
			}
			if c, err := decoder.Decode(m.Data, partition, at); m.CommitID != "" && err == nil {
				return at, m, c.At.Time(), nil
			}
		}
		return to, m, made, nil
	}
	at, m, made, err := after(sequence, bounds.Last+1)
	if err != nil || at > bounds.Last || m.Time.Sub(made) <= storedLate {
		return sequence, err
	}
	low, high := max(bounds.First, 1), bounds.Last+1
	for low < high {
		middle := low + (high-low)/2
		at, _, made, err := after(middle, high)
		if err != nil {
			return 0, err
		}
		if at == high || !made.Before(t) {
			high = middle
		} else {
			low = at + 1
		}
	}
	return low, nil
}
