package httpapi

import (
	"context"

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
	return answer(s.service.(interface {
		TaskAt(ctx context.Context, id tasker.TaskID, at tasker.Position) (*tasker.Task, error)
	}).TaskAt(ctx, in.ID, at))
}
