package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/feed"
	"github.com/tasker-go/tasker/infra/webhook"
)

// feedFlags say how events leave a server by itself.
type feedFlags struct {
	feed     bool
	types    []string
	from     string
	maxAge   time.Duration
	maxBytes int64
	webhooks string
}

func (f *feedFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.feed, "feed", false, "publish every event as a NATS message of its own, on tasker.events.<namespace>.<task>.<type>")
	flags.StringSliceVar(&f.types, "feed-types", nil, "types and families of events to publish, such as task.*,workflow.* (default: every fact)")
	flags.StringVar(&f.from, "feed-from", "new", "where the feed begins when it is switched on for the first time: new, oldest or beginning")
	flags.DurationVar(&f.maxAge, "feed-max-age", feed.DefaultMaxAge, "how long a stream of the feed that does not exist yet keeps messages")
	flags.Int64Var(&f.maxBytes, "feed-max-bytes", feed.DefaultMaxBytes, "how many bytes such a stream may have; then the oldest messages go")
	flags.StringVar(&f.webhooks, "webhooks", "", "YAML file of receivers that events are sent to over HTTP")
}

func (f *feedFlags) check(cmd *cobra.Command) error {
	for _, name := range []string{"feed-types", "feed-from", "feed-max-age", "feed-max-bytes"} {
		if !f.feed && cmd.Flags().Changed(name) {
			return usageError("--%s is for the feed: switch it on with --feed", name)
		}
	}
	switch {
	case startsOf[f.from].Kind == domain.StartDefault:
		return usageError("--feed-from must be new, oldest or beginning, not %q", f.from)
	case f.maxAge < feed.MinMaxAge:
		return usageError("--feed-max-age must be at least %s, not %s", feed.MinMaxAge, f.maxAge)
	case f.maxBytes < feed.MinMaxBytes:
		return usageError("--feed-max-bytes must be at least %d, not %d", feed.MinMaxBytes, f.maxBytes)
	}
	if _, err := domain.NewEventSet(f.eventTypes()); err != nil {
		return usageError("--feed-types: %w", err)
	}
	return nil
}

var startsOf = map[string]domain.Start{"new": domain.FromNew, "oldest": domain.FromOldest, "beginning": domain.FromBeginning}

func (f *feedFlags) eventTypes() []tasker.EventType {
	var types []tasker.EventType
	for _, t := range f.types {
		types = append(types, tasker.EventType(t))
	}
	return types
}

// apply puts them into the engine's configuration, and reads the file.
func (f *feedFlags) apply(c *tasker.Config) error {
	if f.feed {
		c.Feed = &tasker.Feed{Types: f.eventTypes(), From: startsOf[f.from], MaxAge: f.maxAge, MaxBytes: f.maxBytes}
	}
	if f.webhooks == "" {
		return nil
	}
	list, err := webhook.ReadFile(f.webhooks, os.Getenv)
	if err != nil {
		return badInput(err, "docs/feed-and-webhooks.md shows such a file")
	}
	c.Webhooks = list
	return nil
}

// say prints what leaves the server by itself.
func (f *feedFlags) say(a *app, c tasker.Config) {
	prefix := c.Prefix
	if prefix == "" {
		prefix = feed.DefaultPrefix
	}
	if f.feed {
		a.printf("feed         %s>, kept in stream %s\n", feed.Subjects(prefix), feed.Stream(prefix))
	}
	if n := len(c.Webhooks); n > 0 {
		a.printf("webhooks     %d from %s\n", n, shownPath(f.webhooks))
	}
}
