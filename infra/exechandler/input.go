package exechandler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

type taskInput struct {
	ID        domain.TaskID `json:"id"`
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	Version   string        `json:"version"`
}

type stepInput struct {
	Name           string            `json:"name"`
	Attempt        int               `json:"attempt"`
	Round          int               `json:"round"`
	Inputs         json.RawMessage   `json:"inputs"`
	IdempotencyKey string            `json:"idempotency_key"`
	LastError      *domain.StepError `json:"last_error"`
}

// input is what the command reads from stdin.
func input(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) ([]byte, error) {
	results := map[string]json.RawMessage{}
	all, err := steps.Steps(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the results of earlier steps: %w", err)
	}
	for _, s := range all {
		if s.Result != nil {
			results[s.Name] = s.Result
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // for scripts that look at it with grep
	err = encoder.Encode(struct {
		Task    taskInput                  `json:"task"`
		Context json.RawMessage            `json:"context"`
		Step    stepInput                  `json:"step"`
		Results map[string]json.RawMessage `json:"results"`
	}{
		taskInput{task.ID, task.Namespace, task.Name, task.Version}, task.Context,
		stepInput{step.Name, step.Attempt, step.Round, step.Inputs, step.IdempotencyKey, step.LastError}, results,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the input of the command: %w", err)
	}
	return out.Bytes(), nil
}
