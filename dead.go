package tasker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// Kinds of dead letters.
const (
	LetterSubmission = "submission" // a request to the intake that was refused; Name is namespace.name
	LetterSubscriber = "subscriber" // an event that a subscriber could not handle; Name is the subscriber's
)

// DeadLetter is something that could not be accepted or delivered, with the reason. Its Sequence names it.
type DeadLetter = domain.StoredLetter

// DeadLetterFilter chooses dead letters.
type DeadLetterFilter = domain.LetterFilter

// DeadLetterNotFoundError: there is no such dead letter (any more): they are kept for 30 days.
type DeadLetterNotFoundError struct{ Sequence uint64 }

func (e *DeadLetterNotFoundError) Error() string {
	return fmt.Sprintf("there is no dead letter %d (any more)", e.Sequence)
}

// NotRequeuableError: a dead letter cannot be sent again, and stays where it is. Hint is what to do instead.
type NotRequeuableError struct {
	Sequence     uint64
	Reason, Hint string
}

func (e *NotRequeuableError) Error() string {
	return fmt.Sprintf("dead letter %d cannot be requeued: %s", e.Sequence, e.Reason)
}

// DeadLetters lists dead letters without their Data, oldest first.
func (r *router) DeadLetters(ctx context.Context, filter DeadLetterFilter) ([]DeadLetter, error) {
	return r.store.DeadLetters().List(ctx, filter)
}

// DeadLetter returns one with its Data. Error: *DeadLetterNotFoundError.
func (r *router) DeadLetter(ctx context.Context, sequence uint64) (DeadLetter, error) {
	letter, err := r.store.DeadLetters().Get(ctx, sequence)
	return letter, letterError(sequence, err)
}

// DropDeadLetter removes one for good. Error: *DeadLetterNotFoundError.
func (r *router) DropDeadLetter(ctx context.Context, sequence uint64) error {
	return letterError(sequence, r.store.DeadLetters().Delete(ctx, sequence))
}

// DropDeadLetters removes all of a kind for good, "" = all, and returns how many there were.
func (r *router) DropDeadLetters(ctx context.Context, kind string) (uint64, error) {
	return r.store.DeadLetters().DeleteAll(ctx, kind)
}

func letterError(sequence uint64, err error) error {
	if errors.Is(err, domain.ErrNoMessage) {
		return &DeadLetterNotFoundError{sequence}
	}
	return err
}

// Requeue puts a dead submission back into the intake and removes the letter; input, if it is not nil, takes the place of the
// task's input (anything that encodes to a JSON object). Version, key, tags and the like stay as they were, and so does what
// makes it the same task as other messages with its id. Nobody is told the answer: whoever waited has gone. What is refused
// again is a new dead letter. After a crash in the middle the letter is there still; requeued again it is the same task.
//
// Errors: *NotRequeuableError; *DeadLetterNotFoundError; domain.ErrIntakeFull.
func (r *router) Requeue(ctx context.Context, sequence uint64, input any) error {
	letter, err := r.DeadLetter(ctx, sequence)
	if err != nil {
		return err
	}
	refuse := func(reason, hint string) error {
		return &NotRequeuableError{Sequence: sequence, Reason: reason, Hint: hint}
	}
	port, ok := r.store.(domain.Intake)
	switch {
	case letter.Kind == LetterSubscriber:
		return refuse("it is an event that a subscriber could not handle, and what came after it in its task has been handled since",
			"let the subscriber's program call Redeliver, or handle it by hand and drop it")
	case letter.Kind != LetterSubmission:
		return refuse("it is no submission", "see what it is, and drop it")
	case letter.Truncated != "":
		return refuse("it is not whole: it was too large to be kept", "submit the task anew, and drop it")
	case !ok:
		return refuse("this store has no intake", "submit the task anew, and drop it")
	}
	_, rest, _ := strings.Cut(letter.Subject, ".submit.task.")
	target := strings.Split(rest, ".")
	body, err := requeuedBody(letter.Data, input)
	if err != nil {
		return refuse(err.Error(), "give it an input that is a JSON object")
	}
	if _, err := domain.ParseIntakeRequest(target, body); err != nil {
		hint := "give it another input, or submit the task anew and drop it"
		if _, wrong := domain.ParseIntakeRequest(target, nil); wrong != nil {
			hint = "submit the task anew, and drop it"
		}
		return refuse("it would be refused again: "+err.Error(), hint)
	}
	if err := port.PublishIntake(ctx, target, r.requeuedHeader(letter, body), body); err != nil {
		return err
	}
	if err := r.DropDeadLetter(ctx, sequence); err != nil {
		var gone *DeadLetterNotFoundError
		if !errors.As(err, &gone) { // another operator did the same, and it is one task
			return fmt.Errorf("dead letter %d is requeued, but still there; drop it: %w", sequence, err)
		}
	}
	return nil
}

// requeuedBody is the old body, with another input.
func requeuedBody(body []byte, input any) ([]byte, error) {
	if input == nil {
		return body, nil
	}
	text, err := contextOf(input)
	if err != nil {
		return nil, fmt.Errorf("the new input: %w", err)
	}
	var q domain.IntakeRequest
	if err := json.Unmarshal(body, &q); err != nil {
		q = domain.IntakeRequest{} // there is nothing in it to keep
	}
	q.Namespace, q.Name, q.Context = "", "", text // the subject names the definition
	return json.Marshal(q)
}

// requeuedHeader keeps what the request's identity rests on, where NATS does not look for it: NATS would drop the message as
// one that it has had. The rest of what NATS acts on is not kept, nor is the answer wanted.
func (r *router) requeuedHeader(letter DeadLetter, body []byte) map[string][]string {
	keep := maps.Clone(letter.Original)
	if keep == nil {
		keep = map[string][]string{}
	}
	maps.DeleteFunc(keep, func(name string, _ []string) bool {
		return strings.HasPrefix(name, "Nats-") || name == domain.HeaderReplyTo
	})
	if keep[domain.HeaderRequeued] == nil {
		id := letter.Original[domain.HeaderMessageID]
		if len(id) == 0 {
			id = []string{fmt.Sprintf("dead-%s-%d", r.store.Data().ID, letter.Sequence)}
		}
		keep[domain.HeaderRequeued] = id
	}
	sum := sha256.Sum256(body)
	keep[domain.HeaderMessageID] = []string{fmt.Sprintf("requeue-%d-%s", letter.Sequence, hex.EncodeToString(sum[:8]))}
	return keep
}

// Redeliver hands the events that were parked for a subscriber to handle, oldest first and one after the other, and removes the
// letter of each that it has handled. It is for the subscriber's own program, after its mistake was mended: events of a
// task that came later have been handled before, which only the program can judge. The first error ends it; that event and
// those behind it stay parked. handled is how many were.
func (r *router) Redeliver(ctx context.Context, subscriber string, handle func(ctx context.Context, e Event) error) (handled int, err error) {
	letters, err := r.DeadLetters(ctx, DeadLetterFilter{Kind: LetterSubscriber})
	if err != nil {
		return 0, err
	}
	for _, l := range letters {
		if l.Name != subscriber {
			continue
		}
		event, err := r.parked(ctx, l.Sequence)
		var gone *DeadLetterNotFoundError
		if errors.As(err, &gone) {
			continue
		}
		if err == nil {
			err = handle(ctx, event)
		}
		if err == nil {
			err = r.DropDeadLetter(ctx, l.Sequence)
		}
		if err != nil && !errors.As(err, &gone) {
			return handled, fmt.Errorf("dead letter %d: %w", l.Sequence, err)
		}
		handled++
	}
	return handled, nil
}

// parked reads an event out of its letter, which the log need not have any more; a signal is derived from the log again.
func (r *router) parked(ctx context.Context, sequence uint64) (Event, error) {
	letter, err := r.DeadLetter(ctx, sequence)
	if err != nil {
		return Event{}, err
	}
	at, err := domain.ParsePosition(letter.Headers["Tasker-Event"])
	if err != nil {
		return Event{}, fmt.Errorf("its header Tasker-Event: %w", err)
	}
	wanted := EventType(letter.Headers["Tasker-Type"])
	types, err := domain.NewEventSet([]EventType{wanted})
	if err != nil {
		return Event{}, fmt.Errorf("its header Tasker-Type: %w", err)
	}
	if !types.Derives() {
		commit, err := domain.DecodeCommit(letter.Data, at.Partition, at.Sequence)
		if err != nil {
			return Event{}, err
		}
		if len(commit.Records) != 1 {
			return Event{}, fmt.Errorf("it has %d events, want 1", len(commit.Records))
		}
		e := commit.Records[0]
		e.Position = at
		return e, nil
	}
	data := r.store.Data()
	after := domain.Cursor{DataID: data.ID, Sequences: map[int]uint64{at.Partition: at.Sequence - 1}}
	until := domain.Cursor{DataID: data.ID, Sequences: map[int]uint64{at.Partition: at.Sequence}}
	o := ReplayOptions{Types: []EventType{wanted}, From: domain.FromPosition(after.String()), Until: domain.UntilPosition(until.String())}
	for e, err := range r.Replay(ctx, o) {
		if err != nil {
			return Event{}, err
		}
		if e.Position == at {
			return e, nil
		}
	}
	return Event{}, fmt.Errorf("event %s: %w", letter.Headers["Tasker-Event"], domain.ErrNoMessage)
}
