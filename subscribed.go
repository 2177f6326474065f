package tasker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// Subscribed is a durable subscriber as its cursors show it: the feed, a webhook, or one that was attached under a name.
type Subscribed = attached.Saved

// ErrSubscriberNotFound: no durable subscriber of that name has ever run on this log, or it was forgotten.
var ErrSubscriberNotFound = errors.New("there is no durable subscriber of that name")

// ErrSubscriberRuns: a process runs the subscriber, or has within the last seconds.
var ErrSubscriberRuns = errors.New("the subscriber is running: stop it, or switch it off, and try again")

// Subscribers lists the durable subscribers by name, with what each of them has yet to read.
func (r *router) Subscribers(ctx context.Context) ([]Subscribed, error) {
	list, err := attached.List(ctx, r.store)
	if err != nil {
		return nil, fmt.Errorf("listing the subscribers: %w", err)
	}
	return list, nil
}

// ForgetSubscriber removes the cursors of a durable subscriber that nobody runs any more: its cursor keeps the log from being
// trimmed. Run again under that name it begins anew. Errors: ErrSubscriberNotFound, ErrSubscriberRuns.
func (r *router) ForgetSubscriber(ctx context.Context, name string) error {
	list, err := r.Subscribers(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s Subscribed) bool { return s.Name == name }) {
		return fmt.Errorf("%q: %w", name, ErrSubscriberNotFound)
	}
	err = attached.Forget(ctx, r.store, name)
	if errors.Is(err, domain.ErrLeaseTaken) {
		return fmt.Errorf("%q: %w", name, ErrSubscriberRuns)
	}
	return err
}
