package webhook

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Options are what the process gives to a webhook. Event is required.
type Options struct {
	// Event describes a record. It is called on the goroutines that deliver.
	Event func(ctx context.Context, r domain.Record) (domain.CloudEvent, error)
	// Logger; nil discards.
	Logger *slog.Logger
}

// Webhook delivers events to one receiver. Its methods may be called from any goroutine.
type Webhook struct {
	config  Config
	event   func(context.Context, domain.Record) (domain.CloudEvent, error)
	types   domain.EventSet
	target  *url.URL
	where   string // scheme and host: the rest of a url may be secret
	private bool   // the receiver is told something that must not be seen in an error
	keys    [][]byte
	client  *http.Client
	logger  *slog.Logger

	mu    sync.Mutex
	until time.Time // nothing is sent before: the receiver asked for it
}

// New makes a webhook, which does nothing before Run or Handle. The error is a *ConfigError.
func New(c Config, o Options) (*Webhook, error) {
	if o.Event == nil {
		return nil, errNoHandler
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	target, err := c.target()
	if err != nil {
		return nil, err
	}
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	w := &Webhook{config: c, event: o.Event, target: target, where: target.Scheme + "://" + target.Host, logger: o.Logger}
	if w.logger == nil {
		w.logger = slog.New(slog.DiscardHandler)
	}
	w.logger = w.logger.With("webhook", c.Name)
	w.types, _ = domain.NewEventSet(c.Types) // complete has read them
	w.private = target.User != nil || target.RawQuery != "" || len(c.Headers) > 0
	secrets := []string{c.Secret}
	if c.Previous != "" {
		secrets = append(secrets, c.Previous)
	}
	if w.keys, err = parseSecrets(secrets); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		// A proxy would be asked to go where this process must not.
		Proxy:       nil,
		DialContext: dialer(c.Allow, target.Scheme == "http", c.Timeout).DialContext,
		// HTTP/1.1 only: a connection belongs to one delivery at a time, and is closed with it.
		Protocols:           &http.Protocols{},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: c.Timeout, MaxResponseHeaderBytes: maxHeaders,
		MaxConnsPerHost: c.Concurrency, MaxIdleConnsPerHost: c.Concurrency, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	transport.Protocols.SetHTTP1(true)
	w.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the body is signed for this receiver only
	}}
	return w, nil
}

// Name is the webhook's.
func (w *Webhook) Name() string { return w.config.Name }

// Receiver is scheme and host of the url, for people.
func (w *Webhook) Receiver() string { return w.where }

// SubscriptionName is the durable name that a webhook runs under.
func SubscriptionName(webhook string) string { return "webhook-" + webhook }

// Subscription is what the webhook asks for.
func (w *Webhook) Subscription() domain.Subscription {
	types := w.config.Types
	if len(types) > 0 && !w.types.HasType(domain.TaskCreatedType) {
		types = append(slices.Clone(types), domain.TaskCreatedType) // which says what a task is made of, cheaper than looking it up
	}
	return domain.Subscription{
		Name: SubscriptionName(w.config.Name), Types: types, From: w.config.From, Lanes: w.config.Concurrency, Tries: w.config.Tries,
	}
}

// Run delivers until ctx ends, or the receiver answers 410: then it returns ErrGone, the event is not finished and comes again
// when the webhook is run again. Other errors are the subscription's. One Run at a time.
func (w *Webhook) Run(ctx context.Context, s domain.Subscriptions) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer w.client.CloseIdleConnections()
	err := s.Subscribe(ctx, w.Subscription(), func(in context.Context, r domain.Record) error {
		err := w.Handle(in, r)
		if errors.Is(err, ErrGone) {
			stop(err)
			<-in.Done() // what fails after the end is no try
		}
		return err
	})
	if cause := context.Cause(ctx); errors.Is(cause, ErrGone) {
		return fmt.Errorf("webhook %q: %w", w.config.Name, cause)
	}
	if err != nil {
		return fmt.Errorf("webhook %q: %w", w.config.Name, err)
	}
	return nil
}

// Handle delivers one event, or passes over one that nobody wants. It is the handler of a subscription: an error is a failed
// try (domain.Permanent, domain.RetryAfter).
func (w *Webhook) Handle(ctx context.Context, r domain.Record) error {
	event, err := w.event(ctx, r)
	if err != nil {
		return err
	}
	if !w.types.Has(r.Event) || !w.wants(&event) {
		return nil
	}
	return w.deliver(ctx, &event)
}

func (w *Webhook) wants(e *domain.CloudEvent) bool {
	if len(w.config.Namespaces) == 0 && len(w.config.Definitions) == 0 {
		return true
	}
	if e.Definition == "" { // a fact without a task, or a task of which nobody knows
		if e.Subject != "" {
			w.logger.Warn("an event is left out: the beginning of its task is not in the log any more, and with it its definition",
				"event", e.ID, "type", e.Type, "task", e.Subject)
		}
		return false
	}
	return (len(w.config.Namespaces) == 0 || slices.Contains(w.config.Namespaces, cmp.Or(e.Namespace, domain.DefaultNamespace))) &&
		(len(w.config.Definitions) == 0 || slices.ContainsFunc(w.config.Definitions, func(of string) bool {
			name, version, versioned := strings.Cut(of, "@")
			return name == e.Definition && (!versioned || version == e.DefinitionVersion)
		}))
}

// hold sends nothing for a while.
func (w *Webhook) hold(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until := time.Now().Add(d); until.After(w.until) {
		w.until = until
	}
}

// wait returns when something may be sent.
func (w *Webhook) wait(ctx context.Context) error {
	for {
		w.mu.Lock()
		d := time.Until(w.until)
		w.mu.Unlock()
		if d <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(d)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
