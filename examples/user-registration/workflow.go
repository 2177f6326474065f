package main

import (
	"context"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// Registration is the context of the task.
type Registration struct {
	Email      string `json:"email"`
	Plan       string `json:"plan,omitempty"`
	Newsletter bool   `json:"newsletter"`
}

// Account is the result of create_user_account.
type Account struct {
	UserID int    `json:"user_id"`
	Email  string `json:"email"`
}

// Billing is the result of setup_billing_profile.
type Billing struct {
	UserID int    `json:"user_id"`
	Plan   string `json:"plan"`
}

// Preferences are the result of initialize_preferences.
type Preferences struct {
	UserID     int  `json:"user_id"`
	Newsletter bool `json:"newsletter"`
}

// Welcome is the result of send_welcome_sequence.
type Welcome struct {
	UserID int      `json:"user_id"`
	Mails  []string `json:"mails"`
}

// Status is the result of update_user_status, and of the task.
type Status struct {
	UserID int    `json:"user_id"`
	Status string `json:"status"`
}

const schema = `{
	"type": "object",
	"required": ["email"],
	"properties": {
		"email": {"type": "string", "format": "email"},
		"plan": {"enum": ["free", "pro"], "default": "free"},
		"newsletter": {"type": "boolean", "default": true}
	}
}`

// workflow is the definition with its handlers. Both steps behind create_user_account run at the same time.
func (s *services) workflow() *tasker.Workflow {
	return tasker.Define("user_registration").
		Description("Create an account, set it up in two systems at once, welcome the user").
		Schema(schema).
		Step("create_user_account", tasker.Handle(s.account), tasker.DependentSystem("users")).
		Step("setup_billing_profile", tasker.Handle(s.billingProfile), tasker.After("create_user_account"),
			tasker.DependentSystem("billing"), tasker.Retries(3),
			tasker.WithBackoff(tasker.Backoff{Strategy: domain.StrategyFixed, Base: 300 * time.Millisecond, Jitter: domain.NoJitter})).
		Step("initialize_preferences", tasker.Handle(s.preferences), tasker.After("create_user_account"),
			tasker.DependentSystem("preferences")).
		Step("send_welcome_sequence", tasker.Handle(s.welcome),
			tasker.After("setup_billing_profile", "initialize_preferences"), tasker.DependentSystem("mail"), tasker.Retries(5)).
		Step("update_user_status", tasker.Handle(s.activate), tasker.After("send_welcome_sequence"),
			tasker.DependentSystem("users"), tasker.Retries(2)).
		Output("update_user_status").
		MustBuild()
}

func (s *services) account(ctx context.Context, in Registration) (Account, error) {
	step, _ := tasker.StepOf(ctx) // every attempt sends the same key, so nobody is created twice
	return s.createUser(ctx, step.IdempotencyKey, in.Email)
}

func (s *services) billingProfile(ctx context.Context, in Registration) (Billing, error) {
	account, err := tasker.ResultOf[Account](ctx, "create_user_account")
	if err != nil {
		return Billing{}, err
	}
	return s.createBilling(ctx, account.UserID, in.Plan)
}

func (s *services) preferences(ctx context.Context, in Registration) (Preferences, error) {
	account, err := tasker.ResultOf[Account](ctx, "create_user_account")
	if err != nil {
		return Preferences{}, err
	}
	return s.setPreferences(ctx, account.UserID, in.Newsletter)
}

// welcome sends each mail under a key of its own: an attempt that breaks off after the first mail repeats no mail.
func (s *services) welcome(ctx context.Context, _ Registration) (Welcome, error) {
	billing, err := tasker.ResultOf[Billing](ctx, "setup_billing_profile")
	if err != nil {
		return Welcome{}, err
	}
	preferences, err := tasker.ResultOf[Preferences](ctx, "initialize_preferences")
	if err != nil {
		return Welcome{}, err
	}
	mails := []string{"welcome to the " + billing.Plan + " plan"}
	if preferences.Newsletter {
		mails = append(mails, "newsletter")
	}
	step, _ := tasker.StepOf(ctx)
	for _, mail := range mails {
		if err := s.sendMail(ctx, step.IdempotencyKey+"/"+mail); err != nil {
			return Welcome{}, err
		}
	}
	return Welcome{UserID: preferences.UserID, Mails: mails}, nil
}

func (s *services) activate(ctx context.Context, _ Registration) (Status, error) {
	welcome, err := tasker.ResultOf[Welcome](ctx, "send_welcome_sequence")
	if err != nil {
		return Status{}, err
	}
	return Status{UserID: welcome.UserID, Status: "active"}, s.setStatus(ctx, welcome.UserID, "active")
}
