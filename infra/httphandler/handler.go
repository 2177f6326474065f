// Package httphandler sends an HTTP request as a step: handler "http" (SEMANTICS 9).
//
// handler_config:
//
//	method        default GET
//	url           required; http or https
//	headers       {name: text}
//	query         {name: text, number or boolean}, added to those of the url
//	body          any JSON, sent as it is with Content-Type application/json
//	timeout       of the whole exchange; default 30s
//	max_response  bytes of the body at most; default 1 MiB
//	retry_on      status codes to retry, whatever the table says
//	permanent_on  status codes that fail for good, whatever the table says
//
// url, headers, query and the strings inside of body may hold ${context.key} and ${results.step.key}. In the url such a
// value is escaped, so that it stays one segment of the path or one value of the query, except at its very beginning.
// A header or parameter whose value is null is left out.
//
// Every attempt of a round sends the same Idempotency-Key. At most 10 redirects are followed. The result is
// {"status", "headers", "body"}: the body parsed when its content type is JSON, null when empty, else a string.
//
//	200-226                   success
//	429, 503                  retried; Retry-After (at most 300 s) when given, else the step's backoff
//	400, 401, 403, 404, 422   fails for good, code HTTP_<n>
//	any other, no answer      retried
package httphandler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Limits of an exchange, besides those of its configuration.
const (
	maxRedirects = 10
	maxHeaders   = 64 << 10 // bytes of the response's headers
	maxQuoted    = 512      // bytes of the response's body in an error
)

// Options of New. The zero value works.
type Options struct {
	// Now is the clock that dates in Retry-After are compared with. Default time.Now.
	Now func() time.Time
	// Logger gives the logger of the running step, for wishes that are clipped. nil, and a nil result, discard them.
	Logger func(ctx context.Context) *slog.Logger
	// Transport sends the requests. Default: one with the proxy of the environment and a pool of its own.
	Transport http.RoundTripper
}

// Handler is the step handler. It is safe for use by several goroutines.
type Handler struct {
	o      Options
	client *http.Client
}

var _ domain.StepHandler = (*Handler)(nil)

// New returns the handler. Close it when nothing runs any more.
func New(o Options) *Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxResponseHeaderBytes = maxHeaders
		o.Transport = transport
	}
	return &Handler{o: o, client: &http.Client{
		Transport: o.Transport,
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("stopped after %d redirects", maxRedirects)
			}
			return nil
		},
	}}
}

// Close ends the connections that wait for the next request, and their goroutines. A request after it opens new ones;
// a second call does nothing.
func (h *Handler) Close() error {
	h.client.CloseIdleConnections()
	return nil
}

// Response is the result of a step.
type Response struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"` // canonical names; values of the same name joined with ", "
	Body    json.RawMessage   `json:"body"`
}

// Handle sends the request of the step. The result is a Response.
func (h *Handler) Handle(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) (any, error) {
	c, err := parse(step.Config)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	limited, stop := context.WithTimeoutCause(ctx, time.Duration(c.Timeout),
		fmt.Errorf("no complete answer within %s", time.Duration(c.Timeout)))
	defer stop()
	request, err := newRequest(limited, c, handlerconfig.Scope{Context: task.Context, Steps: steps}, step)
	if err != nil {
		return nil, err
	}
	what := request.Method + " " + request.URL.Scheme + "://" + request.URL.Host + request.URL.EscapedPath()
	response, err := h.client.Do(request)
	if err != nil {
		return nil, unanswered(ctx, limited, what, err)
	}
	defer response.Body.Close()
	if outcome := c.outcome(response.StatusCode); outcome != success {
		return nil, h.refused(ctx, what, response, outcome)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(c.MaxResponse)+1))
	switch {
	case err != nil:
		return nil, unanswered(ctx, limited, what, err)
	case len(body) > c.MaxResponse:
		return nil, &domain.Failure{Kind: domain.KindPermanent, Code: "RESPONSE_TOO_LARGE", Err: fmt.Errorf(
			"%s answered %d with more than %d bytes: raise max_response", what, response.StatusCode, c.MaxResponse)}
	}
	result := Response{Status: response.StatusCode, Headers: map[string]string{}}
	for name, values := range response.Header {
		result.Headers[name] = strings.Join(values, ", ")
	}
	result.Body, err = bodyValue(response.Header.Get("Content-Type"), body)
	return result, err
}

func newRequest(ctx context.Context, c config, scope handlerconfig.Scope, step domain.StepView) (*http.Request, error) {
	text, err := scope.TextWith(ctx, c.URL, escape)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	target, err := parseURL(text)
	if err != nil {
		return nil, handlerconfig.Failed(fmt.Errorf("url: %w", err))
	}
	if err := addQuery(ctx, target, c.Query, scope); err != nil {
		return nil, err
	}
	body, err := scope.ExpandAll(ctx, c.Body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	var reader io.Reader = http.NoBody
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, c.Method, target.String(), reader)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", "tasker")
	request.Header.Set("Idempotency-Key", step.IdempotencyKey)
	for name, template := range c.Headers {
		value, there, err := scope.Text(ctx, template)
		switch {
		case err != nil:
			return nil, fmt.Errorf("headers.%s: %w", name, err)
		case !there:
			continue
		}
		if err := checkHeader(value); err != nil {
			return nil, handlerconfig.Failed(fmt.Errorf("headers.%s: %w", name, err))
		}
		if request.Header.Set(name, value); http.CanonicalHeaderKey(name) == "Host" {
			request.Host = value
		}
	}
	return request, nil
}

func addQuery(ctx context.Context, target *url.URL, parameters map[string]scalar, scope handlerconfig.Scope) error {
	if len(parameters) == 0 {
		return nil
	}
	query := url.Values{}
	for name, template := range parameters {
		value, there, err := scope.Text(ctx, string(template))
		if err != nil {
			return fmt.Errorf("query.%s: %w", name, err)
		}
		if there {
			query.Set(name, value)
		}
	}
	target.RawQuery = strings.TrimSuffix(strings.Trim(target.RawQuery, "&")+"&"+query.Encode(), "&")
	target.RawQuery = strings.TrimPrefix(target.RawQuery, "&")
	return nil
}

// escape keeps a value of a template from being more than a segment of the path or a value of the query.
func escape(before, value string) (string, error) {
	switch {
	case before == "":
		return value, nil
	case strings.Contains(before, "?"):
		return url.QueryEscape(value), nil
	case value == "." || value == "..":
		return "", fmt.Errorf("%q would change the path of the url", value)
	}
	return url.PathEscape(value), nil
}

// unanswered is the error of an exchange that broke. The url stays out of it but for its path: queries hold secrets.
// ctx is the step's, limited ends earlier.
func unanswered(ctx, limited context.Context, what string, err error) error {
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s was stopped: %w (%w)", what, context.Cause(ctx), ctx.Err())
	case limited.Err() != nil:
		err = context.Cause(limited)
	}
	return &domain.Failure{Err: fmt.Errorf("%s: %w", what, err), Code: "TRANSPORT"}
}

// refused is the error of an answer that is no success.
func (h *Handler) refused(ctx context.Context, what string, response *http.Response, outcome outcome) error {
	quoted, _ := io.ReadAll(io.LimitReader(response.Body, maxQuoted)) // an answer that breaks off has a status all the same
	text := strings.TrimSpace(strings.ToValidUTF8(string(quoted), ""))
	if text != "" {
		text = ": " + text
	}
	failure := &domain.Failure{
		Err:  fmt.Errorf("%s answered %s%s", what, response.Status, text),
		Code: fmt.Sprintf("HTTP_%d", response.StatusCode),
	}
	switch outcome {
	case success, retry:
	case permanent:
		failure.Kind = domain.KindPermanent
	case retryAfter:
		wish := response.Header.Get("Retry-After")
		wait, clipped := parseRetryAfter(wish, h.o.Now())
		failure.RetryAfter = wait
		if clipped && h.o.Logger != nil {
			if log := h.o.Logger(ctx); log != nil {
				log.Warn("Retry-After was clipped", "retry_after", wish, "wait", wait)
			}
		}
	}
	return failure
}

func bodyValue(contentType string, body []byte) (json.RawMessage, error) {
	trimmed := bytes.TrimSpace(body)
	media, _, _ := mime.ParseMediaType(contentType) // one that cannot be parsed is not JSON
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	switch {
	case len(body) == 0, isJSON && len(trimmed) == 0:
		return json.RawMessage("null"), nil
	case isJSON && json.Valid(trimmed):
		return trimmed, nil
	}
	return json.Marshal(string(body))
}

// outcome of a status.
type outcome int

const (
	success outcome = iota
	retry
	retryAfter // as the answer wishes
	permanent
)

// outcome is the table of SEMANTICS 9.
func (c config) outcome(status int) outcome {
	asks := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	switch {
	case slices.Contains(c.PermanentOn, status):
		return permanent
	case asks:
		return retryAfter
	case slices.Contains(c.RetryOn, status):
		return retry
	case status >= http.StatusOK && status <= http.StatusIMUsed:
		return success
	}
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusUnprocessableEntity:
		return permanent
	}
	return retry
}
