package httphandler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// maxQuoted is how many bytes of the response's body an error quotes.
const maxQuoted = 512

// Response is the result of a step.
type Response struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"` // canonical names; values of the same name joined with ", "
	Body    json.RawMessage   `json:"body"`
}

// answer reads a response, and closes it.
func (x *exchange) answer(response *http.Response) (Response, error) {
	defer response.Body.Close()
	if outcome := x.c.outcome(response.StatusCode); outcome != success {
		return Response{}, x.refused(response, outcome)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(x.c.MaxResponse)+1))
	switch {
	case len(body) > x.c.MaxResponse:
		return Response{}, x.tooLarge(response.Status)
	case err != nil:
		return Response{}, x.unanswered(err)
	}
	result := Response{Status: response.StatusCode, Headers: map[string]string{}}
	for name, values := range response.Header {
		result.Headers[x.hidden.text(name, 0)] = x.hidden.text(strings.Join(values, ", "), 0)
	}
	result.Body = x.value(response.Header.Get("Content-Type"), body)
	return result, nil
}

// value is the body as JSON, without secrets.
func (x *exchange) value(contentType string, body []byte) json.RawMessage {
	trimmed := bytes.TrimSpace(body)
	media, _, _ := mime.ParseMediaType(contentType) // one that cannot be parsed is not JSON
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	switch {
	case len(body) == 0, isJSON && len(trimmed) == 0:
		return json.RawMessage("null")
	case isJSON && json.Valid(trimmed):
		return x.hidden.json(trimmed)
	}
	return encodeJSON(x.hidden.text(string(body), minSecret))
}

// tooLarge is the error of an answer beyond max_response, or beyond what it may need on the network.
func (x *exchange) tooLarge(status string) error {
	if status != "" {
		status = " " + status
	}
	return &domain.Failure{Kind: domain.KindPermanent, Code: "RESPONSE_TOO_LARGE", Err: fmt.Errorf(
		"%s answered%s with more than %d bytes: raise max_response", x.what, status, x.c.MaxResponse)}
}

// refused is the error of an answer that is no success.
func (x *exchange) refused(response *http.Response, outcome outcome) error {
	var quoted []byte
	if response.StatusCode != http.StatusSwitchingProtocols { // whose connection does not end with the context
		quoted, _ = io.ReadAll(io.LimitReader(response.Body, maxQuoted)) // an answer that breaks off has a status all the same
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(quoted), "")) // stands last, where the beginning of a secret is hidden, too
	if text != "" {
		text = ": " + text
	}
	if location := response.Header.Get("Location"); location != "" && response.StatusCode/100 == 3 && x.c.Redirects == 0 {
		text = " (redirects are not followed)" + text
	}
	failure := &domain.Failure{
		Err:  fmt.Errorf("%s answered %s%s", x.what, response.Status, text),
		Code: fmt.Sprintf("HTTP_%d", response.StatusCode),
	}
	switch outcome {
	case success, retry:
	case permanent:
		failure.Kind = domain.KindPermanent
	case retryAfter:
		wish := response.Header.Get("Retry-After")
		wait, clipped := parseRetryAfter(wish, x.h.o.Now())
		failure.RetryAfter = wait
		if clipped && x.h.o.Logger != nil {
			if log := x.h.o.Logger(x.step); log != nil {
				log.Warn("Retry-After was clipped", "retry_after", x.hidden.text(wish, minPartial), "wait", wait)
			}
		}
	}
	return failure
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
func (c *config) outcome(status int) outcome {
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
