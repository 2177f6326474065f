package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// NamespaceQuery narrows an answer down to a namespace.
type NamespaceQuery struct {
	Namespace string `query:"namespace" maxLength:"128" doc:"only of this namespace; default: of all that the caller may see"`
}

// DefinitionName names a version of a definition.
type DefinitionName struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Version   string `json:"version"`
}

// DefinitionRow is a definition as a list shows it.
type DefinitionRow struct {
	DefinitionName
	Description string `json:"description,omitempty"`
	Steps       int    `json:"steps" doc:"how many"`
	Hash        string `json:"hash" doc:"of its content"`
}

// Definitions is a list of definitions, by name and version.
type Definitions struct {
	Definitions []DefinitionRow `json:"definitions"`
}

func (s *server) definitions(ctx context.Context, in *NamespaceQuery) (*respond[Definitions], error) {
	if _, err := within(ctx, in.Namespace); err != nil {
		return nil, err
	}
	all, err := s.service.Definitions(ctx)
	if err != nil {
		return nil, err
	}
	rows := []DefinitionRow{}
	for _, d := range all {
		if caller(ctx).Sees(d.Namespace) && (in.Namespace == "" || in.Namespace == d.Namespace) {
			rows = append(rows, DefinitionRow{nameOf(d), d.Description, len(d.Steps), d.Hash()})
		}
	}
	return &respond[Definitions]{Definitions{rows}}, nil
}

func nameOf(d *tasker.Definition) DefinitionName {
	return DefinitionName{Namespace: d.Namespace, Name: d.Name, Version: d.Version}
}

// DefinitionPath names a definition.
type DefinitionPath struct {
	Namespace string `path:"namespace" maxLength:"128"`
	Name      string `path:"name" maxLength:"128"`
	Version   string `query:"version" maxLength:"128" doc:"default: the highest release"`
}

// DefinitionDetails is a definition as a whole.
type DefinitionDetails struct {
	DefinitionRow
	Steps         []StepTemplate  `json:"steps" doc:"in definition order"`
	ContextSchema json.RawMessage `json:"context_schema,omitempty" doc:"JSON Schema of the context; left out: any object"`
	Versions      []string        `json:"versions" doc:"all that are registered, the highest first"`
	Body          json.RawMessage `json:"body" doc:"the definition as it was applied, without what is default"`
}

// StepTemplate describes a step of a definition.
type StepTemplate struct {
	Name            string        `json:"name"`
	Handler         string        `json:"handler"`
	DependsOn       []string      `json:"depends_on" doc:"names of the steps before it"`
	Description     string        `json:"description,omitempty"`
	RetryLimit      int           `json:"retry_limit" doc:"executions per round"`
	Optional        bool          `json:"optional,omitempty" doc:"its failure does not fail the task"`
	Skippable       bool          `json:"skippable,omitempty" doc:"a submission may bypass it"`
	DependentSystem string        `json:"dependent_system,omitempty"`
	Timeout         time.Duration `json:"timeout_ns,omitempty" doc:"of one execution, in nanoseconds; left out: none"`
}

func (s *server) showDefinition(ctx context.Context, in *DefinitionPath) (*respond[*DefinitionDetails], error) {
	d, err := s.definition(ctx, in.Namespace, in.Name, in.Version)
	if err != nil {
		return nil, err
	}
	all, err := s.service.Definitions(ctx)
	if err != nil {
		return nil, err
	}
	out := &DefinitionDetails{
		DefinitionRow: DefinitionRow{nameOf(d), d.Description, len(d.Steps), d.Hash()}, ContextSchema: d.Schema, Body: d.Body(),
		Versions: []string{}, Steps: make([]StepTemplate, len(d.Steps)),
	}
	for _, other := range all {
		if other.Namespace == d.Namespace && other.Name == d.Name {
			out.Versions = append(out.Versions, other.Version)
		}
	}
	slices.SortFunc(out.Versions, func(a, b string) int { return domain.CompareVersions(b, a) })
	for i, t := range d.Steps {
		out.Steps[i] = StepTemplate{
			Name: t.Name, Handler: t.Handler, DependsOn: append([]string{}, t.DependsOn...), Description: t.Description,
			RetryLimit: t.RetryLimit, Optional: t.Optional, Skippable: t.Skippable, DependentSystem: t.DependentSystem,
			Timeout: max(0, t.Timeout),
		}
		if t.NotRetryable {
			out.Steps[i].RetryLimit = 1
		}
	}
	return &respond[*DefinitionDetails]{out}, nil
}

// DefinitionBody is a definition in one of its two forms.
type DefinitionBody struct {
	Definition json.RawMessage `json:"definition,omitempty" doc:"the definition as a JSON object"`
	YAML       string          `json:"yaml,omitempty" doc:"or the text of a definition file"`
}

// ApplyInput registers a definition.
type ApplyInput struct {
	Body struct {
		DefinitionBody
		Replace bool `json:"replace,omitempty" doc:"allow another content under the same version; running tasks keep the one that they began with"`
	}
}

func (s *server) apply(ctx context.Context, in *ApplyInput) (*respond[DefinitionName], error) {
	d, err := s.read(in.Body.DefinitionBody)
	if err == nil {
		err = refuseExec(d)
	}
	if err != nil {
		return nil, err
	}
	if !caller(ctx).Sees(d.Namespace) {
		return nil, forbiddenNamespace(caller(ctx), d.Namespace)
	}
	return answer(nameOf(d), s.service.Apply(ctx, d, in.Body.Replace))
}

// read reads a definition in either form.
func (s *server) read(b DefinitionBody) (*tasker.Definition, error) {
	bad := func(detail, hint string) *Problem {
		return newProblem(http.StatusUnprocessableEntity, CodeInvalid, detail, hint)
	}
	switch {
	case (len(b.Definition) > 0) == (b.YAML != ""):
		return nil, bad("exactly one of definition and yaml is needed", "send {\"definition\": {...}} or {\"yaml\": \"...\"}")
	case len(b.Definition) > 0:
		return domain.ParseDefinition(b.Definition) // its error has a type
	case s.ReadDefinition == nil:
		return nil, bad("this server reads no YAML", "send the definition as JSON")
	}
	d, err := s.ReadDefinition([]byte(b.YAML))
	var known *domain.DefinitionError
	if err != nil && !errors.As(err, &known) {
		return nil, bad(err.Error(), "POST /api/v1/definitions/validate lists all that is wrong").at("body.yaml", err.Error())
	}
	return d, err
}

// execHandler runs programs, on the server.
const execHandler = "exec"

// refuseExec: what comes over HTTP runs no programs.
func refuseExec(d *tasker.Definition) error {
	for _, t := range d.Steps {
		if t.Handler == execHandler {
			return newProblem(http.StatusForbidden, CodeForbidden, "step "+t.Name+" runs a program: definitions that come over HTTP may not",
				"put the definition into the server's own folder (tasker serve --definitions --allow-exec)")
		}
	}
	return nil
}

// Checked says what is wrong with a definition.
type Checked struct {
	Valid    bool            `json:"valid"`
	Problems []ProblemDetail `json:"problems"`
}

// CheckInput is a definition that is to be looked at.
type CheckInput struct{ Body DefinitionBody }

func (s *server) validate(ctx context.Context, in *CheckInput) (*respond[Checked], error) {
	d, err := s.read(in.Body)
	if err == nil {
		err = refuseExec(d)
	}
	out := Checked{Valid: err == nil, Problems: []ProblemDetail{}}
	if err == nil {
		return &respond[Checked]{out}, nil
	}
	var p *Problem
	if !errors.As(s.problemOf(ctx, err), &p) || p.Status >= http.StatusInternalServerError {
		return nil, err
	}
	if out.Problems = append(out.Problems, p.Errors...); len(p.Errors) == 0 {
		out.Problems = append(out.Problems, ProblemDetail{Location: "body", Message: p.Detail})
	}
	return &respond[Checked]{out}, nil
}

func (s *server) registerDefinitions() {
	read := []Scope{ScopeRead}
	add(s, action{id: "listDefinitions", method: http.MethodGet, path: "/definitions", tag: "definitions", scopes: read,
		summary: "List definitions", text: "All versions, by name."}, s.definitions)
	add(s, action{id: "getDefinition", method: http.MethodGet, path: "/definitions/{namespace}/{name}", tag: "definitions", scopes: read,
		summary: "Show a definition", text: "With its steps, the schema of its context, its versions, and as it was applied.",
		codes: []Code{CodeDefNotFound}}, s.showDefinition)
	add(s, action{id: "applyDefinition", method: http.MethodPut, path: "/definitions", tag: "definitions", scopes: []Scope{ScopeAdmin}, payload: true,
		summary: "Register a definition", text: "With the running engines, and for those that start later. Steps that run programs (handler exec) are refused.",
		codes: []Code{CodeDefExists}}, s.apply)
	add(s, action{id: "validateDefinition", method: http.MethodPost, path: "/definitions/validate", tag: "definitions", scopes: read, payload: true,
		summary: "Check a definition", text: "Says all that is wrong with it. Nothing is stored."}, s.validate)
}
