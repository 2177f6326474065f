package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tasker-go/tasker"
)

// Code names a kind of error, for ever: programs compare it, people read the detail.
type Code string

// The codes.
const (
	CodeInvalid         Code = "invalid_input"
	CodeUnauthorized    Code = "unauthorized"
	CodeForbidden       Code = "forbidden"
	CodeCrossOrigin     Code = "cross_origin"
	CodeHost            Code = "unknown_host"
	CodeNotFound        Code = "not_found" // of a path
	CodeTaskNotFound    Code = "task_not_found"
	CodeStepNotFound    Code = "step_not_found"
	CodeDefNotFound     Code = "definition_not_found"
	CodeLetterNotFound  Code = "dead_letter_not_found"
	CodeSubNotFound     Code = "subscriber_not_found"
	CodeEventNotFound   Code = "event_not_found"
	CodeMethod          Code = "method_not_allowed"
	CodeNotAcceptable   Code = "not_acceptable"
	CodeMediaType       Code = "unsupported_media_type"
	CodeTooLarge        Code = "too_large"
	CodeTimeout         Code = "timeout"
	CodeRefused         Code = "refused"
	CodeFrozen          Code = "frozen"
	CodeMismatch        Code = "idempotency_mismatch"
	CodeDefExists       Code = "definition_exists"
	CodeNotRequeuable   Code = "not_requeuable"
	CodeSubscriberRuns  Code = "subscriber_runs"
	CodeBehind          Code = "behind"
	CodeNoIndex         Code = "no_index"
	CodeTrimmed         Code = "trimmed"
	CodeOtherLog        Code = "other_log"
	CodeTooManyStreams  Code = "too_many_streams"
	CodeSlowClient      Code = "slow_client"
	CodeStopping        Code = "stopping"
	CodeOverloaded      Code = "overloaded"
	CodeTooManyKeys     Code = "too_many_keys"
	CodeStoreFull       Code = "store_full"
	CodeIntakeFull      Code = "intake_full"
	CodeNotRunning      Code = "not_running"
	CodeNoOwner         Code = "no_owner"
	CodeUnavailable     Code = "unavailable"
	CodeAuthUnavailable Code = "auth_unavailable"
	CodeOutcomeUnknown  Code = "outcome_unknown"
	CodeInternal        Code = "internal"
)

// Problem is an error as it is sent: problem details (RFC 9457) with a code and with what to do.
type Problem struct {
	Type   string          `json:"type" doc:"about:blank: the code says which problem it is"`
	Title  string          `json:"title" doc:"text of the HTTP status"`
	Status int             `json:"status" doc:"HTTP status"`
	Detail string          `json:"detail" doc:"what happened, to which task, and why"`
	Code   Code            `json:"code" doc:"which problem it is; never changes"`
	Hint   string          `json:"hint,omitempty" doc:"what to do"`
	Task   string          `json:"task,omitempty" doc:"the task that the idempotency key names, or that may have been stored"`
	Errors []ProblemDetail `json:"errors,omitempty" doc:"what is wrong where, when it is several things or one place"`
	// Explanation is why an answer of the index lacks a position.
	Explanation *tasker.Explanation `json:"explanation,omitempty"`
	ID          string              `json:"id,omitempty" doc:"names an internal error in the server's log"`

	retryAfter time.Duration
	header     http.Header
}

// ProblemDetail is one thing that is wrong with a request.
type ProblemDetail struct {
	Location string `json:"location" doc:"where: body.context/items/0, query.limit, path.id, header.X"`
	Message  string `json:"message" doc:"what is wrong"`
	Value    any    `json:"value,omitempty" doc:"what stood there; long values are cut"`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problem details.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders are the headers that belong to the problem.
func (p *Problem) GetHeaders() http.Header {
	h := p.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(p.retryAfter.Seconds()))))
	}
	return h
}

func newProblem(status int, code Code, detail, hint string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Hint: hint}
}

// at says which part of the request is wrong.
func (p *Problem) at(location, message string) *Problem {
	p.Errors = append(p.Errors, ProblemDetail{Location: location, Message: message})
	return p
}

// write sends the problem where no operation has begun.
func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range p.GetHeaders() {
		h[name] = values
	}
	h.Set("Content-Type", p.ContentType(""))
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(p) // nobody is there to be told
	}
}

// maxShown is how much of a wrong value is sent back, in bytes.
const maxShown = 200

// shown is a wrong value as it is sent back.
func shown(value any) any {
	switch v := value.(type) {
	case string:
		if len(v) <= maxShown {
			return v
		}
		cut := v[:maxShown]
		for !utf8.ValidString(cut) && len(cut) > maxShown-utf8.UTFMax {
			cut = cut[:len(cut)-1]
		}
		return cut + "…"
	case nil, bool, float64, int64, json.Number:
		return v
	}
	return nil // a whole document would say nothing more
}

// transform makes a Problem of what the framework finds wrong.
func transform(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code, hint := CodeInvalid, "see the operation in /openapi.json"
	detail := m.Detail
	switch m.Status {
	case http.StatusNotAcceptable:
		code, hint = CodeNotAcceptable, "accept application/json"
	case http.StatusUnsupportedMediaType:
		code, hint = CodeMediaType, "send application/json"
	case http.StatusRequestEntityTooLarge:
		code, hint = CodeTooLarge, "send less"
	case http.StatusRequestTimeout:
		code, hint = CodeTimeout, "send the body faster"
	}
	p := newProblem(m.Status, code, detail, hint)
	const most = 20
	for _, e := range m.Errors[:min(len(m.Errors), most)] {
		p.Errors = append(p.Errors, ProblemDetail{Location: e.Location, Message: e.Message, Value: shown(e.Value)})
	}
	if len(p.Errors) > 0 && code == CodeInvalid {
		p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
		if n := len(m.Errors) - 1; n > 0 {
			p.Detail += " (and " + strconv.Itoa(n) + " more)"
		}
	}
	return p, nil
}
