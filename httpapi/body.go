package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tasker-go/tasker/domain"
)

// checkContentType: what changes something is JSON, which a page of another origin cannot send unasked, or has no body and
// a header that such a page cannot set.
func checkContentType(r *http.Request) *Problem {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	refuse := func(detail string) *Problem {
		return newProblem(http.StatusUnsupportedMediaType, CodeMediaType, detail,
			"send Content-Type: application/json; without a body, "+headerRequest+": 1 will do")
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return refuse("the body is encoded: " + shown(coding).(string) + " is not understood")
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		if r.ContentLength == 0 && r.Header.Get(headerRequest) != "" {
			return nil
		}
		return refuse("the request says nothing about its content")
	}
	kind, params, err := mime.ParseMediaType(given)
	charset := strings.ToLower(params["charset"])
	if err != nil || kind != "application/json" || charset != "" && charset != "utf-8" {
		return refuse(fmt.Sprintf("%q is not understood", shown(given)))
	}
	return nil
}

// body reads the body, within its limits, checks that it is JSON, and puts it back. done has to be called.
func (s *server) body(w http.ResponseWriter, r *http.Request, payload bool) (done func(), p *Problem) {
	done = func() {}
	if r.Body == nil || r.Body == http.NoBody || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return done, nil
	}
	limit := s.MaxBody
	if payload {
		limit = s.MaxPayloadBody
	}
	large := r.ContentLength > s.MaxBody || r.ContentLength < 0 && payload
	tooLarge := newProblem(http.StatusRequestEntityTooLarge, CodeTooLarge, fmt.Sprintf("the body may have %d bytes", limit),
		"keep the data elsewhere, and pass a reference")
	tooLarge.header = http.Header{"Connection": {"close"}}
	if r.ContentLength > limit {
		return done, tooLarge
	}
	if large {
		select {
		case s.large <- struct{}{}:
			done = func() { <-s.large }
		default:
			p = newProblem(http.StatusServiceUnavailable, CodeOverloaded, "too many large requests are being handled", "try again later; nothing was stored")
			p.retryAfter = time.Second
			p.header = http.Header{"Connection": {"close"}}
			return func() {}, p
		}
	}
	text, p := s.readBody(w, r, limit, tooLarge)
	if p == nil && len(text) > 0 {
		text, p = checkJSON(text)
	}
	if p != nil {
		done()
		return func() {}, p
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return done, nil
}

func (s *server) readBody(w http.ResponseWriter, r *http.Request, limit int64, tooLarge *Problem) ([]byte, *Problem) {
	control := http.NewResponseController(w)
	// A deadline that is left would end the request's context, when the connection is watched for the client's going.
	if err := control.SetReadDeadline(time.Now().Add(s.BodyTimeout)); err == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p := newProblem(http.StatusRequestTimeout, CodeTimeout, fmt.Sprintf("the body did not arrive within %s", s.BodyTimeout), "send it faster; nothing was stored")
		p.header = http.Header{"Connection": {"close"}}
		return nil, p
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, CodeInvalid, "the body ends too early", "send all of it; nothing was stored")
	case int64(len(text)) > limit:
		return nil, tooLarge
	}
	return text, nil
}

// checkJSON refuses what is no JSON, and objects of which it is not clear what they say.
func checkJSON(text []byte) ([]byte, *Problem) {
	bad := func(message string) *Problem {
		return newProblem(http.StatusBadRequest, CodeInvalid, "the body: "+message, "send one JSON object, in UTF-8").at("body", message)
	}
	if !utf8.Valid(text) {
		return nil, bad("it is not UTF-8")
	}
	compact, err := domain.CompactJSON(text)
	if err != nil {
		return nil, bad(err.Error())
	}
	if key := duplicate(compact); key != "" {
		return nil, bad(fmt.Sprintf("the key %q stands there twice", shown(key)))
	}
	return compact, nil
}

// duplicate is a key that an object has twice; what is inside its values is not looked at.
func duplicate(text []byte) string {
	d := json.NewDecoder(bytes.NewReader(text))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return ""
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return ""
		}
		if seen[name] {
			return name
		}
		seen[name] = true
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return ""
		}
	}
	return ""
}

// fieldPrefix begins parameters that are named for context fields: field.customer=7.
const fieldPrefix = "field."

// checkQuery refuses parameters that the operation does not have: a filter that is misspelt would show everything.
func checkQuery(r *http.Request, op *huma.Operation, fields bool) *Problem {
	bad := func(location, message, hint string) *Problem {
		return newProblem(http.StatusUnprocessableEntity, CodeInvalid, location+": "+message, hint).at(location, message)
	}
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("query", "it cannot be read: "+shown(err.Error()).(string), "encode it")
	}
	var known []string
	repeats := map[string]bool{}
	for _, p := range op.Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
			repeats[p.Name] = p.Explode != nil && *p.Explode
		}
	}
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		location := "query." + shown(name).(string)
		field := fields && strings.HasPrefix(name, fieldPrefix) && len(name) > len(fieldPrefix)
		switch {
		case !field && !slices.Contains(known, name):
			hint := "the operation takes no parameters in its query"
			if near := domain.Nearest(name, known); near != "" {
				hint = "did you mean " + near + "?"
			} else if len(known) > 0 {
				hint = "possible: " + strings.Join(known, ", ")
			}
			return bad(location, "there is no such parameter", hint)
		case len(given[name]) > 1 && !repeats[name]:
			return bad(location, "it stands there twice", "send it once")
		}
		for _, value := range given[name] {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return bad(location, "it is not UTF-8 without NUL", "encode it as UTF-8")
			}
		}
	}
	return nil
}
