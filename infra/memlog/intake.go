package memlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// subjectBase is what subjects begin with; a store in memory has no prefix.
const subjectBase = "tasker.submit."

// intake is the stream of requests. What is to be handled runs on goroutines that end with it.
type intake struct {
	waiting  []domain.IntakeMessage // for somebody who serves
	held     int                    // given to somebody, or to come again
	last     uint64
	servers  []*intakeServer
	requests []*requestServer
	replies  map[string]func([]byte)
}

type intakeServer struct {
	ctx    context.Context
	handle func(context.Context, domain.IntakeMessage) domain.IntakeVerdict
	calls  sync.WaitGroup
	until  time.Time // it takes nothing before
}

type requestServer struct {
	ctx    context.Context
	handle func(context.Context, domain.IntakeMessage) []byte
	calls  sync.WaitGroup
}

// ServeIntake implements domain.Intake.
func (s *Store) ServeIntake(handle func(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict) (stop func(ctx context.Context)) {
	work, end := context.WithCancel(context.Background())
	v := &intakeServer{ctx: work, handle: handle}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake.servers = append(s.intake.servers, v)
	s.deliver()
	return func(ctx context.Context) {
		s.mu.Lock()
		s.intake.servers = slices.DeleteFunc(s.intake.servers, func(x *intakeServer) bool { return x == v })
		s.mu.Unlock()
		through := make(chan struct{})
		go func() {
			v.calls.Wait()
			close(through)
		}()
		select {
		case <-through:
		case <-ctx.Done():
		}
		end()
		<-through
	}
}

// deliver must be called with the lock held.
func (s *Store) deliver() {
	for len(s.intake.waiting) > 0 {
		now := time.Now()
		i := slices.IndexFunc(s.intake.servers, func(v *intakeServer) bool { return !v.until.After(now) })
		if i < 0 {
			return // a message that comes again wakes them
		}
		v := s.intake.servers[i]
		s.intake.servers = append(slices.Delete(s.intake.servers, i, i+1), v) // each in turn
		m := s.intake.waiting[0]
		s.intake.waiting = s.intake.waiting[1:]
		s.intake.held++
		m.Deliveries++
		v.calls.Go(func() {
			copied := m
			copied.Data = slices.Clone(m.Data)
			verdict := v.handle(v.ctx, copied)
			s.mu.Lock()
			defer s.mu.Unlock()
			if verdict.Again <= 0 {
				s.intake.held--
				return
			}
			if verdict.Busy {
				v.until = time.Now().Add(verdict.Again)
			}
			time.AfterFunc(verdict.Again, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.intake.held--
				s.intake.waiting = append(s.intake.waiting, m)
				s.deliver()
			})
		})
	}
}

// PublishIntake implements domain.Intake.
func (s *Store) PublishIntake(ctx context.Context, target []string, header map[string][]string, data []byte) error {
	subject := subjectBase + "task." + strings.Join(target, ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	err := ctx.Err()
	if n := s.opts.IntakeLimit; err == nil && n > 0 && len(s.intake.waiting)+s.intake.held >= n {
		err = domain.ErrIntakeFull
	}
	if err != nil {
		return fmt.Errorf("publishing to %s: %w", subject, err)
	}
	s.intake.last++
	s.intake.waiting = append(s.intake.waiting, domain.IntakeMessage{
		Subject: subject, Target: slices.Clone(target), Header: header, Data: slices.Clone(data),
		Sequence: s.intake.last, Stored: s.opts.Clock(),
	})
	s.deliver()
	return nil
}

// Waiting is how many requests have not been acknowledged.
func (s *Store) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.intake.waiting) + s.intake.held
}

// ServeIntakeRequests implements domain.Intake.
func (s *Store) ServeIntakeRequests(handle func(ctx context.Context, m domain.IntakeMessage) []byte) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	v := &requestServer{ctx: ctx, handle: handle}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake.requests = append(s.intake.requests, v)
	return func() {
		s.mu.Lock()
		s.intake.requests = slices.DeleteFunc(s.intake.requests, func(x *requestServer) bool { return x == v })
		s.mu.Unlock()
		cancel()
		v.calls.Wait()
	}, nil
}

// RequestIntake is what a client's request to tasker.submit.request is on NATS.
func (s *Store) RequestIntake(ctx context.Context, target []string, header map[string][]string, data []byte) ([]byte, error) {
	subject := strings.Join(append([]string{subjectBase + "request"}, target...), ".")
	s.mu.Lock()
	if len(s.intake.requests) == 0 {
		s.mu.Unlock()
		return nil, fmt.Errorf("sending a request to %s: %w", subject, domain.ErrNoOwner)
	}
	v := s.intake.requests[0]
	s.intake.requests = append(s.intake.requests[1:], v)
	answers := make(chan []byte, 1)
	v.calls.Go(func() {
		answers <- v.handle(v.ctx, domain.IntakeMessage{Subject: subject, Target: target, Header: header, Data: slices.Clone(data)})
	})
	s.mu.Unlock()
	select {
	case answer := <-answers:
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("sending a request to %s: %w: %w", subject, domain.ErrUnavailable, ctx.Err())
	}
}

// Replies has answers that are sent to subject handed to listen.
func (s *Store) Replies(subject string, listen func(answer []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.intake.replies == nil {
		s.intake.replies = map[string]func([]byte){}
	}
	s.intake.replies[subject] = listen
}

// CheckReply implements domain.Intake.
func (s *Store) CheckReply(subject string) error { return domain.CheckReplySubject("", subject) }

// Reply implements domain.Intake.
func (s *Store) Reply(subject string, answer []byte) error {
	if err := s.CheckReply(subject); err != nil {
		return err
	}
	s.mu.Lock()
	listen := s.intake.replies[subject]
	s.mu.Unlock()
	if listen != nil {
		listen(answer)
	}
	return nil
}
