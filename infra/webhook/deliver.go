package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Limits of a response.
const (
	maxHeaders    = 64 << 10               // bytes of its headers
	maxBody       = 4 << 10                // bytes of its body that are read
	maxBodyTime   = 250 * time.Millisecond // that reading it may take
	maxSnippet    = 300                    // bytes of it in an error
	maxRetryAfter = time.Hour
)

// ContentType of a delivery: a CloudEvent in structured mode.
const ContentType = "application/cloudevents+json"

// ErrGone: the receiver answered 410 Gone.
var ErrGone = errors.New("the receiver answered 410 Gone: it wants no more")

// deliver sends one event and says what came of it: nil, an error to try again, domain.RetryAfter, domain.Permanent, ErrGone.
func (w *Webhook) deliver(ctx context.Context, event *domain.CloudEvent) error {
	if err := w.wait(ctx); err != nil {
		return err
	}
	body := event.AppendJSON(nil)
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.target.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: the request cannot be made", w.where) // the error holds the url
	}
	for name, value := range w.config.Headers {
		request.Header.Set(name, value)
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "tasker-webhook")
	}
	request.Header.Set("Content-Type", ContentType)
	sign(request.Header, MessageID(event), time.Now(), body, w.keys)
	response, err := w.client.Do(request)
	if err != nil {
		return w.failed(ctx, err)
	}
	defer response.Body.Close()
	text := ""
	if response.StatusCode >= 200 { // else the connection is now for something that nobody speaks, and has no end
		text = read(response.Body, cancel)
	}
	return w.judge(response, text)
}

// MessageID is what a delivery has in HeaderID: the same for every try of an event, another one for every other event, also
// of another log.
func MessageID(e *domain.CloudEvent) string {
	source := e.Source[strings.LastIndexByte(e.Source, '/')+1:]
	return strings.NewReplacer(".", "_", ":", "_").Replace(source + "_" + e.ID) // dots separate what is signed
}

// read takes the beginning of a body, and its end if that is near: then the connection can be used again. It gives up soon,
// because the receiver has said all that counts.
func read(body io.Reader, giveUp func()) string {
	timer := time.AfterFunc(maxBodyTime, giveUp)
	defer timer.Stop()
	text, _ := io.ReadAll(io.LimitReader(body, maxBody)) // what is there is enough
	return string(text)
}

// failed is about a delivery without an answer. What http.Client says has the url in it.
func (w *Webhook) failed(ctx context.Context, err error) error {
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer within %s", w.where, w.config.Timeout)
	}
	return fmt.Errorf("%s: %w", w.where, err)
}

// judge reads the status.
func (w *Webhook) judge(response *http.Response, text string) error {
	status := response.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	err := fmt.Errorf("%s: %d %s%s", w.where, status, http.StatusText(status), w.snippet(text))
	switch {
	case status == http.StatusGone:
		return fmt.Errorf("%w (%w)", ErrGone, err)
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		if wait := retryAfter(response.Header.Get("Retry-After"), time.Now()); wait > 0 {
			w.hold(wait)
			return domain.RetryAfter(wait, err)
		}
		return err
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status < 400, status >= 500:
		return err
	}
	return domain.Permanent(err)
}

// snippet is the beginning of what the receiver said, for people. It is left out where the receiver may have echoed a secret.
func (w *Webhook) snippet(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " ")))
	if text == "" || w.private {
		return ""
	}
	if path := w.target.RequestURI(); len(path) >= 8 && strings.Contains(text, path) {
		return ""
	}
	if len(text) > maxSnippet {
		text = strings.ToValidUTF8(text[:maxSnippet], "") + "..."
	}
	return ": " + text
}

// retryAfter reads the header: seconds, or a date. 0 stands for no wish: it is absent, past or cannot be read.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds > int(maxRetryAfter/time.Second) { // err: more digits than an int holds
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(date.Sub(now), maxRetryAfter))
}
