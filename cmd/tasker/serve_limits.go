package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// limitFlags are what an operator may want to change about a server.
type limitFlags struct {
	slots, partitions, maxKeys             int
	retention, errorRetention, idempotency time.Duration
}

func (f *limitFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.slots, "slots", executor.DefaultSlots, "how many steps run at once")
	flags.IntVar(&f.partitions, "partitions", 2, "partitions of a log that does not exist yet, 1 to 64; an existing one keeps its number")
	flags.DurationVar(&f.retention, "retention", subscribers.DefaultRetention, "how long the history of ended tasks is kept")
	flags.DurationVar(&f.errorRetention, "error-retention", subscribers.DefaultErrorRetention, "how long a failed task can be retried; 0 = for ever")
	flags.DurationVar(&f.idempotency, "idempotency-window", subscribers.DefaultIdempotency, "how long after the end of its task a key is remembered")
	flags.IntVar(&f.maxKeys, "max-keys", subscribers.DefaultMaxKeys, "keys that are remembered; then submissions with a key are refused")
}

func (f *limitFlags) check() error {
	switch {
	case f.slots < 1:
		return usageError("--slots must be at least 1, not %d", f.slots)
	case f.partitions < 1 || f.partitions > 64:
		return usageError("--partitions must be 1 to 64, not %d", f.partitions)
	case f.maxKeys < 1:
		return usageError("--max-keys must be at least 1, not %d", f.maxKeys)
	case f.retention <= 0:
		return usageError("--retention must be more than 0, not %s", f.retention)
	case f.errorRetention < 0:
		return usageError("--error-retention must be at least 0, not %s", f.errorRetention)
	case f.idempotency <= 0:
		return usageError("--idempotency-window must be more than 0, not %s", f.idempotency)
	}
	return nil
}

// apply puts them into the engine's configuration.
func (f *limitFlags) apply(c *tasker.Config) {
	c.Slots, c.Partitions, c.MaxKeys = f.slots, f.partitions, f.maxKeys
	c.Retention, c.ErrorRetention, c.IdempotencyWindow = f.retention, f.errorRetention, f.idempotency
	if f.errorRetention == 0 {
		c.ErrorRetention = -1
	}
}
