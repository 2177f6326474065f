package domain

import (
	"math"
	"time"
)

// MaxLost is how many executions of a round may be lost (worker_lost, interrupted) without counting; the next one is
// final (SEMANTICS 3).
const MaxLost = 5

// retryAt is the one place that decides whether and when a failed execution is tried again (SEMANTICS 3): 0 = never.
// It is called once per failure, and the answer is stored in step.failed.
func retryAt(t *Task, i int, cmd FailStep, now Instant) Instant {
	s, tpl := &t.Steps[i], t.Template(i)
	kind := cmd.Error.Kind
	if kind == KindPermanent || kind == KindDeadline || tpl.NotRetryable || isFinal(tpl, kind) {
		return 0
	}
	if !kind.counts() {
		if s.Lost >= MaxLost {
			return 0
		}
		return now
	}
	executions := int(s.Executions) + 1
	if executions >= t.RetryLimit(i) {
		return 0
	}
	if cmd.RetryAfter > 0 {
		return now.Add(min(cmd.RetryAfter, tpl.MaxRetryAfter))
	}
	return now.Add(tpl.Backoff.Delay(executions, jitterSeed(t.ID, tpl.Name, int(s.Attempt))))
}

func isFinal(tpl *StepTemplate, kind ErrorKind) bool {
	for _, k := range tpl.FinalErrors {
		if k == kind {
			return true
		}
	}
	return false
}

// Delay is the wait after the n-th execution of a round (n from 1). seed, between 0 and 1, places the wait within the
// jitter: 0 is the shortest, 1 the longest. The result is at most Max and at least half of the first wait.
func (b Backoff) Delay(n int, seed float64) time.Duration {
	wait := b.plain(n)
	if b.Jitter > 0 {
		wait *= 1 + b.Jitter*(2*seed-1)
	}
	wait = math.Min(wait, float64(b.Max))
	least := math.Min(b.plain(1), float64(b.Max)) / 2
	return time.Duration(math.Max(wait, least))
}

// plain is the wait before jitter and cap, in nanoseconds; a float so that a large power cannot overflow.
func (b Backoff) plain(n int) float64 {
	switch b.Strategy {
	case StrategyTasker:
		if n <= 6 {
			return float64(time.Second) * float64(int(1)<<(n-1))
		}
		return float64(time.Second) * float64(n) * float64(n)
	case StrategyExponential:
		return float64(b.Base) * math.Pow(b.Factor, float64(n-1))
	case StrategyLinear:
		return float64(b.Base) * float64(n)
	case StrategyFixed:
		return float64(b.Base)
	case StrategyList:
		return float64(b.List[min(n, len(b.List))-1])
	}
	return float64(b.Base)
}

// jitterSeed is a number between 0 and 1 that replay and tests compute again: a hash of task, step and attempt.
func jitterSeed(id TaskID, step string, attempt int) float64 {
	h := uint64(14695981039346656037)
	mix := func(c byte) { h = (h ^ uint64(c)) * 1099511628211 }
	for _, c := range id {
		mix(c)
	}
	for i := range len(step) {
		mix(step[i])
	}
	for ; attempt > 0; attempt >>= 8 {
		mix(byte(attempt))
	}
	// FNV leaves the high bits of short inputs alike; one multiplication spreads them.
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return float64(h>>11) / float64(1<<53)
}
