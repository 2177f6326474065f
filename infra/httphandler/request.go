package httphandler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// secretAsked gives the value of a secret to a template, and hides it from then on.
func (x *exchange) secretAsked(ctx context.Context, name string) (string, error) {
	value, err := x.h.o.Secret(ctx, name)
	if err != nil {
		return "", err
	}
	if size := len(strings.TrimSpace(value)); size < minSecret || !utf8.ValidString(value) {
		return "", &domain.Failure{Kind: domain.KindPermanent, Code: "SECRET", Err: fmt.Errorf(
			"a secret is UTF-8 of at least %d bytes, and this one has %d: what is shorter cannot be kept out of the log", minSecret, size)}
	}
	x.hidden.add(value)
	x.asked++
	return value, nil
}

// withSecret reports whether expand asked for a secret.
func (x *exchange) withSecret(expand func() error) (bool, error) {
	before := x.asked
	err := expand()
	return x.asked > before, err
}

// request is what the configuration makes of the task.
func (x *exchange) request(task domain.TaskView, steps domain.Sequence, step domain.StepView) (*http.Request, error) {
	scope := handlerconfig.Scope{Context: task.Context, Steps: steps, Secret: x.secretAsked}
	target, err := x.target(scope)
	if err != nil {
		return nil, err
	}
	var body []byte
	var contentType string
	if x.secretBody, err = x.withSecret(func() error {
		body, contentType, err = x.body(scope)
		return err
	}); err != nil {
		return nil, err
	}
	var reader io.Reader = http.NoBody
	if contentType != "" {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(x.ctx, x.c.Method, target.String(), reader)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("User-Agent", "tasker")
	request.Header.Set(idempotencyKey, step.IdempotencyKey)
	request.Header.Set("Traceparent", traceparent(x.ctx, task, step))
	return request, x.headers(request, scope)
}

func (x *exchange) headers(request *http.Request, scope handlerconfig.Scope) error {
	for name, template := range x.c.Headers {
		var value string
		var there bool
		secret, err := x.withSecret(func() (err error) {
			value, there, err = scope.Text(x.ctx, template)
			return err
		})
		switch {
		case err != nil:
			return fmt.Errorf("headers.%s: %w", name, err)
		case !there:
			continue
		}
		if err := checkHeader(value); err != nil {
			return handlerconfig.Failed(fmt.Errorf("headers.%s: %w", name, err))
		}
		canonical := http.CanonicalHeaderKey(name)
		if secret {
			x.secretHeaders = append(x.secretHeaders, canonical)
		}
		if request.Header.Set(canonical, value); canonical == "Host" {
			request.Host = value
		}
	}
	return nil
}

// target is the url with its query.
func (x *exchange) target(scope handlerconfig.Scope) (*url.URL, error) {
	text, err := scope.TextWith(x.ctx, x.c.URL, escape)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	target, err := parseURL(text)
	if err != nil {
		return nil, handlerconfig.Failed(fmt.Errorf("url: %w", err))
	}
	query, err := fields(x.ctx, "query", x.c.Query, scope)
	if err != nil || query == "" {
		return target, err
	}
	if own := strings.Trim(target.RawQuery, "&"); own != "" {
		query = own + "&" + query
	}
	target.RawQuery = query
	return target, nil
}

// body is what is sent, and its type; "" when nothing is.
func (x *exchange) body(scope handlerconfig.Scope) ([]byte, string, error) {
	switch {
	case x.c.Form != nil:
		form, err := fields(x.ctx, "form", x.c.Form, scope)
		return []byte(form), "application/x-www-form-urlencoded", err
	case x.c.Text != nil:
		text, there, err := scope.Text(x.ctx, *x.c.Text)
		if err != nil {
			return nil, "", fmt.Errorf("text: %w", err)
		}
		if !there {
			return nil, "", nil
		}
		return []byte(text), "text/plain; charset=utf-8", nil
	case x.c.Body != nil:
		body, err := scope.ExpandAll(x.ctx, x.c.Body)
		if err != nil {
			return nil, "", fmt.Errorf("body: %w", err)
		}
		return body, "application/json", nil
	}
	return nil, "", nil
}

// fields is the encoded form of parameters; those that are null are left out.
func fields(ctx context.Context, key string, parameters map[string]scalar, scope handlerconfig.Scope) (string, error) {
	values := url.Values{}
	for name, template := range parameters {
		value, there, err := scope.Text(ctx, string(template))
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", key, name, err)
		}
		if there {
			values.Set(name, value)
		}
	}
	return values.Encode(), nil
}

// escape keeps a value of a template from being more than a segment of the path or a value of the query.
func escape(before, value string) (string, error) {
	switch {
	case before == "":
		return value, nil
	case strings.Contains(before, "?"):
		return url.QueryEscape(value), nil
	case value == "." || value == "..":
		return "", errors.New(`"` + value + `" would change the path of the url`)
	}
	return url.PathEscape(value), nil
}

// proxy is the url of the configured proxy, or proxyNone or proxyEnvironment.
func (x *exchange) proxy(task domain.TaskView, steps domain.Sequence) (string, error) {
	scope := handlerconfig.Scope{Context: task.Context, Steps: steps, Secret: x.secretAsked}
	text, err := scope.TextWith(x.ctx, x.c.Proxy, escape)
	if err != nil {
		return "", fmt.Errorf("proxy: %w", err)
	}
	if text == proxyEnvironment || text == proxyNone {
		return text, nil
	}
	if _, err := parseProxy(text); err != nil {
		return "", handlerconfig.Failed(fmt.Errorf("proxy: %w", err))
	}
	return text, nil
}
