package subscribers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// fate finds out what became of the message under way when no acknowledgement says so (DESIGN 5, step 5). Only the
// message that stands at its place in the log is an answer.
type fate struct {
	commit  string
	since   time.Time // of the last sending
	asking  bool
	tries   int
	lost    bool // proven: not stored, and never will be
	full    bool // the store refused it for want of space
	verdict chan verdict
	again   time.Time // when to send again
}

// verdict is what stands at the message's place.
type verdict struct {
	commit string
	found  []domain.Message // at N+1, and at N+2 when there is one
	err    error
}

func (f *fate) begin(commit string, now time.Time) {
	*f = fate{commit: commit, since: now}
}

// patience is how long the loop may sleep while a message is under way.
func (f *fate) patience() time.Duration {
	switch {
	case f.asking:
		return ackTimeout
	case !f.again.IsZero():
		return max(time.Until(f.again), 0)
	}
	return max(ackTimeout-time.Since(f.since), 0)
}

// takeAcks handles answers to appends, the verdict on a message without one, and the lack of both.
func (o *ownership) takeAcks() error {
	o.mu.Lock()
	acks := slices.Concat(o.held, o.acks)
	o.acks = nil
	o.mu.Unlock()
	o.held = nil
	for i, a := range acks {
		under, ok := o.m.Inflight()
		if !ok || a.commit != under.CommitID {
			continue // late or doubled
		}
		if a.err == nil && a.sequence == under.Last+1 {
			if !o.mayAct() {
				o.held = acks[i:]
				return nil
			}
			o.stored()
			if err := o.send(); err != nil { // the next part of the same batch
				return err
			}
			continue
		}
		if errors.Is(a.err, domain.ErrNotStored) {
			o.refused(a.err)
			continue
		}
		o.ask()
	}
	return o.chase()
}

func (o *ownership) stored() {
	took := time.Since(o.fate.since)
	o.metrics.acked(took, o.keeper.frozen != nil)
	if o.Meter != nil {
		events, bytes, opened := o.m.underway()
		o.Meter.Stored(events, bytes, took, max(domain.InstantOf(o.Clock()).Sub(opened), took))
	}
	o.m.Stored()
	o.progress = time.Now()
	o.reached.Store(o.m.stored)
	if o.fate.tries > 0 || o.fate.full {
		o.setGone(false)
		o.full.Store(false)
	}
}

// refused: the store has no room. The same bytes are sent again until it has; new submissions are refused meanwhile.
func (o *ownership) refused(err error) {
	if !o.fate.full {
		o.Logger.Error("a commit was refused and is sent again until it is stored", "partition", o.Partition, "error", err)
	}
	o.fate.full = true
	o.full.Store(true)
	o.fate.again = time.Now().Add(250 * time.Millisecond)
}

// chase goes on with a message of unknown fate.
func (o *ownership) chase() error {
	if _, ok := o.m.Inflight(); !ok {
		return nil
	}
	select {
	case v := <-o.fate.verdict:
		o.fate.asking = false
		if v.commit == o.fate.commit {
			return o.judge(v)
		}
	default:
	}
	switch {
	case o.fate.asking:
	case !o.fate.again.IsZero():
		if !time.Now().Before(o.fate.again) {
			o.fate.again = time.Time{}
			o.fate.since = time.Now()
			under, _ := o.m.Inflight()
			o.append(under)
		}
	case time.Since(o.fate.since) >= ackTimeout:
		o.ask()
	}
	return nil
}

// ask reads the message's place through the leader, in the background.
func (o *ownership) ask() {
	under, ok := o.m.Inflight()
	if !ok || o.fate.asking {
		return
	}
	o.fate.asking = true
	o.fate.tries++
	o.fate.verdict = make(chan verdict, 1)
	answer, log, wake := o.fate.verdict, o.log, o.poke
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		v := verdict{commit: under.CommitID}
		for n := under.Last + 1; n <= under.Last+2; n++ {
			msg, err := log.Read(ctx, n)
			if errors.Is(err, domain.ErrNoMessage) {
				break
			}
			if err != nil {
				v.err = err
				break
			}
			v.found = append(v.found, msg)
		}
		answer <- v
		wake()
	}()
}

func (o *ownership) judge(v verdict) error {
	under, _ := o.m.Inflight()
	var missing *domain.StreamMissingError
	switch {
	case len(v.found) > 0 && v.found[0].CommitID == under.CommitID:
		if len(v.found) > 1 && o.foreignWriter(v.found[1]) {
			o.m.Answered()
			return fmt.Errorf("%w: another writer's commit follows ours in partition %02d", errStepDown, o.Partition)
		}
		if !o.mayAct() {
			o.fate.since = time.Now() // asked again later
			return nil
		}
		o.stored()
		return o.send()
	case len(v.found) > 0 && v.found[0].CommitID != "":
		o.fate.lost = true
		return fmt.Errorf("%w: message %d of partition %02d is another writer's", errStepDown, under.Last+1, o.Partition)
	case len(v.found) > 0:
		o.Logger.Error("somebody else wrote to the log; the message is passed over", "partition", o.Partition, "sequence", under.Last+1)
		o.m.Moved()
		under, _ = o.m.Inflight()
		o.fate.since = time.Now()
		o.append(under)
	case errors.As(v.err, &missing):
		return v.err // what was under way went with the stream, or was never stored
	default:
		// Not there, or not to be read: unknown. The very same bytes go again, later and later.
		if v.err != nil {
			o.setGone(true)
			if o.fate.tries == 1 {
				o.Logger.Error("the log cannot be reached; the partition waits for it", "partition", o.Partition, "error", v.err)
			}
		}
		o.fate.again = time.Now().Add(min(50*time.Millisecond<<min(o.fate.tries, 5), time.Second))
	}
	return nil
}

// foreignWriter reports whether the message is a commit of somebody else.
func (o *ownership) foreignWriter(msg domain.Message) bool {
	return msg.CommitID != "" && !strings.HasPrefix(msg.CommitID, o.m.writer+"-")
}
