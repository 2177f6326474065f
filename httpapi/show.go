package httpapi

import (
	"context"
	"encoding/json"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// ShowInput asks for a task, as it is or as it was.
type ShowInput struct {
	TaskPath
	At string `query:"at" maxLength:"64" doc:"position of an event of the task: its state right after that; default: now" example:"00-123-4"`
}

func (s *server) task(ctx context.Context, in *ShowInput) (*respond[*tasker.Task], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	if in.At == "" {
		return answer(s.service.Task(ctx, in.ID))
	}
	at, err := domain.ParsePosition(in.At)
	if err != nil {
		return nil, err
	}
	return answer(s.service.TaskAt(ctx, in.ID, at))
}

// ForkInput makes a new task of another one.
type ForkInput struct {
	TaskPath
	Key  string `header:"Idempotency-Key" maxLength:"16384" doc:"the same key is the same fork of the task, until 24 h after its end; in place of key in the body"`
	Body *struct {
		ReasonBody
		At      string          `json:"at,omitempty" maxLength:"64" doc:"position of an event of the task: the fork begins where the task stood right after that; default: now"`
		Context json.RawMessage `json:"context,omitempty" doc:"the fork's input, an object; default: that of the task"`
		Rerun   []string        `json:"rerun,omitempty" maxItems:"20000" doc:"steps that run again although they were over, with all that is behind them"`
		Key     string          `json:"key,omitempty" maxLength:"16384" doc:"idempotency key; see the header Idempotency-Key"`
		Tags    []string        `json:"tags,omitempty" maxItems:"1000" doc:"besides the tags of the task"`
	}
}

func (s *server) fork(ctx context.Context, in *ForkInput) (*Submitted, error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	o := tasker.ForkOptions{Key: in.Key, By: by(ctx, "")}
	if b := in.Body; b != nil {
		if in.Key != "" && b.Key != "" && in.Key != b.Key {
			return nil, twoKeys()
		}
		if o.Key == "" {
			o.Key = b.Key
		}
		o.By.Reason, o.Rerun, o.Tags = b.Reason, b.Rerun, b.Tags
		if len(b.Context) > 0 {
			o.Context = b.Context
		}
		if b.At != "" {
			at, err := domain.ParsePosition(b.At)
			if err != nil {
				return nil, err
			}
			o.At = at
		}
	}
	receipt, err := s.service.Fork(ctx, in.ID, o)
	if err != nil {
		return nil, s.unsubmitted(ctx, receipt, hideKnown(caller(ctx), err))
	}
	if of, ok := s.owners.recall(in.ID); ok {
		s.owners.note(receipt.ID, of)
	}
	return submitted(receipt), nil
}
