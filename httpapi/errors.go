package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// errStopping ends what goes on for long when the server stops.
var errStopping = newProblem(http.StatusServiceUnavailable, CodeStopping, "the server is stopping", "connect again")

// outcome is what becomes of an error of the face.
type outcome struct {
	status     int
	code       Code
	hint       string
	retryAfter time.Duration
}

// sentinels are tried in this order: an unknown outcome wraps its cause.
var sentinels = []struct {
	is error
	outcome
}{
	{tasker.ErrOutcomeUnknown, outcome{http.StatusGatewayTimeout, CodeOutcomeUnknown,
		"it may have been stored: ask for the task, or send a submission again with the same id or key", time.Second}},
	{tasker.ErrTaskNotFound, outcome{http.StatusNotFound, CodeTaskNotFound, "see GET /api/v1/tasks; what ended longer ago than the retention is gone", 0}},
	{tasker.ErrUnknownStep, outcome{http.StatusNotFound, CodeStepNotFound, "see GET /api/v1/tasks/{id}/steps", 0}},
	{tasker.ErrIdempotencyMismatch, outcome{http.StatusConflict, CodeMismatch, "use another key for another input; the field task names the first one", 0}},
	{tasker.ErrDefinitionExists, outcome{http.StatusConflict, CodeDefExists, "give it a new version, or send replace: true; running tasks keep the old one", 0}},
	{tasker.ErrSubscriberNotFound, outcome{http.StatusNotFound, CodeSubNotFound, "see GET /api/v1/subscribers", 0}},
	{tasker.ErrSubscriberRuns, outcome{http.StatusConflict, CodeSubscriberRuns, "stop it, wait for its lease to end, and try again", 0}},
	{index.ErrBehind, outcome{http.StatusConflict, CodeBehind, "wait longer (?wait=), or ask the task itself: GET /api/v1/tasks/{id} is never behind", time.Second}},
	{tasker.ErrNoIndex, outcome{http.StatusConflict, CodeNoIndex, "start an engine with Config.Index, or with tasker serve --index", 0}},
	{tasker.ErrOverloaded, outcome{http.StatusServiceUnavailable, CodeOverloaded, "try again later; nothing was stored", time.Second}},
	{tasker.ErrTooManyKeys, outcome{http.StatusServiceUnavailable, CodeTooManyKeys, "submit without a key, or when the oldest have left their window", time.Minute}},
	{tasker.ErrStoreFull, outcome{http.StatusInsufficientStorage, CodeStoreFull, "make room: tasker prune, or raise the limit of the store", time.Minute}},
	{domain.ErrIntakeFull, outcome{http.StatusServiceUnavailable, CodeIntakeFull, "run an engine that takes the intake, or raise its limits", time.Second}},
	{tasker.ErrNotRunning, outcome{http.StatusServiceUnavailable, CodeNotRunning, "start the engine, or try again when it has started; nothing was stored", time.Second}},
	{tasker.ErrNoOwner, outcome{http.StatusServiceUnavailable, CodeNoOwner, "start an engine on this log: tasker serve", time.Second}},
	{tasker.ErrUnavailable, outcome{http.StatusServiceUnavailable, CodeUnavailable, "bring NATS back; nothing was stored", time.Second}},
	{domain.ErrNoMessage, outcome{http.StatusNotFound, CodeEventNotFound, "positions are event ids such as 00-123-4; see the task's history", 0}},
	{domain.ErrPayload, outcome{http.StatusUnprocessableEntity, CodeInvalid, "", 0}},
	{context.DeadlineExceeded, outcome{http.StatusGatewayTimeout, CodeTimeout, "try again, or ask for less", time.Second}},
}

// problemOf is the problem that an error of the face is. What is not known is the server's own fault: it is logged under an
// id, and its text stays here.
func (s *server) problemOf(ctx context.Context, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		if errors.As(context.Cause(ctx), &p) {
			return p
		}
		return newProblem(statusClientGone, CodeTimeout, "the client has gone", "")
	}
	if p := typedProblem(err); p != nil {
		return p
	}
	for _, known := range sentinels {
		if errors.Is(err, known.is) {
			p := newProblem(known.status, known.code, err.Error(), known.hint)
			p.retryAfter = known.retryAfter
			if known.code == CodeBehind {
				p.Explanation = s.service.ExplainBehind(context.WithoutCancel(ctx), err) // what ended is the wait
			}
			return p
		}
	}
	return s.internal(ctx, "an operation failed", err)
}

// statusClientGone is what is logged for a request of which nobody takes the answer.
const statusClientGone = 499

// internal is a problem that is nobody's fault but ours.
func (s *server) internal(ctx context.Context, what string, cause any) *Problem {
	id := uuid.NewString()
	s.Logger.ErrorContext(ctx, what, "problem", id, "error", cause)
	p := newProblem(http.StatusInternalServerError, CodeInternal, "something went wrong inside the server", "look for the id in the server's log, and report it")
	p.ID = id
	return p
}

// typedProblem knows the errors that carry more than a text; nil for others.
func typedProblem(err error) *Problem {
	if p := refusal(err); p != nil {
		return p
	}
	if p := invalid(err); p != nil {
		return p
	}
	var (
		noDefinition *tasker.DefinitionNotFoundError
		noLetter     *tasker.DeadLetterNotFoundError
		trimmed      tasker.TrimmedError
		noHistory    *tasker.HistoryTrimmedError
		noEvent      *tasker.PositionError
		otherLog     *tasker.CursorMismatchError
		ahead        *tasker.CursorAheadError
	)
	const fromOldest = "begin with ?from=oldest, and read the state of the tasks that you follow anew"
	switch {
	case errors.As(err, &noDefinition):
		return newProblem(http.StatusNotFound, CodeDefNotFound, noDefinition.Error(), "see GET /api/v1/definitions")
	case errors.As(err, &noLetter):
		return newProblem(http.StatusNotFound, CodeLetterNotFound, noLetter.Error(), "see GET /api/v1/dead-letters")
	case errors.As(err, &trimmed):
		return newProblem(http.StatusGone, CodeTrimmed, trimmed.Error(), fromOldest)
	case errors.As(err, &noHistory):
		return newProblem(http.StatusGone, CodeTrimmed, noHistory.Error(), "its beginning is beyond the retention of the log")
	case errors.As(err, &noEvent):
		return newProblem(http.StatusNotFound, CodeEventNotFound, noEvent.Error(), "take an id out of GET /api/v1/tasks/{id}/history")
	case errors.As(err, &otherLog):
		return newProblem(http.StatusConflict, CodeOtherLog, otherLog.Error(), "forget the cursor, and begin anew")
	case errors.As(err, &ahead):
		return newProblem(http.StatusConflict, CodeOtherLog, ahead.Error(), "forget the cursor, and begin anew")
	}
	return nil
}

// refusal is about what is possible, but not now, or not with this task.
func refusal(err error) *Problem {
	var (
		transition    *domain.TransitionError
		refused       *domain.RefusedError
		notRequeuable *tasker.NotRequeuableError
		frozen        *tasker.FrozenError
		large         *domain.ForkTooLargeError
	)
	switch {
	case errors.As(err, &transition):
		return newProblem(http.StatusConflict, CodeRefused, transition.Error(), transition.Hint)
	case errors.As(err, &refused):
		return newProblem(http.StatusConflict, CodeRefused, refused.Error(), "GET /api/v1/tasks/{id}/explain says what is possible")
	case errors.As(err, &notRequeuable):
		return newProblem(http.StatusConflict, CodeNotRequeuable, notRequeuable.Error(), notRequeuable.Hint)
	case errors.As(err, &large):
		return newProblem(http.StatusConflict, CodeRefused, large.Error(), "fork the task at an earlier event, or submit it anew")
	case errors.As(err, &frozen):
		return newProblem(http.StatusConflict, CodeFrozen, frozen.Error(), "run the newer version of tasker")
	}
	return nil
}

// invalid is about a request that nothing could take.
func invalid(err error) *Problem {
	var (
		violations *tasker.ViolationsError
		definition *domain.DefinitionError
		submission *tasker.InvalidSubmissionError
		verb       *tasker.InvalidVerbError
		bypass     *domain.BypassError
		identity   *tasker.NoIdentityError
		query      *index.QueryError
		stuck      *tasker.InvalidStuckError
		cursor     *domain.CursorError
		eventType  *domain.EventTypeError
		live       *tasker.LiveOnlyError
	)
	bad := func(hint string) *Problem {
		return newProblem(http.StatusUnprocessableEntity, CodeInvalid, err.Error(), hint)
	}
	switch {
	case errors.As(err, &violations):
		p := bad("the schema stands in GET /api/v1/definitions/{namespace}/{name}, context_schema")
		for _, v := range violations.Violations {
			p = p.at("body.context"+v.Path, v.Message)
		}
		return p
	case errors.As(err, &definition):
		p := bad("POST /api/v1/definitions/validate lists all that is wrong")
		for _, problem := range definition.Problems {
			p = p.at("body.definition."+problem.Path, problem.Message)
		}
		return p
	case errors.As(err, &query):
		return bad("see the operation in /openapi.json").at("query."+query.Field, query.Why)
	case errors.As(err, &stuck):
		return bad("see the operation in /openapi.json").at("query."+stuck.Field, stuck.Why)
	case errors.As(err, &cursor):
		return bad("take positions and cursors as an answer or an event has them")
	case errors.As(err, &eventType):
		return bad("docs/events.md lists the types").at("query.type", eventType.Error())
	case errors.As(err, &live):
		return bad("ask for facts, or for signals that follow from them").at("query.type", live.Error())
	case errors.As(err, &submission), errors.As(err, &verb), errors.As(err, &bypass):
		return bad("correct the request")
	case errors.As(err, &identity):
		return bad("send an idempotency key")
	}
	return nil
}
