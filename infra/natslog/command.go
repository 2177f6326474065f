package natslog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
)

// ServeCommands answers what other processes send to a partition with Request, until stop is called. The partition's
// owner calls it. handle is called on one goroutine, in the order of arrival; it may keep request, and call reply later
// and from any goroutine, or never. ctx ends with stop. Two processes that serve the same partition get every request
// both, and the first answer counts: the log decides, not this.
func (s *Store) ServeCommands(partition int, handle func(ctx context.Context, request []byte, reply func([]byte))) (stop func(), err error) {
	subject := s.names.command(partition)
	ctx, cancel := context.WithCancel(s.closed)
	sub, err := s.nc.Subscribe(subject, func(m *nats.Msg) {
		if ctx.Err() != nil {
			return
		}
		handle(ctx, m.Data, func(answer []byte) {
			if m.Reply == "" {
				return
			}
			// The reply subject is the sender's choice, and this connection may write where the sender may not.
			if err := s.Reply(m.Reply, answer); err != nil {
				s.opts.Logger.Warn("an answer could not be sent", "subject", subject, "error", err)
			}
		})
	})
	if err == nil {
		err = s.nc.FlushTimeout(answerTimeout) // from here on a request finds it
	}
	if err != nil {
		cancel()
		if sub != nil {
			_ = sub.Unsubscribe()
		}
		return nil, fmt.Errorf("serving commands on %s: %w", subject, unavailable(err))
	}
	return func() {
		cancel()
		_ = sub.Unsubscribe()
	}, nil
}

// Request sends a request to the owner of a partition and waits for its answer, until ctx ends, or 5 s when it has no
// deadline: the owner answers after its commit. domain.ErrNoOwner when no process serves the partition, domain.ErrUnavailable when there was no
// answer, which does not mean that it was not carried out.
func (s *Store) Request(ctx context.Context, partition int, request []byte) ([]byte, error) {
	subject := s.names.command(partition)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = bounded(ctx)
		defer cancel()
	}
	m, err := s.nc.RequestWithContext(ctx, subject, request)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("sending a request to %s: %w", subject, domain.ErrNoOwner)
	}
	if err != nil {
		return nil, fmt.Errorf("sending a request to %s: %w", subject, unavailable(err))
	}
	return m.Data, nil
}
