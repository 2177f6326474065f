package memlog

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Fate is what happens to one append. The zero Fate is a good one: stored, and acknowledged once.
type Fate struct {
	// Lost: the message is not stored.
	Lost bool
	// Late: the message is stored, with its guard checked, only after this time. The acknowledgement follows it.
	Late time.Duration
	// Silent: there is no acknowledgement.
	Silent bool
	// Delay of the acknowledgement, beyond Options.Delay.
	Delay time.Duration
	// Double: the acknowledgement comes twice.
	Double bool
	// Err is the answer, whatever happened to the message.
	Err error
}

// Fates that tests use often.
var (
	// AckLost: stored, but nobody hears of it.
	AckLost = Fate{Silent: true}
	// MessageLost: neither stored nor answered.
	MessageLost = Fate{Lost: true, Silent: true}
	// AckDoubled: stored and acknowledged twice.
	AckDoubled = Fate{Double: true}
	// Refused without being stored, with an error that proves nothing.
	Refused = Fate{Lost: true, Err: ErrRefused}
	// RefusedButStored: the same error, but the message is there.
	RefusedButStored = Fate{Err: ErrRefused}
	// Full: refused with the proof that it is not stored.
	Full = Fate{Lost: true, Err: fmt.Errorf("%w: insufficient storage resources", domain.ErrNotStored)}
)

// ErrRefused is an error that says nothing about the outcome.
var ErrRefused = errors.New("an injected error of the log")

// Faults decides the fate of appends to one partition. Its methods may be called from any goroutine.
type Faults struct {
	mu     sync.Mutex
	queue  []Fate
	decide func(last uint64, commitID string) Fate
	down   bool
}

// Next gives the next appends these fates, one each, before anything that Decide says.
func (f *Faults) Next(fates ...Fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, fates...)
}

// Decide asks decide for the fate of every append; nil ends that.
func (f *Faults) Decide(decide func(last uint64, commitID string) Fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

// Down makes the log unreachable, or reachable again: appends are lost and answered with domain.ErrUnavailable, reads
// fail with it, and Follow waits.
func (f *Faults) Down(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *Faults) isDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

func (f *Faults) fate(last uint64, commitID string) Fate {
	f.mu.Lock()
	if f.down {
		f.mu.Unlock()
		return Fate{Lost: true, Err: domain.ErrUnavailable}
	}
	if len(f.queue) > 0 {
		fate := f.queue[0]
		f.queue = f.queue[1:]
		f.mu.Unlock()
		return fate
	}
	decide := f.decide
	f.mu.Unlock()
	if decide == nil {
		return Fate{}
	}
	return decide(last, commitID)
}
