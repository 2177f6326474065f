package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/tasker-go/tasker/domain"
)

// leases implements domain.Leases. A lease is a key that the server removes when it is not written again in time.
type leases struct{ store *Store }

// leaseValue is what a lease's key holds. The nonce tells two leases of the same holder apart.
type leaseValue struct {
	Holder string `json:"holder"`
	Nonce  string `json:"nonce"`
}

type lease struct {
	store    *Store
	name     string
	value    leaseValue
	ttl      time.Duration
	revision uint64
}

// Acquire implements domain.Leases. The ttl is rounded up to whole seconds, which is what the server counts in.
func (l leases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	if name == "" {
		return nil, errors.New("a lease needs a name")
	}
	a := &lease{store: l.store, name: name, value: leaseValue{holder, nuid.Next()}, ttl: ttl}
	if err := a.acquire(ctx); err != nil {
		return nil, fmt.Errorf("acquiring lease %s: %w", name, err)
	}
	return a, nil
}

func (l *lease) subject() string {
	return "$KV." + l.store.names.bucket("LEASES") + "." + encodeKey(l.name)
}

// acquire writes the key if nobody has it. Between reading and writing it may change hands: then it is read again.
func (l *lease) acquire(ctx context.Context) error {
	revision := uint64(0) // optimistic: nothing was ever under the key
	for {
		err := l.write(ctx, revision)
		if err == nil || !isWrongSequence(err) {
			return err
		}
		current, last, err := l.current(ctx)
		if err != nil {
			return err
		}
		if current != nil {
			return fmt.Errorf("%w: %s", domain.ErrLeaseTaken, current.Holder)
		}
		revision = last
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (l *lease) write(ctx context.Context, revision uint64) error {
	data, err := json.Marshal(l.value)
	if err != nil {
		return err
	}
	seconds := max(1, (l.ttl+time.Second-1)/time.Second)
	header := nats.Header{headerTTL: {strconv.FormatInt(int64(seconds), 10)}}
	for {
		header[headerExpectSubject] = []string{strconv.FormatUint(revision, 10)}
		answer, err := l.store.publishOnce(ctx, &nats.Msg{Subject: l.subject(), Data: data, Header: header})
		if err == nil {
			l.revision = answer
		}
		if !errors.Is(err, nats.ErrNoResponders) {
			return err
		}
		// Nobody listens: there is no leader at the moment, or a server that was alone took the leases with it.
		if err := l.store.restoreLeases(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return unavailable(ctx.Err())
		case <-time.After(reconnectWait):
		}
	}
}

// restoreLeases makes the bucket of the leases again if it is not there. It was empty then, which is as good as if all
// leases had run out.
func (s *Store) restoreLeases(ctx context.Context) error {
	c := s.kvConfig("LEASES")
	if _, err := s.streamInfo(ctx, c.Name); !isCode(err, codeStreamNotFound) {
		return err
	}
	s.opts.Logger.Info("the leases went with the server; making their bucket again")
	return s.createStream(ctx, part{c, false})
}

// current returns who holds the lease, nil when nobody does, and the last sequence under the key.
func (l *lease) current(ctx context.Context) (*leaseValue, uint64, error) {
	m, err := l.store.lastBySubject(ctx, l.store.names.kvStream("LEASES"), l.subject())
	if errors.Is(err, domain.ErrNoMessage) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	gone, err := isGone(m)
	if gone || err != nil {
		return nil, m.Sequence, err
	}
	var v leaseValue
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return nil, 0, fmt.Errorf("the value of the lease: %w", err)
	}
	return &v, m.Sequence, nil
}

// Renew implements domain.Lease. A lease that ran out and that nobody has is taken again.
func (l *lease) Renew(ctx context.Context) error {
	fail := func(err error) error { return fmt.Errorf("renewing lease %s: %w", l.name, err) }
	err := l.write(ctx, l.revision)
	if err == nil {
		return nil
	}
	if !isWrongSequence(err) {
		return fail(err)
	}
	current, last, err := l.current(ctx)
	switch {
	case err != nil:
		return fail(err)
	case current != nil && *current != l.value:
		return fail(fmt.Errorf("%w: %s", domain.ErrLeaseTaken, current.Holder))
	}
	// It ran out, or it is our own renewal whose acknowledgement was lost.
	err = l.write(ctx, last)
	if isWrongSequence(err) {
		return fail(domain.ErrLeaseTaken)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// Release implements domain.Lease. Releasing a lease that was lost does nothing.
func (l *lease) Release(ctx context.Context) error {
	header := nats.Header{headerKVOperation: {"PURGE"}, headerRollup: {"sub"}, headerTTL: {"1"}}
	_, err := l.store.publishGuarded(ctx, l.subject(), nil, l.revision, header)
	if err == nil || isWrongSequence(err) {
		return nil
	}
	return fmt.Errorf("releasing lease %s: %w", l.name, err)
}

// isGone tells the marks that the server and clients leave for removed keys from values. A copy of another stream's message,
// which whoever may read directly can have the server publish here, is no value either.
func isGone(m *storedMessage) (bool, error) {
	header, err := m.headers()
	if err != nil {
		return false, err
	}
	return header.Get(headerMarkerReason) != "" || header.Get(headerKVOperation) != "" || header.Get(headerStream) != "", nil
}
