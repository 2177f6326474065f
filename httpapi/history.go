package httpapi

import (
	"context"
	"net/http"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// HistoryInput asks what happened to a task.
type HistoryInput struct {
	TaskPath
	After string `query:"after" maxLength:"64" doc:"position of an event: only what came after it; default: from the beginning" example:"00-123-4"`
	Limit int    `query:"limit" minimum:"0" maximum:"100000" doc:"at most so many events; 0: all"`
}

// History is what happened to one task, or a part of it.
type History struct {
	tasker.History
	Next string `json:"next,omitempty" doc:"position of the last event of this part, when there are more"`
}

func (s *server) history(ctx context.Context, in *HistoryInput) (*respond[*History], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	var after domain.Position
	if in.After != "" {
		var err error
		if after, err = domain.ParsePosition(in.After); err != nil {
			return nil, err
		}
	}
	h, err := s.service.History(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if in.After != "" && len(h.Events) > 0 && h.Events[0].Position.Partition != after.Partition {
		return nil, newProblem(http.StatusUnprocessableEntity, CodeInvalid, "query.after: "+in.After+" is of another partition than the task",
			"take the id of an event of this task").at("query.after", "of another partition")
	}
	return answer(part(*h, in, after), nil)
}

// part leaves out what was not asked for.
func part(h tasker.History, in *HistoryInput, after domain.Position) *History {
	page := &History{History: h}
	if in.After == "" && in.Limit == 0 {
		return page
	}
	page.Executions = page.Executions[:0]
	for in.After != "" && len(page.Events) > 0 && !after.Less(page.Events[0].Position) {
		page.Events = page.Events[1:]
	}
	if in.Limit > 0 && len(page.Events) > in.Limit {
		page.Events = page.Events[:in.Limit]
		page.Next = page.Events[in.Limit-1].ID
	}
	return page
}
