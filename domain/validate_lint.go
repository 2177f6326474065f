package domain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Lint finds what is legal but surely not meant: fields that nothing reads, and limits that cut others off. It also takes
// definitions that are wrong, as InspectDefinition gives them: what needs the graph is then left out.
func (d *Definition) Lint() []Problem {
	l := linter{d: d}
	l.definition()
	l.index()
	for i := range d.Steps {
		s, at := &d.Steps[i], IndexPath("steps", i)
		if s.Handler == SleepHandler {
			l.sleep(s, at)
			continue
		}
		l.retries(s, at)
		if !s.runsOnce() {
			l.backoff(&s.Backoff, at+".backoff")
		}
		if d.Deadline > 0 && s.Timeout != DefaultTimeout && s.Timeout > d.Deadline {
			l.warn(at+".timeout", "the deadline always comes first: shorten the timeout, or lengthen the deadline",
				"timeout %s of %s is longer than the deadline of the task, %s", short(s.Timeout), s.who(), short(d.Deadline))
		}
	}
	l.sleepsBehindTheDeadline()
	return l.found
}

type linter struct {
	d     *Definition
	found []Problem
}

func (l *linter) warn(path, hint, format string, args ...any) {
	l.found = append(l.found, Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (l *linter) definition() {
	for i, tag := range l.d.Tags {
		if slices.Contains(l.d.Tags[:i], tag) {
			l.warn(IndexPath("tags", i), leaveOut, "tag %q is there twice", clip(tag))
		}
	}
	if l.d.OnFailure != Stop || len(l.d.Steps) == 0 {
		return
	}
	optional, once := true, true
	for i := range l.d.Steps {
		s := &l.d.Steps[i]
		optional = optional && s.Optional
		once = once && (s.Optional || s.Handler == SleepHandler || s.runsOnce())
	}
	switch {
	case optional:
		l.warn("on_failure", leaveOut, "on_failure: stop says nothing: every step is optional")
	case once:
		l.warn("on_failure", "let the steps be retried, or other branches run to their end",
			"on_failure: stop, and no step is retried: the first failure of any step stops the whole task")
	}
}

// runsOnce reports whether the first failure of the step is final.
func (s *StepTemplate) runsOnce() bool { return s.NotRetryable || s.RetryLimit == 1 }

// retries looks for fields about retries of a step that has none.
func (l *linter) retries(s *StepTemplate, at string) {
	if !s.runsOnce() {
		if slices.Contains(s.FinalErrors, KindPermanent) {
			l.warn(at+".final_errors", leaveOut, "errors of kind %q are always final", KindPermanent)
		}
		return
	}
	why := "retryable is false"
	if !s.NotRetryable {
		why = "retry_limit is 1"
	}
	if s.NotRetryable && s.RetryLimit != DefaultRetryLimit {
		l.warn(at+".retry_limit", "leave one of the two out", "retry_limit says nothing: %s runs once, because %s", s.who(), why)
	}
	for _, key := range s.retryFields() {
		l.warn(at+"."+key, leaveOut, "%s says nothing: %s runs once, because %s", key, s.who(), why)
	}
}

// retryFields are the fields about retries, besides the limit, that were given.
func (s *StepTemplate) retryFields() []string {
	var keys []string
	if s.Backoff.body() != nil {
		keys = append(keys, "backoff")
	}
	if s.MaxRetryAfter != DefaultMaxRetryAfter {
		keys = append(keys, "max_retry_after")
	}
	if len(s.FinalErrors) > 0 {
		keys = append(keys, "final_errors")
	}
	return keys
}

// sleep looks for fields that a timer of the engine does not have.
func (l *linter) sleep(s *StepTemplate, at string) {
	keys := s.retryFields()
	if s.NotRetryable {
		keys = append(keys, "retryable")
	}
	if s.RetryLimit != DefaultRetryLimit {
		keys = append(keys, "retry_limit")
	}
	if s.Timeout != DefaultTimeout {
		keys = append(keys, "timeout")
	}
	if len(s.CustomEvents) > 0 {
		keys = append(keys, "custom_events")
	}
	for _, key := range keys {
		l.warn(at+"."+key, leaveOut, "%s says nothing: %s is a sleep, which only waits", key, s.who())
	}
}

func (l *linter) backoff(b *Backoff, at string) {
	if b.Strategy.hasBase() && b.Base > b.Max {
		l.warn(at+".base", "write max: "+short(b.Base), "base %s is longer than max, %s, which every wait is cut to", short(b.Base), short(b.Max))
	}
	for i, wait := range b.List {
		if wait > b.Max {
			l.warn(IndexPath(at+".list", i), "write max: "+short(slices.Max(b.List)), "wait %s is cut to max, %s", short(wait), short(b.Max))
		}
	}
	if b.Strategy == StrategyExponential && b.Factor <= 1 {
		l.warn(at+".factor", "write more than 1, or strategy: fixed", "the waits do not grow with factor %v", b.Factor)
	}
}

// sleepsBehindTheDeadline looks for sleeps that cannot end in time, on the way with the longest sleeps.
func (l *linter) sleepsBehindTheDeadline() {
	if l.d.graph == nil || l.d.Deadline == 0 {
		return
	}
	slept := make([]time.Duration, len(l.d.Steps))
	for _, i := range l.d.graph.Order() {
		s := &l.d.Steps[i]
		for _, p := range l.d.graph.Parents(int(i)) {
			slept[i] = max(slept[i], slept[p])
		}
		before := slept[i]
		if s.Handler != SleepHandler || before >= l.d.Deadline {
			continue
		}
		if slept[i] += min(s.Wait, l.d.Deadline); slept[i] >= l.d.Deadline {
			l.warn(IndexPath("steps", int(i))+".handler_config.duration", "sleep less, or lengthen the deadline",
				"%s ends %s after the beginning at the earliest, and the deadline is %s", s.who(), short(before+s.Wait), short(l.d.Deadline))
		}
	}
}

// short is a duration as people write it: 10m, and not 10m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
