package httphandler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Defaults of a handler_config.
const (
	DefaultTimeout     = 30 * time.Second
	DefaultMaxResponse = 1 << 20
)

// config is the handler_config of a step.
type config struct {
	Method      string                 `json:"method"`
	URL         string                 `json:"url"`
	Headers     map[string]string      `json:"headers"`
	Query       map[string]scalar      `json:"query"`
	Body        json.RawMessage        `json:"body"`
	Timeout     handlerconfig.Duration `json:"timeout"`
	MaxResponse int                    `json:"max_response"`
	RetryOn     []int                  `json:"retry_on"`
	PermanentOn []int                  `json:"permanent_on"`
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
		return errors.New("a query parameter must be a string, a number or a boolean")
	default:
		*s = scalar(b)
	}
	return nil
}

// Validate finds mistakes in a handler_config, so that a definition is refused before it runs.
func Validate(raw json.RawMessage) error {
	_, err := parse(raw)
	return err
}

func parse(raw json.RawMessage) (config, error) {
	c := config{Method: http.MethodGet, Timeout: handlerconfig.Duration(DefaultTimeout), MaxResponse: DefaultMaxResponse}
	if err := handlerconfig.Decode(raw, &c); err != nil {
		return c, err
	}
	if bytes.Equal(c.Body, []byte("null")) {
		c.Body = nil
	}
	c.Method = strings.ToUpper(c.Method)

	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("handler_config."+format, args...))
	}
	if !isToken(c.Method) {
		report("method: %q is not an HTTP method", c.Method)
	}
	if err := checkURL(c.URL); err != nil {
		report("url: %w", err)
	}
	for name, value := range c.Headers {
		if !isToken(name) {
			report("headers: %q is not the name of a header", name)
		}
		if err := errors.Join(checkHeader(value), handlerconfig.Check(value)); err != nil {
			report("headers.%s: %w", name, err)
		}
	}
	for name, value := range c.Query {
		if err := handlerconfig.Check(string(value)); err != nil {
			report("query.%s: %w", name, err)
		}
	}
	if err := handlerconfig.CheckAll(c.Body); err != nil {
		report("body: %w", err)
	}
	if c.Timeout <= 0 {
		report("timeout must be more than 0; leave it out for %s", DefaultTimeout)
	}
	if c.MaxResponse < 1 {
		report("max_response must be at least 1 byte, got %d", c.MaxResponse)
	}
	for _, status := range slices.Concat(c.RetryOn, c.PermanentOn) {
		if status < 200 || status > 599 {
			report("retry_on and permanent_on hold status codes from 200 to 599, got %d", status)
		}
	}
	for _, status := range c.RetryOn {
		if slices.Contains(c.PermanentOn, status) {
			report("retry_on and permanent_on both hold %d", status)
		}
	}
	return c, errors.Join(problems...)
}

func checkURL(text string) error {
	switch {
	case text == "":
		return errors.New("is missing: write it like https://shop.example/orders/${context.order}")
	case strings.HasPrefix(text, "${"):
		return handlerconfig.Check(text)
	}
	if err := handlerconfig.Check(text); err != nil {
		return err
	}
	_, err := parseURL(places.ReplaceAllString(text, "1")) // which may stand for a host, a port and a key
	return err
}

var places = regexp.MustCompile(`\$\{[^}]*\}`)

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q begins neither with http:// nor with https://", text)
	case u.Host == "":
		return nil, fmt.Errorf("%q has no host", text)
	}
	return u, nil
}

func checkHeader(value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("a header cannot hold line breaks and other control characters")
	}
	return nil
}

// isToken: RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
