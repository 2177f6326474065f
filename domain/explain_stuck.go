package domain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// stuckOrder are the reasons for which something is to be done, or at least known, the worst first: what holds everything,
// what a version or a program lacks, what has gone wrong, what an operator wanted, and what only takes long. Reasons that are
// not here are those of tasks that move, or have ended.
var stuckOrder = []Reason{
	ReasonClosed,
	ReasonNoOwner,
	ReasonLogAway,
	ReasonStoreFull,
	ReasonLeaseStale,
	ReasonLoading,
	ReasonTaskFrozen,
	ReasonHandlerLeaks,
	ReasonNoHandler,
	ReasonWorkerSilent,
	ReasonDeadline,
	ReasonTaskFailed,
	ReasonStopped,
	ReasonParentFailed,
	ReasonParentGone,
	ReasonStepFailed,
	ReasonEngineDrains,
	ReasonNoHandlerSlot,
	ReasonNoSlot,
	ReasonTaskPaused,
	ReasonBackoff,
}

// Severity says how bad a reason is: 1 is the worst, 0 is none: the task moves, or nothing more is to happen to it.
func (r Reason) Severity() int { return slices.Index(stuckOrder, r) + 1 }

// What takes less than this is no standing still.
const (
	// StuckSlot is how long a ready step waits for a slot before that is worth a look.
	StuckSlot = time.Minute
	// StuckBackoff is how far away a retry is before that is worth a look.
	StuckBackoff = 10 * time.Minute
)

// Stuck reports whether what is explained does not move by itself soon: by its reason and, where that is so for every task
// now and then, by the time that it takes.
func (e Explanation) Stuck(now Instant) bool {
	switch e.Reason { //nolint:exhaustive // the others do not depend on the time
	case ReasonNoSlot, ReasonNoHandlerSlot:
		return now.Sub(e.Since) > StuckSlot
	case ReasonBackoff:
		return e.Until.Sub(now) > StuckBackoff
	}
	return e.Reason.Severity() > 0
}

// Behind is what a reader that waited for the index knows.
type Behind struct {
	Task     TaskID   // that the position is of; zero when the reader did not ask for one
	Position Position // that the answer was to contain
	Covered  uint64   // sequence in that partition up to which the index has read
	End      uint64   // sequence of the newest message there; 0 = nobody knows
	Commits  uint64   // that the log has behind Covered; 0 = nobody knows
	Since    Instant  // time of the oldest of them; 0 = nobody knows
	Why      string   // what keeps the index from going on; "" = it goes on
}

// ExplainBehind says why an answer lacks a position.
func ExplainBehind(b Behind) Explanation {
	e := Explanation{Task: b.Task, Reason: ReasonIndexBehind, Since: b.Since, Evidence: b.Position.String()}
	e.Text = fmt.Sprintf("the index has read partition %02d up to message %d, and the answer is to contain %s", b.Position.Partition, b.Covered, b.Position)
	if b.Commits > 0 {
		e.Text += ": it is " + plural(int(min(b.Commits, 1<<62)), "commit", "commits") + " behind" // #nosec G115 -- bounded
	}
	e.Hint = "ask again, or wait longer; a task itself is never behind"
	switch {
	case b.End > 0 && b.Position.Sequence > b.End:
		e.Text += fmt.Sprintf("; the log ends at message %d: nothing is stored at that position", b.End)
		e.Hint = "give a position that a receipt of this log named"
	case b.Why != "":
		e.Text += "; it does not go on: " + firstLine(b.Why)
		e.Hint = "remove what keeps it from going on, or make it again: tasker index rebuild"
	}
	return e
}

// ExplainPartitions explains what holds partitions as a whole, all for the same reason.
func ExplainPartitions(partitions []int, h Hold) Explanation {
	e := Explanation{Reason: h.Reason, Since: h.Since, Fix: h.Fix, Hint: holdHints[h.Reason]}
	names := make([]string, len(partitions))
	for i, p := range partitions {
		names[i] = fmt.Sprintf("%02d", p)
	}
	which, is := "partition "+listed(names), "is"
	if len(names) > 1 {
		which, is = "partitions "+listed(names), "are"
	}
	switch h.Reason { //nolint:exhaustive // of the others the text names no partition
	case ReasonNoOwner:
		e.Text = "no engine has " + which
	case ReasonLoading:
		e.Text = which + " " + is + " being loaded"
	case ReasonClosed:
		e.Text = which + " " + is + " closed"
		if h.Why != "" {
			e.Text += ": " + strings.TrimPrefix(h.Why, e.Text+": ")
		}
	default:
		e.Text = explainer{&Task{}, Circumstances{}}.holdText(h, -1) + ", in " + which
	}
	return e
}
