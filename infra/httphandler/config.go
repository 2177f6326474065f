package httphandler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Defaults of a handler_config.
const (
	DefaultTimeout        = 30 * time.Second
	DefaultConnectTimeout = 30 * time.Second
	DefaultMaxResponse    = 1 << 20 // bytes
	DefaultRedirects      = 10
)

// maxRedirects is the most that redirects can be set to.
const maxRedirects = 50

// config is the handler_config of a step.
type config struct {
	Method         string                 `json:"method"`
	URL            string                 `json:"url"`
	Headers        map[string]string      `json:"headers"`
	Query          map[string]scalar      `json:"query"`
	Body           json.RawMessage        `json:"body"`
	Form           map[string]scalar      `json:"form"`
	Text           *string                `json:"text"`
	Timeout        handlerconfig.Duration `json:"timeout"`
	ConnectTimeout handlerconfig.Duration `json:"connect_timeout"`
	MaxResponse    int                    `json:"max_response"`
	Redirects      int                    `json:"redirects"`
	RetryOn        []int                  `json:"retry_on"`
	PermanentOn    []int                  `json:"permanent_on"`
	TLS            json.RawMessage        `json:"tls"`
	Proxy          string                 `json:"proxy"`

	tls tlsConfig
}

// scalar is a string, which may be a template, or the text of a number or boolean.
type scalar string

// UnmarshalJSON refuses what has no text.
func (s *scalar) UnmarshalJSON(b []byte) error {
	var text string
	switch err := json.Unmarshal(b, &text); {
	case err == nil && string(b) != "null":
		*s = scalar(text)
	case string(b) == "null" || b[0] == '{' || b[0] == '[':
		return errors.New("a query parameter must be a string, a number or a boolean, and so must a field of a form")
	default:
		*s = scalar(b)
	}
	return nil
}

// Validate finds mistakes in a handler_config, so that a definition is refused before it runs. It reads no file and
// opens no connection: the process that validates may be another one than the one that runs the step.
func Validate(raw json.RawMessage) error {
	_, err := parse(raw)
	return err
}

func parse(raw json.RawMessage) (config, error) {
	c := config{
		Method: http.MethodGet, Timeout: handlerconfig.Duration(DefaultTimeout), MaxResponse: DefaultMaxResponse,
		ConnectTimeout: handlerconfig.Duration(DefaultConnectTimeout), Redirects: DefaultRedirects,
	}
	if err := handlerconfig.Decode(raw, &c); err != nil {
		return c, err
	}
	if bytes.Equal(c.Body, []byte("null")) {
		c.Body = nil
	}
	c.Method = strings.ToUpper(c.Method)
	p := &problems{}
	c.checkRequest(p)
	c.checkLimits(p)
	c.tls = parseTLS(c.TLS, p)
	if err := checkProxy(c.Proxy); err != nil {
		p.report("proxy: %w", err)
	}
	return c, errors.Join(p.list...)
}

// problems are all that is wrong with a configuration.
type problems struct{ list []error }

func (p *problems) report(format string, args ...any) {
	p.list = append(p.list, fmt.Errorf("handler_config."+format, args...))
}

func (c *config) checkRequest(p *problems) {
	if !isToken(c.Method) {
		p.report("method: %q is not an HTTP method", c.Method)
	}
	if err := checkURL(c.URL); err != nil {
		p.report("url: %w", err)
	}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name]
		if !isToken(name) {
			p.report("headers: %q is not the name of a header", name)
		}
		if err := errors.Join(checkHeader(value), handlerconfig.CheckSecret(value)); err != nil {
			p.report("headers.%s: %w", name, err)
		}
		canonical := http.CanonicalHeaderKey(name)
		if other, twice := seen[canonical]; twice {
			p.report("headers: %s and %s are one header: write it once", other, name)
		}
		seen[canonical] = name
	}
	checkFields("query", c.Query, p)
	checkFields("form", c.Form, p)
	if err := handlerconfig.CheckAllSecret(c.Body); err != nil {
		p.report("body: %w", err)
	}
	if c.Text != nil {
		if err := handlerconfig.CheckSecret(*c.Text); err != nil {
			p.report("text: %w", err)
		}
	}
	switch {
	case c.Body != nil && c.Form != nil:
		p.report("form: the request has a body already: keep one of body, form and text")
	case c.Text != nil && (c.Body != nil || c.Form != nil):
		p.report("text: the request has a body already: keep one of body, form and text")
	}
}

func checkFields(key string, fields map[string]scalar, p *problems) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := handlerconfig.CheckSecret(string(fields[name])); err != nil {
			p.report("%s.%s: %w", key, name, err)
		}
	}
}

func (c *config) checkLimits(p *problems) {
	if c.Timeout <= 0 {
		p.report("timeout must be more than 0; leave it out for %s", DefaultTimeout)
	}
	switch explicit := time.Duration(c.ConnectTimeout) != DefaultConnectTimeout; {
	case c.ConnectTimeout <= 0:
		p.report("connect_timeout must be more than 0; leave it out for %s", DefaultConnectTimeout)
	case explicit && c.Timeout > 0 && c.ConnectTimeout > c.Timeout:
		p.report("connect_timeout is %s, but the whole exchange ends after the timeout of %s: make it shorter",
			time.Duration(c.ConnectTimeout), time.Duration(c.Timeout))
	}
	if c.MaxResponse < 1 {
		p.report("max_response must be at least 1 byte, got %d", c.MaxResponse)
	}
	if c.Redirects < 0 || c.Redirects > maxRedirects {
		p.report("redirects must be 0 to %d, got %d: how many to follow, 0 for none", maxRedirects, c.Redirects)
	}
	for _, status := range slices.Concat(c.RetryOn, c.PermanentOn) {
		if status < 200 || status > 599 {
			p.report("retry_on and permanent_on hold status codes from 200 to 599, got %d", status)
		}
	}
	for _, status := range c.RetryOn {
		if slices.Contains(c.PermanentOn, status) {
			p.report("retry_on and permanent_on both hold %d", status)
		}
	}
}
