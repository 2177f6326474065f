package tasker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/feed"
	"github.com/tasker-go/tasker/infra/webhook"
)

// Webhook is one receiver of events over HTTP: see package infra/webhook, which also has the function by which a receiver
// verifies a delivery, and docs/feed-and-webhooks.md.
type Webhook = webhook.Config

// outlets are the feed and the webhooks of an engine: durable subscribers like any other, which begin and end with it.
type outlets struct {
	feed      *feed.Feed // nil = none
	feedTypes domain.EventSet
	webhooks  []*webhook.Webhook
	running   sync.WaitGroup
}

// openOutlets makes what Config.Feed and Config.Webhooks ask for; nothing is read or sent yet.
func (e *Engine) openOutlets(ctx context.Context) error {
	if e.config.Feed == nil && len(e.config.Webhooks) == 0 {
		return nil
	}
	e.origins = newOrigins(e.store, e.Task)
	names := map[string]bool{}
	for _, c := range e.config.Webhooks {
		w, err := webhook.New(c, webhook.Options{Event: e.origins.event, Logger: e.config.Logger})
		if err != nil {
			return fmt.Errorf("tasker: Config.Webhooks: %w", err)
		}
		if names[c.Name] {
			return fmt.Errorf("tasker: Config.Webhooks: two are named %q: each needs its own name, because its cursor is kept under it", c.Name)
		}
		names[c.Name] = true
		e.outlets.webhooks = append(e.outlets.webhooks, w)
	}
	if e.config.Feed != nil {
		var err error
		if e.outlets.feed, e.outlets.feedTypes, err = e.openFeed(ctx); err != nil {
			return fmt.Errorf("tasker: Config.Feed: %w", err)
		}
	}
	return nil
}

// startOutlets runs them until the attachments of the engine end. One that cannot go on is told to the log, and ends alone.
func (e *Engine) startOutlets(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // what happens while the engine stops is published, too
	if f := e.outlets.feed; f != nil {
		e.outlets.running.Go(func() {
			if err := e.publishFeed(ctx, f, e.outlets.feedTypes); err != nil && !errors.Is(err, ErrNotRunning) {
				e.config.Logger.Error("the feed has stopped: nothing is published until the engine is started again", "error", err)
			}
		})
	}
	for _, w := range e.outlets.webhooks {
		e.outlets.running.Go(func() {
			if err := w.Run(ctx, e); err != nil && !errors.Is(err, ErrNotRunning) {
				e.config.Logger.Error("a webhook has stopped: nothing is sent to it until the engine is started again, and the log is kept for it from there on",
					"webhook", w.Name(), "receiver", w.Receiver(), "error", err)
			}
		})
	}
}

// closeOutlets waits for them; the attachments have to be stopped before.
func (e *Engine) closeOutlets() {
	e.outlets.running.Wait()
	if e.outlets.feed != nil {
		e.outlets.feed.Close()
	}
}
