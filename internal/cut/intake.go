package cut

import (
	"context"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// unheard is when a request comes again whose engine died before it was acknowledged.
const unheard = 10 * time.Second

// ServeIntake implements domain.Intake. What the engine had when the line was cut is not acknowledged, whatever came of it.
func (s *Store) ServeIntake(handle func(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict) func(ctx context.Context) {
	to, ok := s.to.(domain.Intake)
	if !ok {
		return func(context.Context) {}
	}
	stop := to.ServeIntake(func(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
		v := handle(ctx, m)
		if s.cut() {
			return domain.IntakeVerdict{Again: unheard}
		}
		return v
	})
	over, cancel := context.WithCancel(context.Background())
	cancel()
	stopOnce := sync.OnceFunc(func() { stop(over) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers, func() { go stopOnce() }) // it waits for calls, and those perhaps for the line
	var once sync.Once
	return func(ctx context.Context) {
		once.Do(func() {
			if s.cut() {
				stopOnce()
			} else {
				stop(ctx)
			}
		})
	}
}

// ServeIntakeRequests implements domain.Intake.
func (s *Store) ServeIntakeRequests(handle func(ctx context.Context, m domain.IntakeMessage) []byte) (func(), error) {
	to, ok := s.to.(domain.Intake)
	if !ok {
		return func() {}, nil
	}
	stop, err := to.ServeIntakeRequests(func(ctx context.Context, m domain.IntakeMessage) []byte {
		answer := handle(ctx, m)
		if s.cut() {
			return nil
		}
		return answer
	})
	if err != nil {
		return nil, err
	}
	stop = sync.OnceFunc(stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers, func() { go stop() })
	return stop, nil
}

// PublishIntake implements domain.Intake.
func (s *Store) PublishIntake(ctx context.Context, target []string, header map[string][]string, data []byte) error {
	to, ok := s.to.(domain.Intake)
	switch {
	case s.cut():
		return ErrCut
	case !ok:
		return domain.ErrIntakeFull
	}
	return to.PublishIntake(ctx, target, header, data)
}

// CheckReply implements domain.Intake.
func (s *Store) CheckReply(subject string) error { return domain.CheckReplySubject("", subject) }

// Reply implements domain.Intake.
func (s *Store) Reply(subject string, answer []byte) error {
	to, ok := s.to.(domain.Intake)
	if !ok || s.cut() {
		return ErrCut
	}
	return to.Reply(subject, answer)
}
