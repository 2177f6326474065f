package attached

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
)

const (
	retryPause  = time.Second     // before a session that the store failed is begun again
	stopTimeout = 5 * time.Second // for the last cursors, and for giving the lease back
)

// Subscriber is a handler with its options. Run may be called once; the other methods at any time.
type Subscriber struct {
	store   domain.Store
	opts    Options
	handle  Handler
	types   domain.EventSet
	derives bool // types has signals
	holder  string
	logger  *slog.Logger
	running atomic.Bool

	contexts *contexts

	handled, failed, parked atomic.Uint64

	mu      sync.Mutex
	session *session // nil while there is none
}

// New makes a subscriber; an error says what is wrong with its options.
func New(store domain.Store, o Options, h Handler, more ...Setting) (*Subscriber, error) {
	if err := complete(&o); err != nil {
		return nil, err
	}
	types, err := typesOf(o.Types)
	if err != nil {
		return nil, fmt.Errorf("subscriber %q: %w", o.Name, err)
	}
	if h == nil {
		return nil, fmt.Errorf("subscriber %q has no handler", o.Name)
	}
	if o.From.Kind == domain.StartPosition {
		if _, err := cursorOf(store.Data(), o.From.Cursor); err != nil {
			return nil, fmt.Errorf("subscriber %q: %w", o.Name, err)
		}
	}
	set := settingsOf(more)
	host, _ := os.Hostname()
	s := &Subscriber{
		store: store, opts: o, handle: h, types: types, derives: types.Derives(),
		holder: fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8]),
		logger: set.logger.With("subscriber", o.Name),
	}
	s.contexts = newContexts(store, set.definition, s.logger)
	return s, nil
}

// Run is New and Subscriber.Run.
func Run(ctx context.Context, store domain.Store, o Options, h Handler, more ...Setting) error {
	s, err := New(store, o, h, more...)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Run tells the handler of events until ctx ends: then it waits for the handlers that run, writes the cursors and
// returns nil. What it cannot go on from it returns: ErrTrimmed, *MismatchError, *AheadError, *PoisonError,
// *UnreadableError. While NATS is away it waits; while another process has the durable name it waits, too.
func (s *Subscriber) Run(ctx context.Context) error {
	if s.running.Swap(true) {
		return fmt.Errorf("subscriber %q was run before: make another one", s.opts.Name)
	}
	for {
		err := s.attach(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever it was, nobody wants to go on
		}
		if isFinal(err) {
			return fmt.Errorf("subscriber %q: %w", s.opts.Name, err)
		}
		s.logger.Warn("the subscriber begins again from its last cursors", "reason", err)
		pause(ctx, retryPause)
	}
}

// isFinal reports whether trying again would lead to the same.
func isFinal(err error) bool {
	for _, passing := range []error{
		domain.ErrUnavailable, domain.ErrConflict, errLeaseLost, errLeaseStale, errMoved, errEnded,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, passing) {
			var poison *PoisonError // wraps whatever the handler said
			return errors.As(err, &poison)
		}
	}
	return true
}

// attach runs one session, under the lease when the subscriber is durable.
func (s *Subscriber) attach(ctx context.Context) error {
	if s.opts.Name == "" {
		return s.runSession(ctx, nil)
	}
	lease, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.release(ctx, lease)
	return s.runSession(ctx, lease)
}

func (s *Subscriber) runSession(ctx context.Context, lease domain.Lease) error {
	e, err := s.begin(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.session = e
	s.mu.Unlock()
	return e.run(ctx, lease)
}

// begin finds out where every partition goes on. The cursors of a new durable name are written before anything is
// read, so that "new" does not move with a restart.
func (s *Subscriber) begin(ctx context.Context) (*session, error) {
	e := newSession(s)
	for p := range s.store.Data().Partitions {
		from, kept, err := s.startOf(ctx, p)
		if err != nil {
			return nil, err
		}
		e.partitions = append(e.partitions, newPartition(e, p, from, kept))
	}
	return e, nil
}

// startOf writes the cursor, also one that is there: so whoever had it before notices, should its lease have run out.
func (s *Subscriber) startOf(ctx context.Context, partition int) (progress, *keptCursor, error) {
	if s.opts.Name == "" {
		from := s.reached(partition) // it was interrupted, and goes on
		if from.next.Sequence > 0 {
			return from, nil, s.checkStart(ctx, from)
		}
		sequence, err := first(ctx, s.opts.From, s.store, partition)
		return startAt(partition, sequence), nil, err
	}
	k := &keptCursor{store: s.store, key: cursorKey(s.opts.Name, partition), holder: s.holder}
	saved, revision, err := getCursor(ctx, s.store, k.key)
	if errors.Is(err, domain.ErrNoKey) {
		sequence, err := first(ctx, s.opts.From, s.store, partition)
		if err != nil {
			return progress{}, nil, err
		}
		from := startAt(partition, sequence)
		return from, k, k.put(ctx, from)
	}
	if err == nil {
		err = saved.check(s.store.Data(), k.key)
	}
	if err != nil {
		return progress{}, nil, err
	}
	k.revision = revision
	from := saved.progress(partition)
	if err := s.checkStart(ctx, from); err != nil {
		return progress{}, nil, err
	}
	return from, k, k.put(ctx, from)
}

func startAt(partition int, sequence uint64) progress {
	return progress{next: spot{domain.Position{Partition: partition, Sequence: sequence}, 0}}
}

func (s *Subscriber) checkStart(ctx context.Context, from progress) error {
	bounds, err := s.store.Log(from.next.Partition).Bounds(ctx)
	if err != nil {
		return err
	}
	return checkBounds(bounds, from.next.Partition, from.next.Sequence)
}

// reached is where the session before this one came to.
func (s *Subscriber) reached(partition int) progress {
	s.mu.Lock()
	e := s.session
	s.mu.Unlock()
	if e == nil {
		return progress{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.partitions[partition].progress()
}

// Stats counts since New.
type Stats struct {
	Handled    uint64 // events finished by the handler
	Failed     uint64 // tries that failed
	Parked     uint64 // events put into the dead letters
	Unfinished int    // events read and not finished
	Waiting    int    // tasks that wait for their next try
	// Next is by partition the oldest event that is not finished; empty until this process runs the subscriber.
	Next []domain.Position
}

// Stats of this process.
func (s *Subscriber) Stats() Stats {
	st := Stats{Handled: s.handled.Load(), Failed: s.failed.Load(), Parked: s.parked.Load()}
	s.mu.Lock()
	e := s.session
	s.mu.Unlock()
	if e == nil {
		return st
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	st.Waiting = e.waiting
	for _, p := range e.partitions {
		st.Unfinished += p.unfinished
		st.Next = append(st.Next, p.cursor().Position)
	}
	return st
}

// Lag is by partition how many commits stand in the log from the oldest unfinished event on. While another process
// runs the subscriber, or nobody, it is what the written cursors say.
func (s *Subscriber) Lag(ctx context.Context) ([]uint64, error) {
	next := s.Stats().Next
	lags := make([]uint64, s.store.Data().Partitions)
	for p := range lags {
		at := domain.Position{Partition: p}
		if p < len(next) {
			at = next[p]
		} else if s.opts.Name != "" {
			saved, _, err := getCursor(ctx, s.store, cursorKey(s.opts.Name, p))
			if err != nil && !errors.Is(err, domain.ErrNoKey) {
				return nil, fmt.Errorf("subscriber %q: %w", s.opts.Name, err)
			}
			at = saved.position(p)
		}
		if at.Sequence == 0 {
			continue // not started yet
		}
		lag, err := lagOf(ctx, s.store, at)
		if err != nil {
			return nil, fmt.Errorf("subscriber %q: %w", s.opts.Name, err)
		}
		lags[p] = lag
	}
	return lags, nil
}
