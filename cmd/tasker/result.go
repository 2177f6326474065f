package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// conclude prints the result, and gives the exit code.
func (r *runner) conclude() error {
	r.progress.close()
	left, paused := 0, 0
	for _, v := range r.found {
		switch {
		case v.over():
		case v.paused:
			paused++
			r.progress.say(fmt.Sprintf("task %s is paused; to go on: tasker task resume %s%s", v.id, v.id, r.dataFlag()))
		default:
			left++
		}
	}
	ownLeft := r.own != nil && !r.own.over()
	if ownLeft {
		left++
	}
	if left > 0 {
		r.progress.say(fmt.Sprintf("%s unfinished; to go on: %s", plural(left, "task is", "tasks are"), r.continueCommand()))
	}
	switch {
	case ownLeft, r.own == nil && left+paused > 0 && r.signals.ctx.Err() != nil:
		return &failure{code: r.signals.code, err: errInterrupted, quiet: true}
	case r.own == nil:
		return r.concludeFound()
	case r.final == nil: // it ended at the very end of the drain
		return &failure{
			code: exitEngine, err: fmt.Errorf("task %s is %s, but its result could not be read any more", r.own.id, word(r.own.state)),
			hint: "tasker task show " + r.own.id.String() + r.dataFlag() + " shows it",
		}
	}
	return r.printResult()
}

// concludeFound is the end of --continue: like that of a task, for all of them.
func (r *runner) concludeFound() error {
	var failed []string
	for _, v := range r.found {
		if v.over() && v.state != domain.Complete && v.state != domain.ResolvedManually {
			failed = append(failed, v.id.String())
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &failure{
		code: exitFailed, err: fmt.Errorf("%s not complete: %s", plural(len(failed), "task is", "tasks are"), strings.Join(failed, ", ")),
		hint: r.historyHint(failed[0]),
	}
}

func (r *runner) continueCommand() string { return "tasker run --continue" + r.dataFlag() }

func (r *runner) historyHint(id string) string {
	return "to see everything that happened: tasker task history " + id + r.dataFlag()
}

func (r *runner) dataFlag() string {
	if r.flags.data == defaultData {
		return ""
	}
	return " --data " + r.flags.data
}

// runReport is what --output json prints.
type runReport struct {
	Task       tasker.TaskID     `json:"task"`
	Namespace  string            `json:"namespace"`
	Name       string            `json:"name"`
	Version    string            `json:"version"`
	State      domain.State      `json:"state"`
	Result     json.RawMessage   `json:"result,omitempty"`
	Failed     domain.FailReason `json:"failed,omitempty"`
	Steps      []runStep         `json:"steps"`
	DurationMS float64           `json:"duration_ms"`
	Data       string            `json:"data"`
	Durability string            `json:"durability"`
}

type runStep struct {
	Name     string            `json:"name"`
	State    domain.State      `json:"state"`
	Attempts int               `json:"attempts"`
	Error    *domain.StepError `json:"error,omitempty"`
}

func (r *runner) printResult() error {
	t := r.final
	if r.flags.output == "json" {
		report := runReport{
			Task: t.ID, Namespace: t.Namespace, Name: t.Name, Version: t.Version, State: t.State, Result: t.Result, Failed: t.Failed,
			DurationMS: float64(t.EndedAt.Sub(t.CreatedAt).Microseconds()) / 1000,
			Data:       r.host.server.Dir(), Durability: r.host.engine.Info().Durability,
		}
		for _, s := range t.Steps {
			report.Steps = append(report.Steps, runStep{s.Name, s.State, s.Attempt, s.Error})
		}
		if err := printJSON(r.out, report); err != nil {
			return err
		}
	} else if t.State == domain.Complete {
		r.printf("%s\n", pretty(t.Result))
	}
	if t.State == domain.Complete || t.State == domain.ResolvedManually {
		return nil
	}
	return taskFailed(t, r.historyHint(t.ID.String()))
}

// maxBlamed is how many failed steps are named.
const maxBlamed = 10

// taskFailed says which steps made the task fail, and why.
func taskFailed(t *tasker.Task, hint string) error {
	text := fmt.Sprintf("task %s %s", t.ID, word(t.State))
	if t.Failed == domain.FailDeadline {
		text += ": its deadline has passed"
	}
	var lines []string
	for _, s := range t.Steps {
		if s.State != domain.Error || s.Optional { // an optional one did not make it fail
			continue
		}
		line := "step " + s.Name
		if s.Attempt > 1 {
			line += fmt.Sprintf(" (attempt %d)", s.Attempt)
		}
		if s.Error != nil {
			line += ": " + errorText(s.Error)
			if s.Error.Code != "" {
				line += " [" + s.Error.Code + "]"
			}
		}
		lines = append(lines, line)
	}
	if n := len(lines) - maxBlamed; n > 0 {
		lines = append(lines[:maxBlamed], fmt.Sprintf("and %d more", n))
	}
	switch {
	case len(lines) == 1:
		text += ": " + lines[0]
	case len(lines) > 1:
		text += ":\n  " + strings.Join(lines, "\n  ")
	}
	return &failure{code: exitFailed, err: errors.New(text), hint: hint}
}

// pretty is JSON for people.
func pretty(text json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}
