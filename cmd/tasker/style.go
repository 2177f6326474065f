package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tasker-go/tasker/domain"
)

// style colours text, or leaves it as it is. It uses the terminal's own palette only, which is readable on light and on
// dark ground.
type style struct{ on bool }

// styleFor is colourful on a terminal, unless NO_COLOR (https://no-color.org) or a dumb terminal forbids it.
func styleFor(w io.Writer) style {
	_, isTerminal := terminal(w)
	return style{isTerminal && os.Getenv("NO_COLOR") == ""}
}

// terminal is the file descriptor of a terminal that understands cursor movements.
func terminal(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	fd := int(f.Fd()) // #nosec G115 -- a file descriptor
	return fd, term.IsTerminal(fd)
}

func (s style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string   { return s.paint("1", text) }
func (s style) faint(text string) string  { return s.paint("2", text) }
func (s style) good(text string) string   { return s.paint("32", text) }
func (s style) bad(text string) string    { return s.paint("31", text) }
func (s style) active(text string) string { return s.paint("36", text) }
func (s style) warn(text string) string   { return s.paint("35", text) }

// word is a state as people say it.
func word(state domain.State) string {
	switch state {
	case domain.Pending:
		return "pending"
	case domain.InProgress:
		return "running"
	case domain.Complete:
		return "complete"
	case domain.Error:
		return "failed"
	case domain.Cancelled:
		return "cancelled"
	case domain.ResolvedManually:
		return "resolved"
	}
	return state.String()
}

// span is a duration with as many digits as people read: 340 µs, 16 ms, 1.24 s, 3 min 20 s, 2 h 5 min, 3 d 4 h.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute && d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return pair(int(d/time.Minute), "min", int(d/time.Second)%60, "s")
	case d < 24*time.Hour:
		return pair(int(d/time.Hour), "h", int(d/time.Minute)%60, "min")
	}
	return pair(int(d/(24*time.Hour)), "d", int(d/time.Hour)%24, "h")
}

// tick is span for a time that still runs: no more than tenths of a second, so that it does not flicker.
func tick(d time.Duration) string {
	if d = max(d, 0); d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	}
	return span(d)
}

func pair(a int, unit string, b int, smaller string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unit)
	}
	return fmt.Sprintf("%d %s %d %s", a, unit, b, smaller)
}

// pad fills text with spaces up to the width; right does it on the left side.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0))
}

func right(text string, width int) string {
	return strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0)) + text
}

// cut shortens text to the width.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

// oneLine is text without line breaks and control characters, which could move the cursor.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
