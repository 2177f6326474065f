package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tasker-go/tasker"
)

// LettersQuery chooses dead letters.
type LettersQuery struct {
	Kind  string `query:"kind" maxLength:"128" doc:"submission or subscriber; default: all"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"at most so many, oldest first"`
	After uint64 `query:"after" maximum:"9223372036854775807" doc:"only those behind this sequence: next of the page before"`
}

// Letter is something that could not be accepted or delivered.
type Letter struct {
	Sequence  uint64              `json:"sequence" doc:"names the letter, for ever"`
	Kind      string              `json:"kind"`
	Name      string              `json:"name" doc:"of the definition, as namespace.name, or of the subscriber"`
	Time      time.Time           `json:"time"`
	Reason    string              `json:"reason"`
	Subject   string              `json:"subject,omitempty" doc:"that it was sent to"`
	Size      int                 `json:"size" doc:"of the body, in bytes"`
	Truncated string              `json:"truncated,omitempty" doc:"what was cut because it was too large; left out: nothing"`
	Headers   map[string]string   `json:"headers,omitempty" doc:"what the engine says about it"`
	Original  map[string][]string `json:"original,omitempty" doc:"its own headers"`
	Data      json.RawMessage     `json:"data,omitempty" doc:"the body, when it is JSON"`
	Text      string              `json:"text,omitempty" doc:"the body, when it is other text"`
	Binary    []byte              `json:"binary,omitempty" doc:"the body, when it is no text"`
}

// Letters is a part of the list of dead letters.
type Letters struct {
	Letters []Letter `json:"letters"`
	Next    uint64   `json:"next,omitempty" doc:"for after; left out: that was all"`
}

func letterOf(l tasker.DeadLetter) Letter {
	out := Letter{
		Sequence: l.Sequence, Kind: l.Kind, Name: l.Name, Time: l.Time, Reason: l.Reason, Subject: l.Subject, Size: l.Size,
		Truncated: l.Truncated, Headers: l.Headers, Original: l.Original,
	}
	switch {
	case len(l.Data) == 0:
	case utf8.Valid(l.Data) && json.Valid(l.Data):
		out.Data = l.Data
	case utf8.Valid(l.Data):
		out.Text = string(l.Data)
	default:
		out.Binary = l.Data
	}
	return out
}

// seesLetter: a limited caller sees the submissions to its namespaces.
func seesLetter(who *Identity, l *tasker.DeadLetter) bool {
	if len(who.Namespaces) == 0 {
		return true
	}
	namespace, _, found := strings.Cut(l.Name, ".")
	return l.Kind == tasker.LetterSubmission && found && who.Sees(namespace)
}

func (s *server) letters(ctx context.Context, in *LettersQuery) (*respond[Letters], error) {
	out := Letters{Letters: []Letter{}}
	filter := tasker.DeadLetterFilter{Kind: in.Kind, After: in.After, Limit: in.Limit + 1}
	for {
		list, err := s.service.DeadLetters(ctx, filter)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if !seesLetter(caller(ctx), &list[i]) {
				continue
			}
			if len(out.Letters) == in.Limit {
				out.Next = out.Letters[in.Limit-1].Sequence
				return &respond[Letters]{out}, nil
			}
			out.Letters = append(out.Letters, letterOf(list[i]))
		}
		if len(list) < filter.Limit {
			return &respond[Letters]{out}, nil
		}
		filter.After = list[len(list)-1].Sequence // those of others were between
	}
}

// LetterPath names a dead letter.
type LetterPath struct {
	Sequence uint64 `path:"sequence" minimum:"1" maximum:"9223372036854775807"`
}

func (s *server) visible(ctx context.Context, sequence uint64) (tasker.DeadLetter, error) {
	l, err := s.service.DeadLetter(ctx, sequence)
	if err == nil && !seesLetter(caller(ctx), &l) {
		err = &tasker.DeadLetterNotFoundError{Sequence: sequence}
	}
	return l, err
}

func (s *server) letter(ctx context.Context, in *LetterPath) (*respond[Letter], error) {
	l, err := s.visible(ctx, in.Sequence)
	return answer(letterOf(l), err)
}

// RequeueInput sends a dead submission again.
type RequeueInput struct {
	LetterPath
	Body *struct {
		Input json.RawMessage `json:"input,omitempty" doc:"in place of the task's context, an object; left out: as it was"`
	}
}

// Nothing is an answer without a body.
type Nothing struct{}

func (s *server) requeue(ctx context.Context, in *RequeueInput) (*Nothing, error) {
	if _, err := s.visible(ctx, in.Sequence); err != nil {
		return nil, err
	}
	var input any
	if in.Body != nil && len(in.Body.Input) > 0 {
		input = in.Body.Input
	}
	return &Nothing{}, s.service.Requeue(ctx, in.Sequence, input)
}

func (s *server) drop(ctx context.Context, in *LetterPath) (*Nothing, error) {
	if _, err := s.visible(ctx, in.Sequence); err != nil {
		return nil, err
	}
	return &Nothing{}, s.service.DropDeadLetter(ctx, in.Sequence)
}

func (s *server) registerLetters() {
	letter := func(a action) action {
		a.tag = "dead letters"
		a.text += " Tokens that are limited to namespaces see the submissions to these only."
		return a
	}
	read := []Scope{ScopeRead}
	add(s, letter(action{id: "listDeadLetters", method: http.MethodGet, path: "/dead-letters", scopes: read,
		summary: "List dead letters", text: "What could not be accepted or delivered, oldest first, without the bodies."}), s.letters)
	add(s, letter(action{id: "getDeadLetter", method: http.MethodGet, path: "/dead-letters/{sequence}", scopes: read,
		summary: "Show a dead letter", text: "With its body.", codes: []Code{CodeLetterNotFound}}), s.letter)
	add(s, letter(action{id: "requeueDeadLetter", method: http.MethodPost, path: "/dead-letters/{sequence}/requeue", scopes: []Scope{ScopeOperate}, payload: true,
		summary: "Send a dead submission again", text: "Puts it back into the intake, perhaps with another input, and removes the letter. What is refused again is a new letter.",
		codes: []Code{CodeLetterNotFound, CodeNotRequeuable, CodeIntakeFull}}), s.requeue)
	add(s, letter(action{id: "dropDeadLetter", method: http.MethodDelete, path: "/dead-letters/{sequence}", scopes: []Scope{ScopeAdmin},
		summary: "Remove a dead letter", text: "For good.", codes: []Code{CodeLetterNotFound}}), s.drop)
}
