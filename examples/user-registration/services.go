package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// services stand for four systems of a company. They remember what they were told under which idempotency key, as
// systems do that can be asked again.
type services struct {
	// billingFails is how many calls the billing service refuses before it works.
	billingFails int

	mu      sync.Mutex
	users   map[string]Account // by idempotency key
	billing int                // calls of the billing service
	mails   map[string]bool    // by idempotency key
	status  map[int]string     // by user id
}

var errBillingBusy = errors.New("the billing service is busy")

func newServices(billingFails int) *services {
	return &services{
		billingFails: billingFails, users: map[string]Account{}, mails: map[string]bool{}, status: map[int]string{},
	}
}

// createUser creates the user before it answers, so that a caller can die in between.
func (s *services) createUser(ctx context.Context, key, email string) (Account, error) {
	if err := wait(ctx, 50*time.Millisecond); err != nil {
		return Account{}, err
	}
	s.mu.Lock()
	if _, again := s.users[key]; !again {
		s.users[key] = Account{UserID: len(s.users) + 1, Email: email}
	}
	account := s.users[key]
	s.mu.Unlock()
	return account, wait(ctx, 50*time.Millisecond)
}

func (s *services) createBilling(ctx context.Context, user int, plan string) (Billing, error) {
	if err := wait(ctx, 200*time.Millisecond); err != nil {
		return Billing{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.billing++; s.billing <= s.billingFails {
		return Billing{}, errBillingBusy
	}
	return Billing{UserID: user, Plan: plan}, nil
}

func (s *services) setPreferences(ctx context.Context, user int, newsletter bool) (Preferences, error) {
	return Preferences{UserID: user, Newsletter: newsletter}, wait(ctx, 400*time.Millisecond)
}

func (s *services) sendMail(ctx context.Context, key string) error {
	if err := wait(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails[key] = true
	return nil
}

func (s *services) setStatus(ctx context.Context, user int, status string) error {
	if err := wait(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status[user] = status
	return nil
}

// wait is how long a service takes, unless nobody is interested any more.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
