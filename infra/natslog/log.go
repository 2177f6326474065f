package natslog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
)

// waiting is the number of appends whose acknowledgements can be told apart. A coordinator has one in flight, and
// repeats it; what is older than this many appends is never answered.
const waiting = 256

// partitionLog implements domain.Log on one stream.
type partitionLog struct {
	store     *Store
	nc        *nats.Conn // for appends only, so that no reader delays an acknowledgement
	partition int
	stream    string
	subject   string
	replicas  int
	inbox     string // an acknowledgement comes to <inbox>.<token>

	mu     sync.Mutex
	msg    nats.Msg // reused by every append
	last   []string // the value of the header that guards it
	commit []string
	token  uint64
	wait   [waiting]waiter
}

type waiter struct {
	token uint64
	done  func(uint64, error)
}

func newPartitionLog(s *Store, partition int, nc *nats.Conn) (*partitionLog, error) {
	g := s.data.Generation
	l := &partitionLog{
		store: s, nc: nc, partition: partition,
		stream: s.names.log(g, partition), subject: s.names.logSubject(g, partition),
		replicas: s.replicas,
		inbox:    nc.NewInbox(), last: []string{""}, commit: []string{""},
	}
	l.msg = nats.Msg{Subject: l.subject, Header: nats.Header{headerExpectSequence: l.last, headerCommit: l.commit}}
	sub, err := nc.Subscribe(l.inbox+".*", l.acknowledged)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.FlushTimeout(answerTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribing to the acknowledgements of stream %s: %w", l.stream, unavailable(err))
	}
	return l, nil
}

// Append implements domain.Log. It does not wait for the server, but for a connection that takes no bytes up to 5 s, after
// which the connection is given up. done is not called by the calling goroutine. An error that wraps domain.ErrNotStored is about this send only: when the same bytes
// were sent before, an earlier send may still be stored.
func (l *partitionLog) Append(last uint64, commitID string, data []byte, done func(uint64, error)) {
	l.mu.Lock()
	l.token++
	token := l.token
	l.wait[token%waiting] = waiter{token, done}
	l.last[0] = strconv.FormatUint(last, 10)
	l.commit[0] = commitID
	l.msg.Reply = l.inbox + "." + strconv.FormatUint(token, 36)
	l.msg.Data = data
	err := l.nc.PublishMsg(&l.msg)
	l.msg.Data = nil
	l.mu.Unlock()
	if err != nil {
		go l.answer(token, 0, err) // the caller may be the one that has to take the answer
	}
}

// acknowledged runs on the subscription's goroutine.
func (l *partitionLog) acknowledged(m *nats.Msg) {
	token, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	sequence, err := parseAck(m)
	l.answer(token, sequence, err)
}

// answer drops what nobody waits for any more: a doubled acknowledgement, or one of long ago.
func (l *partitionLog) answer(token, sequence uint64, err error) {
	l.mu.Lock()
	w := &l.wait[token%waiting]
	if w.token != token || w.done == nil {
		l.mu.Unlock()
		return
	}
	done := w.done
	w.done = nil
	l.mu.Unlock()
	if err != nil {
		if notStored(err, l.replicas) {
			err = fmt.Errorf("%w: %w", domain.ErrNotStored, err)
		} else {
			err = unavailable(err)
		}
		err = fmt.Errorf("appending to stream %s: %w", l.stream, err)
	}
	done(sequence, err)
}

// Read implements domain.Log.
func (l *partitionLog) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	fail := func(err error) (domain.Message, error) {
		return domain.Message{}, fmt.Errorf("reading message %d of stream %s: %w", sequence, l.stream, err)
	}
	if sequence == 0 {
		return fail(domain.ErrNoMessage)
	}
	m, err := l.store.getMessage(ctx, l.stream, getRequest{Sequence: sequence})
	if err != nil {
		return fail(l.missing(err))
	}
	header, err := m.headers()
	if err != nil {
		return fail(err)
	}
	return domain.Message{Sequence: m.Sequence, CommitID: l.commitID(m.Subject, header), Data: m.Data, Time: m.Time}, nil
}

// commitID is the commit that a message of the log says that it is; "" for a foreign one. Who may only read can have the server
// publish copies of commits: by a push consumer that delivers to another partition's subject (the copy keeps the subject of
// its stream), or by a direct read whose reply subject is that of a log (the copy says which stream it is from). They are
// foreign messages, whatever their headers say.
func (l *partitionLog) commitID(subject string, header nats.Header) string {
	if subject != l.subject || header.Get(headerStream) != "" {
		return ""
	}
	return header.Get(headerCommit)
}

// Bounds implements domain.Log.
func (l *partitionLog) Bounds(ctx context.Context) (domain.LogBounds, error) {
	info, err := l.store.streamInfo(ctx, l.stream)
	if err != nil {
		return domain.LogBounds{}, fmt.Errorf("asking for the bounds of stream %s: %w", l.stream, l.missing(err))
	}
	b := domain.LogBounds{First: info.State.FirstSeq, Last: info.State.LastSeq, Bytes: info.State.Bytes}
	if info.State.Msgs == 0 {
		b.First = b.Last + 1
	}
	return b, nil
}

func (l *partitionLog) missing(err error) error {
	if isCode(err, codeStreamNotFound) {
		return &domain.StreamMissingError{Stream: l.stream, DataID: l.store.data.ID}
	}
	return err
}

// SequenceAt implements domain.Log.
func (l *partitionLog) SequenceAt(ctx context.Context, t time.Time) (uint64, error) {
	b, err := l.Bounds(ctx) // first: what is appended after it is not "none"
	if err != nil {
		return 0, err
	}
	t = t.UTC()
	m, err := l.store.getMessage(ctx, l.stream, getRequest{StartTime: &t, NextBySubj: l.subject, OmitHeaders: true})
	if errors.Is(err, domain.ErrNoMessage) {
		return b.Last + 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the first message after %s in stream %s: %w", t.Format(time.RFC3339Nano), l.stream, err)
	}
	return m.Sequence, nil
}

// Trim implements domain.Log. It refuses to remove more than there is, because that would move the last sequence, which
// guards the next append.
func (l *partitionLog) Trim(ctx context.Context, before uint64) error {
	if before <= 1 {
		return nil
	}
	b, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	if before <= b.First {
		return nil
	}
	if before > b.Last+1 {
		return fmt.Errorf("trimming stream %s below %d: its last message is %d", l.stream, before, b.Last)
	}
	if err := l.store.purge(ctx, l.stream, before, ""); err != nil {
		return fmt.Errorf("trimming stream %s below %d: %w", l.stream, before, err)
	}
	return nil
}
