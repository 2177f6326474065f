package subscribers

import "errors"

// Refusal says why a submission or a command was refused for want of room: the labels of a metric.
type Refusal string

// The refusals. All but the last two are ErrOverloaded.
const (
	QueueFull    Refusal = "queue_full"     // Config.Queue
	TooManyReady Refusal = "too_many_ready" // Config.MaxHeld
	TooManyLive  Refusal = "too_many_live"  // Config.MaxLive
	StoreFull    Refusal = "store_full"
	TooManyKeys  Refusal = "too_many_keys"
)

// Refusals lists them.
var Refusals = []Refusal{QueueFull, TooManyReady, TooManyLive, StoreFull, TooManyKeys}

// overload is ErrOverloaded with its reason.
type overload Refusal

func (overload) Error() string { return ErrOverloaded.Error() }

func (overload) Unwrap() error { return ErrOverloaded }

// RefusalOf is the reason of an error of this process; false when it is no such refusal.
func RefusalOf(err error) (Refusal, bool) {
	if err == nil {
		return "", false
	}
	var why overload
	switch {
	case errors.As(err, &why):
		return Refusal(why), true
	case errors.Is(err, ErrStoreFull):
		return StoreFull, true
	case errors.Is(err, ErrTooManyKeys):
		return TooManyKeys, true
	}
	return "", false
}
