package natslog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
)

// intakeGroup is the queue group of all engines: one of them gets a request.
const intakeGroup = "tasker"

// ServeIntakeRequests implements domain.Intake.
func (s *Store) ServeIntakeRequests(handle func(ctx context.Context, m domain.IntakeMessage) []byte) (func(), error) {
	ctx, cancel := context.WithCancel(s.closed)
	calls := &requestCalls{room: make(chan struct{}, intakeRequests)}
	base := s.names.submitRequest()
	receive := func(m *nats.Msg) {
		if m.Reply == "" {
			return // nobody would learn of the task
		}
		calls.begin(ctx, func() {
			in := domain.IntakeMessage{Subject: m.Subject, Target: tokensBehind(m.Subject, base), Header: m.Header, Data: m.Data}
			answer := handle(ctx, in)
			if answer == nil {
				return
			}
			if err := s.Reply(m.Reply, answer); err != nil {
				s.opts.Logger.Warn("an answer could not be sent", "subject", base, "error", err)
			}
		})
	}
	var subs []*nats.Subscription
	var err error
	for _, subject := range []string{base, base + ".>"} {
		var sub *nats.Subscription
		if sub, err = s.nc.QueueSubscribe(subject, intakeGroup, receive); err != nil {
			break
		}
		subs = append(subs, sub)
	}
	stop := sync.OnceFunc(func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe()
		}
		cancel()
		calls.end()
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("answering requests on %s: %w", base, unavailable(err))
	}
	return stop, nil
}

// requestCalls are the requests that are being answered. What waits for room, waits in the subscription.
type requestCalls struct {
	room  chan struct{}
	mu    sync.Mutex
	ended bool
	all   sync.WaitGroup
}

func (c *requestCalls) begin(ctx context.Context, call func()) {
	select {
	case c.room <- struct{}{}:
	case <-ctx.Done():
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.all.Go(func() {
		defer func() { <-c.room }()
		call()
	})
}

func (c *requestCalls) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.all.Wait()
}

// PublishIntake implements domain.Intake.
func (s *Store) PublishIntake(ctx context.Context, target []string, header map[string][]string, data []byte) error {
	subject := s.names.submit() + "." + strings.Join(target, ".")
	_, err := s.publish(ctx, &nats.Msg{Subject: subject, Header: header, Data: data})
	if isCode(err, codeStoreFailed) || isCode(err, codeNoStorage) {
		err = fmt.Errorf("%w (%w)", domain.ErrIntakeFull, err)
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		err = fmt.Errorf("a message has at most %d bytes, headers included: %w", s.nc.MaxPayload(), err)
	}
	if err != nil {
		return fmt.Errorf("publishing to %s: %w", subject, err)
	}
	return nil
}

// CheckReply implements domain.Intake.
func (s *Store) CheckReply(subject string) error {
	return domain.CheckReplySubject(s.names.prefix, subject)
}

// Reply implements domain.Intake.
func (s *Store) Reply(subject string, answer []byte) error {
	if err := s.CheckReply(subject); err != nil {
		return err
	}
	return unavailable(s.nc.Publish(subject, answer))
}
