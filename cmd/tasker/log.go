package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// lineHandler writes log records as short lines for people: "warning: text, key value".
type lineHandler struct {
	level slog.Level
	say   func(string)
	// events: also the records of events, which a command that shows progress says in its own way.
	events bool
	attrs  []slog.Attr
}

func (a *app) logger(say func(string), events bool) *slog.Logger {
	h := lineHandler{level: slog.LevelWarn, say: say, events: events}
	if a.verbose {
		h.level, h.events = slog.LevelDebug, true
	}
	return slog.New(h)
}

// stderrLines prints whole lines to stderr, from any goroutine.
func (a *app) stderrLines() func(string) {
	var mu sync.Mutex
	return func(line string) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(a.err, line)
	}
}

func (h lineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	if !h.events && domain.KnownType(domain.EventType(r.Message)) || h.level > slog.LevelDebug && isRecovery(r.Message) {
		return nil
	}
	var b strings.Builder
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("error: ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	case r.Level >= slog.LevelInfo:
		b.WriteString("info: ")
	default:
		b.WriteString("debug: ")
	}
	said := ""
	r.Attrs(func(x slog.Attr) bool {
		if x.Key == "error" && strings.HasPrefix(x.Value.String(), "partition ") {
			said = x.Value.String() // it says everything
		}
		return said == ""
	})
	if said != "" {
		h.say(b.String() + said)
		return nil
	}
	b.WriteString(r.Message)
	write := func(x slog.Attr) {
		value := x.Value.Resolve()
		text := value.String()
		if value.Kind() == slog.KindDuration {
			text = value.Duration().Round(time.Microsecond).String()
		}
		if x.Key == "error" || x.Key == "reason" {
			b.WriteString(": " + text)
			return
		}
		if x.Key == "stack" {
			return
		}
		fmt.Fprintf(&b, ", %s %s", strings.ReplaceAll(x.Key, "_", " "), text)
	}
	var last []slog.Attr // the reason comes last
	each := func(x slog.Attr) bool {
		if x.Key == "error" || x.Key == "reason" {
			last = append(last, x)
		} else {
			write(x)
		}
		return true
	}
	for _, x := range h.attrs {
		each(x)
	}
	r.Attrs(each)
	for _, x := range last {
		write(x)
	}
	h.say(b.String())
	return nil
}

// isRecovery is what the NATS server says of a store that was not closed, after a crash. It repairs it; nobody has to
// do anything.
func isRecovery(message string) bool {
	return strings.HasPrefix(message, "nats: Filestore [") &&
		(strings.HasSuffix(message, "will rebuild") || strings.HasSuffix(message, "prior state file"))
}

func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(slices.Clip(h.attrs), attrs...)
	return h
}

func (h lineHandler) WithGroup(string) slog.Handler { return h }

// stepLogger is the logger of what steps say: stderr of exec, and the messages of log.
func stepLogger(say func(task tasker.TaskView, step tasker.StepView, level slog.Level, text string)) func(context.Context) *slog.Logger {
	return func(ctx context.Context) *slog.Logger {
		task, _ := tasker.TaskOf(ctx)
		step, _ := tasker.StepOf(ctx)
		return slog.New(stepHandler{func(level slog.Level, text string) { say(task, step, level, text) }})
	}
}

type stepHandler struct{ say func(slog.Level, string) }

func (h stepHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h stepHandler) Handle(_ context.Context, r slog.Record) error {
	h.say(r.Level, r.Message)
	return nil
}

func (h stepHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h stepHandler) WithGroup(string) slog.Handler { return h }
