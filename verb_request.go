package tasker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// verb is an operator's verb with its parameters, as it goes to the owner of the task.
type verb struct {
	Name       string          `json:"name"`
	Step       string          `json:"step,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	By         string          `json:"by,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"`
	ResultBlob string          `json:"result_blob,omitempty"` // instead of Result: its digest in the blob store
	Inputs     json.RawMessage `json:"inputs,omitempty"`
	RetryLimit int             `json:"retry_limit,omitempty"`
	Note       *noteRequest    `json:"note,omitempty"`
}

type noteRequest struct {
	Kind  string          `json:"kind"`
	Value json.RawMessage `json:"value"`
}

// InvalidVerbError: a verb that no task could take: its reason is too long, its result is no JSON. Nothing was stored.
type InvalidVerbError struct {
	Reason string `json:"reason"`
}

func (e *InvalidVerbError) Error() string { return e.Reason }

func invalid(format string, args ...any) error {
	return &InvalidVerbError{fmt.Errorf(format, args...).Error()}
}

// check refuses what would not fit into an event, or could not be read in one, and takes white space out of values. It runs
// where a verb comes from, and again where it arrives.
func (v *verb) check() error {
	if err := checkActor(v.By); err != nil {
		return err
	}
	size := len(v.Reason) + len(v.By)
	if v.Note != nil {
		size += len(v.Note.Kind)
	}
	switch {
	case size > maxText:
		return invalid("reason and actor have %d bytes; at most %d are possible", size, maxText)
	case v.RetryLimit < 0:
		return invalid("the retry limit is %d: it counts executions and is at least 1; 0 keeps the old one", v.RetryLimit)
	case v.Name == "annotate" && (v.Note == nil || v.Note.Kind == ""):
		return invalid("a note needs a kind, such as \"note\"")
	case v.Name == "annotate" && len(v.Note.Value) == 0:
		return invalid("a note needs a value: any JSON")
	}
	if err := compact("the result", &v.Result, domain.MaxPayload); err != nil {
		return err
	}
	if err := compact("the inputs", &v.Inputs, domain.InlineLog); err != nil || v.Note == nil {
		return err
	}
	return compact("the note", &v.Note.Value, domain.InlineLog)
}

// compact checks a value, if there is one, and takes white space out of it.
func compact(what string, value *json.RawMessage, most int) error {
	if *value == nil {
		return nil
	}
	text, err := domain.CompactJSON(*value)
	if err != nil {
		return invalid("%s: %w", what, err)
	}
	if len(text) > most {
		return invalid("%s: %d bytes; at most %d are possible: keep the data elsewhere and pass a reference", what, len(text), most)
	}
	*value = text
	return nil
}

// checkActor: the name stands in one line of a history, behind "operator:".
func checkActor(name string) error {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return invalid("the actor %q has control characters, or is not UTF-8", name)
	}
	if strings.TrimSpace(name) != name {
		return invalid("the actor %q begins or ends with a space", name)
	}
	return nil
}

// actor is who acts, as it is stored.
func actor(name string) domain.Actor {
	if name == "" {
		return domain.ByOperator
	}
	return domain.ByOperator + domain.Actor(":"+name)
}

// travel moves a large result out of a request that goes to another process.
func (v *verb) travel(ctx context.Context, blobs domain.Blobs) (*verb, error) {
	if len(v.Result) <= largestRequest {
		return v, nil
	}
	digest, err := blobs.Put(ctx, v.Result)
	if err != nil {
		return nil, err
	}
	light := *v
	light.Result, light.ResultBlob = nil, digest
	return &light, nil
}

// command makes the domain's command of a verb.
func (r *router) command(ctx context.Context, v *verb) (domain.Command, error) {
	var err error
	if v.ResultBlob != "" {
		if v.Result, err = r.payloads.load(ctx, domain.Payload{Blob: v.ResultBlob}); err != nil {
			return nil, err
		}
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	var result domain.Payload
	if v.Result != nil {
		if result, err = r.payloads.store(ctx, v.Result); err != nil {
			return nil, err
		}
	}
	switch v.Name {
	case "cancel":
		return domain.CancelTask{Reason: v.Reason}, nil
	case "retry":
		return domain.RetryTask{Reason: v.Reason}, nil
	case "resolve":
		return domain.ResolveTask{Reason: v.Reason}, nil
	case "pause":
		return domain.PauseTask{Reason: v.Reason}, nil
	case "resume":
		return domain.ResumeTask{Reason: v.Reason}, nil
	case "annotate":
		return domain.AnnotateTask{Kind: v.Note.Kind, Step: v.Step, Value: v.Note.Value}, nil
	case "retry_step":
		return domain.RetryStep{Step: v.Step, RetryLimit: v.RetryLimit, Inputs: v.Inputs, Reason: v.Reason}, nil
	case "resolve_step":
		return domain.ResolveStep{Step: v.Step, Result: result, Reason: v.Reason}, nil
	case "cancel_step":
		return domain.CancelStep{Step: v.Step, Reason: v.Reason}, nil
	case "complete_step":
		return domain.FinishStep{Step: v.Step, Result: result, Reason: v.Reason}, nil
	}
	return nil, fmt.Errorf("unknown verb %q: the other side is a newer version of tasker", v.Name)
}

// localVerb decides a verb in this process.
func (e *Engine) localVerb(ctx context.Context, c *subscribers.Coordinator, r *request) (*response, error) {
	cmd, err := e.command(ctx, r.Verb)
	if err != nil {
		return nil, err
	}
	receipt := &VerbReceipt{Task: r.Task, Step: r.Verb.Step}
	if note, ok := cmd.(domain.AnnotateTask); ok {
		if receipt.From, err = e.checkNote(ctx, c, r.Task, note); err != nil {
			return nil, err
		}
		receipt.To = receipt.From
	}
	a, err := await(ctx, c, func(reply func(subscribers.Answer, error)) error {
		return c.Do(r.Task, cmd, actor(r.Verb.By), func(a subscribers.Answer) { reply(a, a.Err) })
	})
	receipt.Changed, receipt.Position = a.Changed, a.Position
	if _, ok := cmd.(domain.AnnotateTask); !ok {
		receipt.From, receipt.To, receipt.Attempt, receipt.Reopened = a.Change.From, a.Change.To, a.Change.Attempt, a.Change.Reopened
	}
	return &response{Verb: receipt}, err
}

// checkNote refuses a note about a step that the task does not have, and says how the task is.
func (e *Engine) checkNote(ctx context.Context, c *subscribers.Coordinator, id TaskID, note domain.AnnotateTask) (domain.State, error) {
	t, err := e.find(ctx, c, id)
	if err != nil {
		return 0, err
	}
	if note.Step != "" && t.Definition.Graph().Index(note.Step) < 0 {
		return t.State, &domain.UnknownStepError{Task: id, Step: note.Step}
	}
	return t.State, nil
}
