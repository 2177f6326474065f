package domain

// class is everything about one step that the counters of its task count. A step's change is: class before, change,
// reclass. So no counter is ever changed anywhere else.
type class struct {
	state     State
	eligible  bool
	retrying  bool
	blocked   bool
	failed    bool
	cancelled bool
	tolerated bool
	satisfies bool // satisfies its children
}

func (t *Task) class(i int) class {
	s, tpl := &t.Steps[i], t.Template(i)
	c := class{state: s.State}
	switch s.State {
	case Pending:
		c.eligible = s.open == 0 && int(s.Executions) < t.RetryLimit(i) && (s.Executions == 0 || !tpl.NotRetryable)
	case Error:
		c.retrying = s.WakeAt != 0
		if tpl.Optional {
			c.tolerated = !c.retrying
			c.satisfies = !c.retrying
		} else {
			c.failed = true
			c.blocked = !c.retrying
		}
	case Cancelled:
		c.tolerated = tpl.Optional
		c.satisfies = tpl.Optional
		c.cancelled = !tpl.Optional
	case Complete, ResolvedManually:
		c.satisfies = true
	case InProgress:
	}
	return c
}

func (n *counts) add(c class, by int32) {
	n.state[c.state] += by
	for _, f := range [...]struct {
		is bool
		n  *int32
	}{
		{c.eligible, &n.eligible}, {c.retrying, &n.retrying}, {c.blocked, &n.blocked}, {c.failed, &n.failed},
		{c.cancelled, &n.cancelled}, {c.tolerated, &n.tolerated},
	} {
		if f.is {
			*f.n += by
		}
	}
}

// reclass brings the counters up to date after step i changed, and tells its children when it satisfies them now, or
// does not any more. O(children).
func (t *Task) reclass(i int, before class) {
	after := t.class(i)
	if after == before {
		return
	}
	t.counts.add(before, -1)
	t.counts.add(after, +1)
	if after.eligible && !before.eligible {
		t.offer(i)
	}
	if after.satisfies == before.satisfies {
		return
	}
	by := int32(1)
	if after.satisfies {
		by = -1
	}
	for _, child := range t.Definition.graph.Children(i) {
		c := int(child)
		was := t.class(c)
		t.Steps[c].open += by
		is := t.class(c)
		if is.eligible != was.eligible {
			t.counts.add(was, -1)
			t.counts.add(is, +1)
			if is.eligible {
				t.offer(c)
			}
		}
	}
}

// recount builds the counters from nothing: for a new task and one that was loaded.
func (t *Task) recount() {
	g := t.Definition.graph
	t.counts, t.retries, t.sleepers, t.offered = counts{}, nil, nil, nil
	for i := range t.Steps {
		s := &t.Steps[i]
		s.open, s.offered = 0, false
		for _, p := range g.Parents(i) {
			if !t.class(int(p)).satisfies {
				s.open++
			}
		}
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		t.counts.add(t.class(i), +1)
		switch {
		case s.WakeAt == 0:
		case s.State == Error:
			t.retries.push(s.WakeAt, int32(i)) // #nosec G115 -- at most MaxSteps
		case s.State == InProgress:
			t.sleepers.push(s.WakeAt, int32(i)) // #nosec G115 -- at most MaxSteps
		}
	}
	t.offerAll()
}

// offer notes that a step became ready, for whoever starts steps: see TakeOffered.
func (t *Task) offer(i int) {
	if s := &t.Steps[i]; !s.offered {
		s.offered = true
		t.offered = append(t.offered, int32(i)) // #nosec G115 -- at most MaxSteps
	}
}

func (t *Task) offerAll() {
	for i := range t.Steps {
		if t.class(i).eligible {
			t.offer(i)
		}
	}
}

// TakeOffered returns the steps that became ready since the last call, each once, in the order of becoming so; a hint
// where to look, which may name a step that is not ready (any more): ask Ready. The slice is valid until the next event.
func (t *Task) TakeOffered() []int32 {
	taken := t.offered
	for _, i := range taken {
		t.Steps[i].offered = false
	}
	t.offered = t.offered[:0]
	return taken
}

// gate is what readiness asks of the whole task (SEMANTICS 2).
func (t *Task) gate() bool { return t.State.Live() && !t.Paused && !t.Stopped() }

// Stopped reports whether on_failure: stop has been triggered.
func (t *Task) Stopped() bool { return t.Definition.OnFailure == Stop && t.counts.blocked > 0 }

// Ready reports whether step i could be started now.
func (t *Task) Ready(i int) bool { return t.gate() && t.class(i).eligible }

// NextRetry is the earliest retry_at of a step that waits for one; 0 when none does, or when the task is paused,
// stopped or not live.
func (t *Task) NextRetry() (Instant, int) {
	if !t.gate() {
		return 0, -1
	}
	return t.retries.next(t, Error)
}

// NextSleepEnd is the earliest end of a sleep step that is in progress; 0 when there is none.
func (t *Task) NextSleepEnd() (Instant, int) {
	if !t.State.Live() {
		return 0, -1
	}
	return t.sleepers.next(t, InProgress)
}

// next drops what is out of date from the top and returns what is due first.
func (h *wakeHeap) next(t *Task, state State) (Instant, int) {
	for len(*h) > 0 {
		top := (*h)[0]
		if s := &t.Steps[top.step]; s.State == state && s.WakeAt == top.at {
			return top.at, int(top.step)
		}
		h.pop()
	}
	return 0, -1
}

// NextWake is when the engine has to look at the task again although nothing happens to it; 0 = never.
func (t *Task) NextWake() Instant {
	if !t.State.Live() {
		return 0
	}
	wake := t.Deadline
	if at, i := t.NextRetry(); i >= 0 && (wake == 0 || at < wake) {
		wake = at
	}
	if at, i := t.NextSleepEnd(); i >= 0 && (wake == 0 || at < wake) {
		wake = at
	}
	return wake
}
