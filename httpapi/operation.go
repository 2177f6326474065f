package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// action is an operation of the API: what it is, and who may ask for it.
type action struct {
	id, method, path string
	tag              string
	summary, text    string
	scopes           []Scope // all of them are needed
	unlimited        bool    // a caller that is limited to namespaces may not
	payload          bool    // its body has a context or a result in it
	patient          bool    // it sets its own end
	anyAnswer        bool    // what it answers is no JSON
	fields           bool    // it takes field.NAME=VALUE
	created          bool    // answers 201 as well as 200
	codes            []Code  // of the problems that are its own
}

const metaAction = "action"

// add registers an operation. What h returns as an error becomes a Problem.
func add[I, O any](s *server, a action, h func(ctx context.Context, in *I) (*O, error)) {
	op := huma.Operation{
		OperationID: a.id, Method: a.method, Path: base + a.path, Tags: []string{a.tag}, Summary: a.summary, Description: a.describe(),
		Metadata: map[string]any{metaAction: &a}, MaxBodyBytes: -1, BodyReadTimeout: -1, // see body
		Responses: a.responses(s.api.OpenAPI().Components.Schemas),
		Security:  a.security(),
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problemOf(ctx, err)
		}
		return out, nil
	})
}

// enter is run before every operation: who asks, may it, is the request whole and of the right kind.
func (s *server) enter(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	a, _ := ctx.Operation().Metadata[metaAction].(*action)
	who, p := s.authenticate(r)
	if p == nil {
		p = a.permit(who)
	}
	if p == nil {
		p = a.acceptable(r)
	}
	if p == nil {
		p = checkQuery(r, ctx.Operation(), a.fields)
	}
	if p == nil {
		p = checkContentType(r)
	}
	if p == nil {
		var done func()
		if done, p = s.body(w, r, a.payload); p == nil {
			defer done()
		}
	}
	if p != nil {
		p.write(w, r)
		return
	}
	c := context.WithValue(ctx.Context(), identityKey{}, who)
	if a.patient {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.MaxWait + s.Timeout + s.WriteTimeout))
	} else {
		var cancel context.CancelFunc
		c, cancel = context.WithTimeout(c, s.Timeout)
		defer cancel()
	}
	next(huma.WithContext(ctx, c))
}

type identityKey struct{}

// caller is who asks.
func caller(ctx context.Context) *Identity {
	who, _ := ctx.Value(identityKey{}).(*Identity)
	return who
}

// maxActor is the longest name of a caller, in bytes.
const maxActor = 256

func (s *server) authenticate(r *http.Request) (*Identity, *Problem) {
	if s.Auth == nil {
		name := r.Header.Get(headerActor)
		if name == "" {
			name = "http"
		}
		if len(name) > maxActor || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.TrimSpace(name) != name {
			return nil, newProblem(http.StatusUnprocessableEntity, CodeInvalid,
				"header "+headerActor+": it names who acts, in at most 256 bytes of UTF-8 without control characters", "send a name").
				at("header."+headerActor, "not a name")
		}
		return &Identity{Name: name, Scopes: Scopes(), Kind: AuthOff}, nil
	}
	who, err := s.Auth.Authenticate(r)
	switch {
	case err == nil:
		return &who, nil
	case errors.Is(err, ErrUnauthorized):
		p := newProblem(http.StatusUnauthorized, CodeUnauthorized, err.Error(), "send Authorization: Bearer TOKEN; an administrator makes tokens: tasker token create")
		p.header = http.Header{"Www-Authenticate": {`Bearer realm="tasker"`}}
		return nil, p
	}
	return nil, s.unknownCaller(r.Context(), err)
}

// unknownCaller: the Authenticator has no answer. Its error may say what to do (Hint() string), and when (RetryAfter()
// time.Duration).
func (s *server) unknownCaller(ctx context.Context, err error) *Problem {
	s.Logger.WarnContext(ctx, "a caller could not be authenticated", "error", err)
	p := newProblem(http.StatusServiceUnavailable, CodeAuthUnavailable, "who calls cannot be found out now", "try again later; the server's log says why")
	p.retryAfter = time.Second
	var hint interface{ Hint() string }
	if errors.As(err, &hint) {
		p.Hint = hint.Hint()
	}
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		p.retryAfter = later.RetryAfter()
	}
	return p
}

// permit compares what the caller may do with what is needed.
func (a *action) permit(who *Identity) *Problem {
	for _, need := range a.scopes {
		if !who.May(need) {
			return newProblem(http.StatusForbidden, CodeForbidden,
				fmt.Sprintf("%s needs the scope %q; %q has %q", a.id, need, who.Name, who.Scopes), "ask an administrator for a token with that scope")
		}
	}
	if a.unlimited && len(who.Namespaces) > 0 {
		return newProblem(http.StatusForbidden, CodeForbidden,
			fmt.Sprintf("%s is about all namespaces; %q is limited to %q", a.id, who.Name, who.Namespaces), "use a token that is not limited to namespaces")
	}
	return nil
}

// acceptable looks at Accept before anything is done: an answer that nobody takes would be too late.
func (a *action) acceptable(r *http.Request) *Problem {
	accept := r.Header.Values("Accept")
	if a.anyAnswer || len(accept) == 0 {
		return nil
	}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "", "*/*", "application/*", "application/json", "application/problem+json":
			if q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(params), "q="), 64); err != nil || q > 0 {
				r.Header.Set("Accept", "application/json")
				return nil
			}
		}
	}
	return newProblem(http.StatusNotAcceptable, CodeNotAcceptable, "answers are JSON", "send Accept: application/json, or none")
}

// respond is an answer with a body.
type respond[T any] struct{ Body T }

func answer[T any](body T, err error) (*respond[T], error) {
	if err != nil {
		return nil, err
	}
	return &respond[T]{body}, nil
}

// describe is the text with what the operation needs.
func (a *action) describe() string {
	text := a.text
	switch {
	case len(a.scopes) == 0:
		return strings.TrimSpace(text)
	case len(a.scopes) == 1:
		text += fmt.Sprintf("\n\nNeeds the scope `%s`.", a.scopes[0])
	default:
		names := make([]string, len(a.scopes))
		for i, need := range a.scopes {
			names[i] = "`" + string(need) + "`"
		}
		text += "\n\nNeeds the scopes " + strings.Join(names, " and ") + "."
	}
	if a.unlimited {
		text += " Not for tokens that are limited to namespaces."
	}
	return strings.TrimSpace(text)
}

// security of an operation in the description: any token, or none where authentication is off.
func (a *action) security() []map[string][]string {
	return []map[string][]string{{"bearer": {}}, {}}
}

// everywhere are the codes that every operation may answer with.
var everywhere = []Code{
	CodeInvalid, CodeUnauthorized, CodeForbidden, CodeCrossOrigin, CodeHost, CodeNotAcceptable, CodeTooLarge, CodeTimeout,
	CodeNotRunning, CodeNoOwner, CodeUnavailable, CodeAuthUnavailable, CodeInternal,
}

// ofChanges are those of operations that are sent a body, or change something.
var ofChanges = []Code{CodeMediaType, CodeOverloaded, CodeOutcomeUnknown}

// common are the codes that the operation shares with others.
func (a *action) common() []Code {
	all := slices.Clone(everywhere)
	if a.method != http.MethodGet {
		all = append(all, ofChanges...)
	}
	return all
}
