package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Patience of the intake.
const (
	// unknownPatience is how long a definition that nobody knows is waited for.
	unknownPatience = 10 * time.Second
	// oddPatience is how long a request is tried again that fails for a reason which the engine does not know.
	oddPatience = time.Hour

	retryFirst  = 100 * time.Millisecond // doubles with every delivery
	retryMost   = 5 * time.Second
	oddMost     = 30 * time.Second
	unknownWait = 2 * time.Second

	intakeStop = 2 * time.Second // for what is in hand when the engine stops
	intakeSay  = time.Second     // between two lines in the log
)

// IntakeStats count what this process has done for foreign clients, since New.
type IntakeStats struct {
	Accepted uint64 // requests for which a task was created
	Repeated uint64 // requests whose task was there already
	Refused  uint64 // requests that went to the dead letters, or were answered with an error that is not retryable
	Retried  uint64 // times that a request was put back, or answered with a retryable error
	InHand   int64  // requests that are being decided
}

// intake serves foreign clients while the engine runs.
type intake struct {
	engine    *Engine
	port      domain.Intake
	began     time.Time
	stopQueue func(ctx context.Context)
	stopCalls func()

	accepted, repeated, refused, retried atomic.Uint64
	inHand                               atomic.Int64

	said sayer
}

func (i *intake) stats() IntakeStats {
	return IntakeStats{
		Accepted: i.accepted.Load(), Repeated: i.repeated.Load(), Refused: i.refused.Load(), Retried: i.retried.Load(),
		InHand: i.inHand.Load(),
	}
}

// start takes part, if the store has an intake and nothing was said against it.
func (i *intake) start(e *Engine) {
	port, ok := e.store.(domain.Intake)
	if !ok || e.config.NoIntake {
		return
	}
	i.engine, i.port, i.began = e, port, e.config.Clock()
	i.stopQueue = port.ServeIntake(i.published)
	var err error
	if i.stopCalls, err = port.ServeIntakeRequests(i.requested); err != nil {
		e.config.Logger.Error("requests of foreign clients are not answered by this engine", "error", err)
	}
}

// stop waits for a moment for what is in hand, and puts back the rest. A second call does nothing.
func (i *intake) stop() {
	if i.stopCalls != nil {
		i.stopCalls()
		i.stopCalls = nil
	}
	if i.stopQueue != nil {
		ctx, cancel := context.WithTimeout(context.Background(), intakeStop)
		defer cancel()
		i.stopQueue(ctx)
		i.stopQueue = nil
	}
}

// published decides about a message of the stream.
func (i *intake) published(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
	i.inHand.Add(1)
	defer i.inHand.Add(-1)
	replyTo := header(m, domain.HeaderReplyTo)
	if replyTo != "" {
		if err := i.port.CheckReply(replyTo); err != nil {
			return i.bury(ctx, m, Receipt{}, err, "")
		}
	}
	receipt, err := i.accept(ctx, m)
	if err == nil {
		i.count(receipt)
		i.reply(replyTo, receipt, nil)
		return domain.IntakeVerdict{}
	}
	if ctx.Err() != nil {
		return domain.IntakeVerdict{Again: time.Millisecond} // this engine stops; others may take it
	}
	fate := fateOf(err)
	waited := i.engine.config.Clock().Sub(later(m.Stored, i.began))
	switch {
	case fate.retryable:
		return i.again(m, err, domain.IntakeVerdict{Again: backoff(m.Deliveries, retryMost), Busy: fate.busy})
	case fate.unknown && (waited < unknownPatience || m.Deliveries < 3):
		return i.again(m, err, domain.IntakeVerdict{Again: unknownWait})
	case fate.odd && waited < oddPatience:
		return i.again(m, err, domain.IntakeVerdict{Again: backoff(m.Deliveries, oddMost)})
	}
	return i.bury(ctx, m, receipt, err, replyTo)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func backoff(deliveries int, most time.Duration) time.Duration {
	return min(retryFirst<<min(max(deliveries-1, 0), 16), most)
}

func (i *intake) again(m domain.IntakeMessage, err error, v domain.IntakeVerdict) domain.IntakeVerdict {
	i.retried.Add(1)
	if n, ok := i.said.may("again"); ok {
		i.engine.config.Logger.Warn("a request of the intake waits", "subject", m.Subject, "sequence", m.Sequence, "deliveries", m.Deliveries,
			"again", v.Again, "error", err, "more_like_it", n)
	}
	return v
}

// bury puts a message into the dead letters. When that cannot be done it comes again: nothing is acknowledged that is
// neither a task nor a letter.
func (i *intake) bury(ctx context.Context, m domain.IntakeMessage, receipt Receipt, err error, replyTo string) domain.IntakeVerdict {
	letter := domain.DeadLetter{
		Kind: LetterSubmission, Name: targetName(m), Reason: err.Error(),
		Once: fmt.Sprintf("intake-%s-%d-%d", i.engine.store.Data().ID, m.Sequence, m.Stored.UnixNano()),
		Headers: map[string]string{
			"Tasker-Code":       fateOf(err).code,
			"Tasker-Sequence":   strconv.FormatUint(m.Sequence, 10),
			"Tasker-Published":  m.Stored.UTC().Format(time.RFC3339Nano),
			"Tasker-Deliveries": strconv.Itoa(m.Deliveries),
		},
		Subject: m.Subject, Original: m.Header, Data: m.Data,
	}
	if errors.Is(err, ErrIdempotencyMismatch) { // the task that has the key
		letter.Headers["Tasker-Task"] = receipt.ID.String()
	}
	if failed := i.engine.store.DeadLetters().Put(ctx, letter); failed != nil {
		if n, ok := i.said.may("letter"); ok && ctx.Err() == nil {
			i.engine.config.Logger.Error("a request cannot be accepted, nor put into the dead letters; it comes again",
				"subject", m.Subject, "sequence", m.Sequence, "error", failed, "reason", err, "more_like_it", n)
		}
		return domain.IntakeVerdict{Again: retryMost, Busy: true}
	}
	i.refused.Add(1)
	if n, ok := i.said.may("refused"); ok {
		i.engine.config.Logger.Warn("a request went to the dead letters; see tasker dead list", "subject", m.Subject, "sequence", m.Sequence,
			"reason", err, "more_like_it", n)
	}
	i.reply(replyTo, receipt, err)
	return domain.IntakeVerdict{}
}

// requested answers a message that waits for its answer.
func (i *intake) requested(ctx context.Context, m domain.IntakeMessage) []byte {
	i.inHand.Add(1)
	defer i.inHand.Add(-1)
	receipt, err := i.accept(ctx, m)
	switch {
	case err == nil:
		i.count(receipt)
	case fateOf(err).retryable:
		i.retried.Add(1)
	default:
		i.refused.Add(1)
	}
	return answerText(receipt, err)
}

func (i *intake) count(r Receipt) {
	if r.Created {
		i.accepted.Add(1)
	} else {
		i.repeated.Add(1)
	}
}

func (i *intake) reply(to string, receipt Receipt, err error) {
	if to == "" {
		return
	}
	if failed := i.port.Reply(to, answerText(receipt, err)); failed != nil {
		if n, ok := i.said.may("reply"); ok {
			i.engine.config.Logger.Warn("an answer could not be sent", "subject", to, "error", failed, "more_like_it", n)
		}
	}
}

// answerText is an answer as it travels.
func answerText(receipt Receipt, err error) []byte {
	var a domain.IntakeAnswer
	if err == nil {
		a = domain.IntakeAnswer{Task: receipt.ID, Position: &receipt.Position, Created: receipt.Created}
	} else {
		fate := fateOf(err)
		a.Error = &domain.IntakeError{Code: fate.code, Message: err.Error(), Detail: toWire(err).Detail, Retryable: fate.retryable}
		if errors.Is(err, ErrIdempotencyMismatch) || fate.retryable {
			a.Task = receipt.ID
		}
	}
	text, err := json.Marshal(a)
	if err != nil || len(text) > largestAnswer {
		text, _ = json.Marshal(domain.IntakeAnswer{Error: &domain.IntakeError{Code: fateOf(err).code, Message: "the answer is too large to be sent"}})
	}
	return text
}

// accept makes a task of a message. A panic is held to the message that led to it.
func (i *intake) accept(ctx context.Context, m domain.IntakeMessage) (receipt Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			i.engine.config.Logger.Error("a request made the engine panic", "subject", m.Subject, "sequence", m.Sequence, "panic", p, "stack", string(debug.Stack()))
			err = &intakePanic{p}
		}
	}()
	s, err := i.engine.submissionOf(ctx, m)
	if err != nil {
		return Receipt{}, err
	}
	return i.engine.SubmitRequest(ctx, s)
}

type intakePanic struct{ value any }

func (e *intakePanic) Error() string {
	return fmt.Sprintf("the request made the engine panic (%v); please report this", e.value)
}

// sayer lets one line of a kind through per second, and counts the others: whoever publishes garbage must not fill the disk
// with lines about it.
type sayer struct {
	mu    sync.Mutex
	kinds map[string]*said
}

type said struct {
	next time.Time
	more int
}

// may reports whether a line may be written, and how many of its kind were not since the last one.
func (s *sayer) may(kind string) (more int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds == nil {
		s.kinds = map[string]*said{}
	}
	k := s.kinds[kind]
	if k == nil {
		k = &said{}
		s.kinds[kind] = k
	}
	now := time.Now()
	if now.Before(k.next) {
		k.more++
		return 0, false
	}
	more, k.more, k.next = k.more, 0, now.Add(intakeSay)
	return more, true
}
