package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tasker-go/tasker/domain"
)

var null = json.RawMessage("null")

// outcome makes the report of what the handler returned.
func (x *execution) outcome(result any, err error) domain.Command {
	if err != nil {
		return x.failure(err)
	}
	text, err := encode(result)
	if err != nil {
		return x.permanent("the result is not JSON: %v", err)
	}
	if len(text) > domain.MaxPayload {
		return x.permanent("the result has %d bytes of JSON, more than the %d that a result may have: "+
			"store it elsewhere and return a reference", len(text), domain.MaxPayload)
	}
	p := domain.Inline(text)
	if len(text) > domain.InlineLog {
		if x.exec.cfg.Store == nil {
			return x.permanent("the result has %d bytes of JSON and this executor has no store for more than %d",
				len(text), domain.InlineLog)
		}
		err := again(x, func() (err error) {
			p, err = x.exec.cfg.Store(x, text)
			return err
		})
		if err != nil {
			return x.failure(fmt.Errorf("storing a result of %d bytes: %w", len(text), err))
		}
	}
	return domain.CompleteStep{Step: int(x.key.step), Attempt: x.call.Step.Attempt, Result: p}
}

// encode gives the result as compact JSON.
func encode(result any) (json.RawMessage, error) {
	switch r := result.(type) {
	case nil:
		return null, nil
	case json.RawMessage:
		if len(r) == 0 {
			return null, nil
		}
		return domain.CompactJSON(r)
	}
	return json.Marshal(result)
}

// failure makes the report of an error that the handler returned.
func (x *execution) failure(err error) domain.Command {
	if x.timeout > 0 && errors.Is(err, context.DeadlineExceeded) && !time.Now().Before(x.deadline) {
		return x.fail(timeoutError(x.timeout), 0) // it saw the timeout before the timer did
	}
	e := domain.StepError{Kind: domain.KindError, Message: err.Error()}
	var wish time.Duration
	var f *domain.Failure
	if errors.As(err, &f) {
		wish, e.Code = max(f.RetryAfter, 0), f.Code
		if f.Kind != "" && !engineOnly(f.Kind) {
			e.Kind = f.Kind
		}
	}
	return x.fail(e, wish)
}

// engineOnly: kinds with rules of their own, which a handler cannot claim (SEMANTICS 3).
func engineOnly(k domain.ErrorKind) bool {
	return k == domain.KindWorkerLost || k == domain.KindInterrupted || k == domain.KindDeadline
}

func (x *execution) fail(e domain.StepError, wish time.Duration) domain.FailStep {
	e.Message = clip(e.Message)
	return domain.FailStep{Step: int(x.key.step), Attempt: x.call.Step.Attempt, Error: e, RetryAfter: wish}
}

func (x *execution) permanent(format string, args ...any) domain.Command {
	return x.fail(domain.StepError{Kind: domain.KindPermanent, Message: fmt.Sprintf(format, args...)}, 0)
}

// unreadable: the step's input could not be read; its handler has not been called.
func (x *execution) unreadable(err error) domain.Command {
	return x.fail(domain.StepError{
		Kind: domain.KindError, Code: "INPUT_UNREADABLE", Message: "reading the task's context: " + err.Error(),
	}, 0)
}

func timeoutError(after time.Duration) domain.StepError {
	return domain.StepError{Kind: domain.KindTimeout, Message: "the handler did not return within " + after.String()}
}

// clip cuts a message to what is stored, at the end of a character.
func clip(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	const mark = " [cut]"
	if len(s) <= domain.MaxErrorMessage {
		return s
	}
	n := domain.MaxErrorMessage - len(mark)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}

// crashed makes the report of a handler that did not return. It runs in the deferred function that recovered, so the
// handler's frames are still on the stack.
func (x *execution) crashed(recovered any) domain.Command {
	e := domain.StepError{Kind: domain.KindPanic, Frames: frames()}
	if recovered == nil {
		e.Message = "the handler ended its goroutine with runtime.Goexit"
	} else {
		e.Message = "panic: " + textOf(recovered)
	}
	return x.fail(e, 0)
}

// textOf prints a panic's value, whose methods may panic themselves.
func textOf(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T that cannot be printed", v)
		}
	}()
	switch v := v.(type) {
	case error:
		return v.Error()
	case string:
		return v
	}
	return fmt.Sprint(v)
}

// frames are the handler's innermost frames: the first 20 lines of a stack trace, two lines to a frame.
func frames() []string {
	var pcs [64]uintptr
	walk := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var list []string
	for {
		f, more := walk.Next()
		if strings.HasSuffix(f.Function, ".(*Executor).execute") {
			return list
		}
		// What recovered, and what the runtime does between a fault and a panic, says nothing.
		if !strings.HasPrefix(f.Function, "runtime.") && !strings.HasSuffix(f.Function, ".(*Executor).run.func1") {
			if list = append(list, f.Function+" "+f.File+":"+strconv.Itoa(f.Line)); len(list) == domain.MaxFrames {
				return list
			}
		}
		if !more {
			return list
		}
	}
}
