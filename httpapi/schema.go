package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// statuses are those of the codes, for the description. invalid_input is 400 when the body is no JSON, timeout is 408 when
// the body did not arrive, too_large is 414 when it is the path or the query.
var statuses = map[Code]int{
	CodeInvalid: http.StatusUnprocessableEntity, CodeUnauthorized: http.StatusUnauthorized, CodeForbidden: http.StatusForbidden,
	CodeCrossOrigin: http.StatusForbidden, CodeHost: http.StatusMisdirectedRequest, CodeNotFound: http.StatusNotFound,
	CodeTaskNotFound: http.StatusNotFound, CodeStepNotFound: http.StatusNotFound, CodeDefNotFound: http.StatusNotFound,
	CodeLetterNotFound: http.StatusNotFound, CodeSubNotFound: http.StatusNotFound, CodeEventNotFound: http.StatusNotFound,
	CodeMethod: http.StatusMethodNotAllowed, CodeNotAcceptable: http.StatusNotAcceptable, CodeMediaType: http.StatusUnsupportedMediaType,
	CodeTooLarge: http.StatusRequestEntityTooLarge, CodeTimeout: http.StatusGatewayTimeout, CodeRefused: http.StatusConflict,
	CodeFrozen: http.StatusConflict, CodeMismatch: http.StatusConflict, CodeDefExists: http.StatusConflict,
	CodeNotRequeuable: http.StatusConflict, CodeSubscriberRuns: http.StatusConflict, CodeBehind: http.StatusConflict,
	CodeNoIndex: http.StatusConflict, CodeTrimmed: http.StatusGone, CodeOtherLog: http.StatusConflict,
	CodeTooManyStreams: http.StatusTooManyRequests, CodeSlowClient: http.StatusServiceUnavailable, CodeStopping: http.StatusServiceUnavailable,
	CodeOverloaded: http.StatusServiceUnavailable, CodeTooManyKeys: http.StatusServiceUnavailable, CodeStoreFull: http.StatusInsufficientStorage,
	CodeIntakeFull: http.StatusServiceUnavailable, CodeNotRunning: http.StatusServiceUnavailable, CodeNoOwner: http.StatusServiceUnavailable,
	CodeUnavailable: http.StatusServiceUnavailable, CodeAuthUnavailable: http.StatusServiceUnavailable,
	CodeOutcomeUnknown: http.StatusGatewayTimeout, CodeInternal: http.StatusInternalServerError,
}

// responses describes what may come instead of an answer: what is the operation's own by status, and the rest once.
func (a *action) responses(registry huma.Registry) map[string]*huma.Response {
	problem := registry.Schema(reflect.TypeFor[Problem](), true, "")
	content := map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}
	byStatus := map[int][]string{}
	for _, code := range a.codes {
		if name := "`" + string(code) + "`"; !slices.Contains(byStatus[statuses[code]], name) {
			byStatus[statuses[code]] = append(byStatus[statuses[code]], name)
		}
	}
	out := map[string]*huma.Response{}
	for status, codes := range byStatus {
		slices.Sort(codes)
		out[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status) + ": " + strings.Join(codes, ", "), Content: content}
	}
	var others []string
	for _, code := range a.common() {
		others = append(others, "`"+string(code)+"`")
	}
	out["default"] = &huma.Response{Description: "Any of " + strings.Join(others, ", "), Content: content}
	if a.created {
		out["201"] = &huma.Response{Description: "Created: this request made the task",
			Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeFor[tasker.Receipt](), true, "")}}}
	}
	switch {
	case a.path == "/events":
		out["200"] = &huma.Response{Description: "Events, each with a line id, a line event with the type, and a line data with an EventData",
			Content: map[string]*huma.MediaType{"text/event-stream": {Schema: registry.Schema(reflect.TypeFor[EventData](), true, "")}}}
	case a.anyAnswer:
		out["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}}}
	}
	return out
}

// apiConfig is what the framework needs to know.
func apiConfig() huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	for of, as := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[tasker.TaskID]():   reflect.TypeFor[idText](),
		reflect.TypeFor[tasker.Position](): reflect.TypeFor[positionText](),
		reflect.TypeFor[domain.Instant]():  reflect.TypeFor[instantText](),
		reflect.TypeFor[domain.State]():    reflect.TypeFor[stateText](),
	} {
		registry.RegisterTypeAlias(of, as)
	}
	json := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Tasker", Version: "1",
				Description: "Tasks, steps, events and operators of Tasker over HTTP. Names are snake_case, durations are nanoseconds (`_ns`), times are " +
					"RFC 3339, positions are ids of events (`PP-SEQ-IDX`). Errors are problem details with a stable `code`, and a `hint` that says what to do. " +
					"What changes something is sent with `Content-Type: application/json`, or, without a body, with the header `Tasker-Request: 1`. " +
					"Unknown parameters and fields are refused. docs/http-api.md is the manual.",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {
					Type: "http", Scheme: "bearer", Description: "A token of `tasker token create`, or of an OpenID provider. A server on loopback may need none.",
				}},
			},
			Tags: []*huma.Tag{
				{Name: "tasks", Description: "Submit, look, act, wait"}, {Name: "steps", Description: "The steps of tasks"},
				{Name: "definitions", Description: "What tasks are runs of"}, {Name: "events", Description: "What happens, as it happens"},
				{Name: "dead letters", Description: "What could not be accepted or delivered"}, {Name: "subscribers", Description: "Who reads the log"},
				{Name: "system", Description: "How everything is doing"},
			},
		},
		Formats:       map[string]huma.Format{"application/json": json, "json": json},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{transform},
	}
}

// unmarshal is strict where the schema cannot be: it has looked at the fields already.
func unmarshal(text []byte, into any) error { return json.Unmarshal(text, into) }

// schemaName keeps types of different packages apart that have one name.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[Submission]() {
		return "SubmissionBody"
	}
	return name
}

// How text forms look in the description.
type (
	idText       string
	positionText string
	instantText  string
	stateText    string
)

// Schema describes the id of a task.
func (idText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Format: "uuid", Examples: []any{"01890a5d-ac96-774b-bcce-b302099a8057"}}
}

// Schema describes a position.
func (positionText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Pattern: `^[0-9]+-[0-9]+-[0-9]+$`, Examples: []any{"00-123-4"}}
}

// Schema describes a time.
func (instantText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Format: "date-time"}
}

// Schema describes a state.
func (stateText) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: "string"}
	for _, state := range domain.States {
		s.Enum = append(s.Enum, state.String())
	}
	return s
}
