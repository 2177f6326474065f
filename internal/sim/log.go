package sim

import (
	"bytes"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// simLog is the stream of the partition. It remembers what has been trimmed, for the checks only.
type simLog struct {
	messages []message // the message of sequence n stands at n-1
	first    uint64    // sequence of the first that is still there
	decoder  domain.Decoder
}

// message is one stored message; without id it is not a commit.
type message struct {
	id     string
	commit domain.Commit
}

func (l *simLog) last() uint64 { return uint64(len(l.messages)) }

func (l *simLog) at(sequence uint64) (message, bool) {
	if sequence < l.first || sequence > l.last() {
		return message{}, false
	}
	return l.messages[sequence-1], true
}

// holds reports whether the commit at that sequence is about the task.
func (l *simLog) holds(sequence uint64, id domain.TaskID) bool {
	if sequence == 0 || sequence > l.last() {
		return false
	}
	for _, r := range l.messages[sequence-1].commit.Records {
		if r.Task == id {
			return true
		}
	}
	return false
}

// packet is something on its way: a message to the log, or an answer from it.
type packet struct {
	to     *process
	m      *subscribers.Machine // that it is about; nobody minds an answer to one that is gone
	append bool
	last   uint64
	id     string
	data   []byte
	ok     bool // of an answer: stored
	never  bool // of an answer: proven not to be stored
}

// send puts an append on its way and decides what becomes of it.
func (w *world) send(p *process, a subscribers.Append) {
	k := packet{to: p, m: p.m, append: true, last: a.Last, id: a.CommitID, data: bytes.Clone(a.Data)}
	x := w.rng.IntN(1000)
	for i, odds := range w.odds.fates {
		if x -= odds; x < 0 {
			w.befall(k, fate(i))
			return
		}
	}
	w.befall(k, arrives)
}

// fate is what becomes of a message.
type fate int

const (
	lostAck   fate = iota // stored, but the answer is lost
	vanishes              // neither stored nor answered
	late                  // stored later, if it still fits, perhaps after its sender has gone
	slowAck               // stored, answered later
	twiceAck              // stored, answered twice
	overtaken             // somebody without business there writes before it
	refused               // refused for want of space, which proves that it is not stored
	arrives               // stored and answered
)

func (w *world) befall(k packet, f fate) {
	if w.tracing {
		w.tracef("p%d sends %s after %d: fate %d", k.to.n, k.id, k.last, f)
	}
	switch f {
	case lostAck:
		w.store(k)
		w.report.Lost++
	case vanishes:
	case late:
		w.net = append(w.net, k)
	case slowAck:
		w.net = append(w.net, w.store(k))
	case twiceAck:
		ack := w.store(k)
		w.net = append(w.net, ack)
		ack.to.acked(ack)
	case overtaken:
		w.log.messages = append(w.log.messages, message{})
		w.replica.Sequence++
		w.report.Moves++
		k.to.acked(w.store(k))
	case refused:
		k.to.acked(packet{to: k.to, m: k.m, id: k.id, never: true})
	case arrives:
		k.to.acked(w.store(k))
	}
}

// store appends the message if it follows what it names, and returns the answer.
func (w *world) store(k packet) packet {
	ack := packet{to: k.to, m: k.m, id: k.id, last: k.last}
	if k.last != w.log.last() && w.cfg.Fault != NoFence {
		if w.tracing {
			w.tracef("log refuses %s after %d: it is at %d", k.id, k.last, w.log.last())
		}
		return ack
	}
	sequence := w.log.last() + 1
	commit, err := w.log.decoder.Decode(k.data, 0, sequence)
	if err != nil {
		failf("commit %s at %d cannot be read: %v", k.id, sequence, err)
	}
	if commit.ID != k.id {
		failf("commit at %d says %q, its header %q", sequence, commit.ID, k.id)
	}
	w.log.messages = append(w.log.messages, message{k.id, commit})
	if w.tracing {
		w.traceCommit(commit)
	}
	w.ledger.commit(w, commit)
	if err := w.replica.Apply(commit); err != nil {
		failf("commit %s at %d cannot be folded: %v", k.id, sequence, err)
	}
	w.checkLedger(commit)
	ack.ok, ack.last = true, sequence-1
	return ack
}

// deliver hands over something that is on its way, in any order.
func (w *world) deliver() {
	i := w.rng.IntN(len(w.net))
	k := w.net[i]
	last := len(w.net) - 1
	w.net[i] = w.net[last]
	w.net[last] = packet{}
	w.net = w.net[:last]
	if k.append {
		if k = w.store(k); w.rng.IntN(3) == 0 {
			return // and its answer is lost
		}
	}
	k.to.acked(k)
}
