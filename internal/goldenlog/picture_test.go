package goldenlog

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// partition is the state that a log folds to, in words that do not change: fields are added, none is renamed.
type partition struct {
	Sequence    uint64            `json:"sequence"`
	CommitID    string            `json:"commit"`
	At          domain.Instant    `json:"at"`
	Definitions map[string]string `json:"definitions"` // by hash: name and number of steps
	Skipped     []uint64          `json:"skipped"`
	Live        []string          `json:"live"`
	Failed      []string          `json:"failed"`
	Ended       map[string]ended  `json:"ended"`
	Tasks       map[string]task   `json:"tasks"`
}

type ended struct {
	Last  uint64 `json:"last"`
	Input uint32 `json:"input"`
	At    int64  `json:"at"` // seconds
}

type task struct {
	Definition  string                 `json:"definition"`
	State       domain.State           `json:"state"`
	Paused      bool                   `json:"paused"`
	Expired     bool                   `json:"expired"`
	Round       int                    `json:"round"`
	Context     *payload               `json:"context"`
	Initiator   string                 `json:"initiator"`
	Source      string                 `json:"source_system"`
	Reason      string                 `json:"reason"`
	Correlation string                 `json:"correlation"`
	Tags        []string               `json:"tags"`
	Input       uint32                 `json:"input"`
	CreatedAt   domain.Instant         `json:"created_at"`
	StartedAt   domain.Instant         `json:"started_at"`
	EndedAt     domain.Instant         `json:"ended_at"`
	Deadline    domain.Instant         `json:"deadline"`
	Waiting     string                 `json:"waiting"`
	Until       domain.Instant         `json:"until"`
	Failed      domain.FailReason      `json:"failed"`
	Result      *payload               `json:"result"`
	ResultFrom  []string               `json:"result_from"`
	Status      domain.ExecutionStatus `json:"status"`
	Steps       []step                 `json:"steps"`
	Forked      string                 `json:"forked"` // the task and the event
}

type step struct {
	Name       string            `json:"name"`
	State      domain.State      `json:"state"`
	Skipped    bool              `json:"skipped"`
	Bypassed   bool              `json:"bypassed"`
	Attempt    int32             `json:"attempt"`
	Executions int32             `json:"executions"`
	Lost       int32             `json:"lost"`
	Round      int32             `json:"round"`
	RetryLimit int               `json:"retry_limit"`
	StartedAt  domain.Instant    `json:"started_at"`
	EndedAt    domain.Instant    `json:"ended_at"`
	WakeAt     domain.Instant    `json:"wake_at"`
	Result     *payload          `json:"result"`
	Error      *domain.StepError `json:"error"`
	Inputs     json.RawMessage   `json:"inputs"`
	Cursor     json.RawMessage   `json:"cursor"`
	Progress   *domain.Progress  `json:"progress"`
	Inherited  bool              `json:"inherited"`
}

type payload struct {
	JSON  json.RawMessage `json:"json,omitempty"`
	Blob  string          `json:"blob,omitempty"`
	Event string          `json:"event,omitempty"` // that holds it
	Size  int             `json:"size"`
}

// picture is the state; tasks are as they were when they were last told of, which is all there is of those that ended.
func picture(p *projections.Partition, tasks map[domain.TaskID]task) partition {
	x := partition{
		Sequence: p.Sequence, CommitID: p.CommitID, At: p.At, Definitions: map[string]string{}, Skipped: []uint64{},
		Live: []string{}, Failed: []string{}, Ended: map[string]ended{}, Tasks: map[string]task{},
	}
	for hash, def := range p.Definitions() {
		x.Definitions[hash] = fmt.Sprintf("%s, %d steps", def.FullName(), len(def.Steps))
	}
	for sequence := range p.Sequence {
		if p.Skipped(sequence) {
			x.Skipped = append(x.Skipped, sequence)
		}
	}
	for e := range p.Tasks() {
		x.Live = append(x.Live, e.Task.ID.String())
		tasks[e.Task.ID] = pictureOf(e.Task)
	}
	var failed []domain.TaskID
	for id := range p.FailedTasks() {
		failed = append(failed, id)
		x.Failed = append(x.Failed, id.String())
	}
	for _, id := range failed {
		tasks[id] = pictureOf(p.Find(id).Task)
	}
	for id, e := range p.Ended.All() {
		x.Ended[id.String()] = ended{e.Last, e.Input, int64(e.At) / 1_000_000}
	}
	slices.Sort(x.Live)
	slices.Sort(x.Failed)
	for id, seen := range tasks {
		x.Tasks[id.String()] = seen
	}
	return x
}

func pictureOf(t *domain.Task) task {
	x := task{
		Definition: t.Definition.Hash(), State: t.State, Paused: t.Paused, Expired: t.Expired, Round: t.Round,
		Context: payloadOf(t.Context), Initiator: t.Initiator, Source: t.SourceSystem, Reason: t.Reason,
		Correlation: t.Correlation, Tags: t.Tags, Input: t.InputHash, CreatedAt: t.CreatedAt, StartedAt: t.StartedAt,
		EndedAt: t.EndedAt, Deadline: t.Deadline, Waiting: string(t.Waiting.Reason), Until: t.Waiting.Until,
		Failed: t.Failed, Result: payloadOf(t.Result), ResultFrom: t.ResultFrom, Status: t.Status(),
	}
	if f := t.Forked; f != nil {
		x.Forked = f.Task.String() + " " + f.Position.String()
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		y := step{
			Name: t.Template(i).Name, State: s.State, Skipped: s.Skipped, Bypassed: t.Bypassed(i), Attempt: s.Attempt,
			Executions: s.Executions, Lost: s.Lost, Round: s.Round, RetryLimit: t.RetryLimit(i), StartedAt: s.StartedAt,
			EndedAt: s.EndedAt, WakeAt: s.WakeAt, Result: payloadOf(s.Result), Error: s.LastError(), Cursor: s.Cursor(),
			Progress: s.Progress(), Inherited: s.Inherited,
		}
		if s.More != nil {
			y.Inputs = s.More.Inputs
		}
		x.Steps = append(x.Steps, y)
	}
	return x
}

func payloadOf(p domain.Payload) *payload {
	if p.IsZero() {
		return nil
	}
	x := &payload{JSON: p.JSON, Blob: p.Blob, Size: p.Size}
	if p.Pos.Sequence != 0 {
		x.Event = p.Pos.String()
	}
	return x
}

func encode(t *testing.T, p partition) []byte {
	t.Helper()
	text, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func tree(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// missing says where got has not what want has. got may have more: fields that came later.
func missing(path string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			break
		}
		var problems []string
		for key, value := range want {
			if _, ok := have[key]; !ok {
				problems = append(problems, fmt.Sprintf("%s.%s is gone", path, key))
				continue
			}
			problems = append(problems, missing(path+"."+key, value, have[key])...)
		}
		// The members of these are no fields.
		if slices.Contains([]string{".definitions", ".ended", ".tasks"}, path) && len(have) != len(want) {
			problems = append(problems, fmt.Sprintf("%s has %d members, want %d", path, len(have), len(want)))
		}
		slices.Sort(problems)
		return problems
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			break
		}
		var problems []string
		for i := range want {
			problems = append(problems, missing(fmt.Sprintf("%s[%d]", path, i), want[i], have[i])...)
		}
		return problems
	}
	if !reflect.DeepEqual(want, got) {
		return []string{fmt.Sprintf("%s is %v, want %v", strings.TrimPrefix(path, "."), got, want)}
	}
	return nil
}
