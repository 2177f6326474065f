package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// frameInterval is how often running times move on.
const frameInterval = 100 * time.Millisecond

// live redraws the trees of tasks in place, below the lines that stay.
type live struct {
	mu     sync.Mutex
	w      io.Writer
	fd     int
	views  []*taskView
	drawn  int // lines that are to be replaced
	closed bool
	stop   chan struct{}
	done   chan struct{}
	frame  frame
}

func newLive(w io.Writer, fd int) *live {
	l := &live{w: w, fd: fd, stop: make(chan struct{}), done: make(chan struct{}), frame: frame{style: styleFor(w)}}
	_, _ = io.WriteString(w, "\x1b[?25l") // hide the cursor
	go l.run()
	return l
}

func (l *live) run() {
	defer close(l.done)
	every := time.NewTicker(frameInterval)
	defer every.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-every.C:
			l.mu.Lock()
			l.draw(nil)
			l.mu.Unlock()
		}
	}
}

// draw replaces what was drawn before, behind lines that stay.
func (l *live) draw(stay []string) {
	if l.closed {
		for _, line := range stay {
			_, _ = fmt.Fprintln(l.w, line)
		}
		return
	}
	width, height, err := term.GetSize(l.fd)
	if err != nil || width < 20 || height < 4 {
		width, height = 80, 24
	}
	var b bytes.Buffer
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn)
	}
	b.WriteString("\r\x1b[J")
	for _, line := range stay {
		b.WriteString(line + "\n")
	}
	lines := l.frame.lines(l.views, time.Now(), width, height-1)
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	l.drawn = len(lines)
	_, _ = l.w.Write(b.Bytes())
}

func (l *live) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw([]string{line})
}

func (l *live) show(v *taskView) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.views = append(l.views, v)
}

func (l *live) event(e tasker.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.views {
		if v.id == e.Task {
			v.apply(e)
		}
	}
}

func (l *live) stepSays(task tasker.TaskView, step tasker.StepView, _ slog.Level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	who := step.Name
	if len(l.views) > 1 {
		who = shortID(task.ID) + " " + who
	}
	l.draw([]string{"  " + l.frame.style.faint(who+" | ") + oneLine(text)})
}

func (l *live) close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.frame.final = true
	l.draw(nil)
	l.closed = true
	_, _ = io.WriteString(l.w, "\x1b[?25h")
	l.mu.Unlock()
	close(l.stop)
	<-l.done
}

// frame draws views as lines.
type frame struct {
	style style
	final bool // nothing moves any more
}

// lines are at most height lines of at most width columns.
func (f frame) lines(views []*taskView, now time.Time, width, height int) []string {
	var out []string
	rest := height
	for k, v := range views {
		if !v.own && len(views) > 1 {
			out = append(out, f.summary(v, now, width))
			rest--
			if rest < 4 && k < len(views)-1 {
				out = append(out, f.style.faint(fmt.Sprintf("  and %d more", len(views)-1-k)))
				return out
			}
			continue
		}
		tree := f.task(v, now, width, max(rest, 3))
		out = append(out, tree...)
		rest -= len(tree)
	}
	return out
}

// summary is a task in one line.
func (f frame) summary(v *taskView, now time.Time, width int) string {
	mark, paint := f.taskMark(v)
	text := fmt.Sprintf("%s  %s  %d of %d steps", shortID(v.id), v.name, v.done(), len(v.steps))
	switch {
	case v.over():
		text += ", " + word(v.state)
	case v.paused:
		text += ", paused"
	case v.state == domain.Pending && !v.until.IsZero():
		text += ", goes on in " + tick(v.until.Sub(now))
	}
	return paint(mark) + " " + cut(text, width-2)
}

// task is the tree of a task with a line above it and one below.
func (f frame) task(v *taskView, now time.Time, width, height int) []string {
	out := []string{""}
	rows := v.tree
	more := ""
	if room := height - 4; len(rows) > room {
		rows = f.interesting(v, room)
		more = fmt.Sprintf("%s not shown", plural(len(v.steps)-len(rows), "step", "steps"))
	}
	nameWidth, stateWidth := len("step"), len("complete")
	for _, r := range rows {
		nameWidth = max(nameWidth, len([]rune(r.prefix+v.steps[r.step].name)))
	}
	nameWidth = min(nameWidth, max(width-33, 12))
	out = append(out, f.style.faint(cut("  "+pad("", 2)+pad("step", nameWidth)+"  "+pad("state", stateWidth)+"  attempt      time", width)))
	for _, r := range rows {
		out = append(out, f.step(v, r, now, nameWidth, stateWidth, width))
	}
	return append(out, f.foot(v, now, more, width))
}

func (f frame) foot(v *taskView, now time.Time, more string, width int) string {
	mark, paint := f.taskMark(v)
	text := fmt.Sprintf("%d of %d steps", v.done(), len(v.steps))
	end := now
	if !v.ended.IsZero() {
		end = v.ended
	}
	took := ""
	if !v.created.IsZero() {
		took = tick(end.Sub(v.created))
		if v.over() {
			took = span(end.Sub(v.created))
		}
	}
	state := word(v.state)
	switch {
	case v.paused && !v.over():
		state = "paused"
	case v.state == domain.Pending && v.waiting != "":
		state = "waiting"
		if !v.until.IsZero() && !f.final {
			state = "goes on in " + tick(v.until.Sub(now))
		}
	}
	if f.final && !v.over() {
		state = "unfinished"
	}
	line := state + ", " + text
	if took != "" {
		line += ", " + took
	}
	if more != "" {
		line += ", " + more
	}
	return paint(mark) + " " + f.style.bold(cut(line, width-2))
}

// taskMark is the sign of a task's state, and its colour.
func (f frame) taskMark(v *taskView) (string, func(string) string) {
	switch v.state {
	case domain.Pending, domain.InProgress:
	case domain.Complete, domain.ResolvedManually:
		return "✓", f.style.good
	case domain.Error:
		return "✗", f.style.bad
	case domain.Cancelled:
		return "✗", f.style.warn
	}
	return "●", f.style.active
}

// step is one row: sign, tree, name, state, attempt, time, note.
func (f frame) step(v *taskView, r row, now time.Time, nameWidth, stateWidth, width int) string {
	s := &v.steps[r.step]
	mark, paint, state, note := f.stepState(s, now)
	if len(r.after) > 0 && note == "" && s.state == domain.Pending {
		note = "after " + strings.Join(r.after, ", ")
	}
	attempt, took := "", ""
	if s.attempt > 0 {
		attempt = fmt.Sprintf("%d of %d", s.attempt, max(s.limit, s.attempt))
		took = span(s.took)
		if s.state == domain.InProgress {
			took = tick(now.Sub(s.started))
		}
	}
	columns := "  " + pad(state, stateWidth) + "  " + pad(attempt, 7) + "  " + right(took, 8)
	prefix := []rune(r.prefix)
	if len(prefix)+len([]rune(s.name)) > nameWidth { // a deep tree on a narrow screen
		prefix = prefix[:min(len(prefix), max(nameWidth-8, 0)/3*3)]
	}
	name := cut(s.name, nameWidth-len(prefix))
	line := "  " + f.style.faint(string(prefix)) + paint(mark) + " " + name
	used := 4 + len(prefix) + len([]rune(name))
	fill := max(nameWidth+4-used, 0)
	columns = cut(columns, width-used-fill)
	used += fill + len([]rune(columns))
	line += strings.Repeat(" ", fill)
	if s.state == domain.Pending && note == "" || s.state == domain.Pending && len(r.after) > 0 {
		line += f.style.faint(columns)
	} else {
		line += columns
	}
	if room := width - used - 2; note != "" && room > 8 {
		if s.state == domain.Error {
			line += "  " + cut(note, room)
		} else {
			line += "  " + f.style.faint(cut(note, room))
		}
	}
	return strings.TrimRight(line, " ")
}

func (f frame) stepState(s *stepView, now time.Time) (mark string, paint func(string) string, state, note string) {
	switch s.state {
	case domain.Pending:
		return "○", f.style.faint, "pending", s.held
	case domain.InProgress:
		if s.handler == domain.SleepHandler {
			return "●", f.style.active, "sleeping", ""
		}
		return "●", f.style.active, "running", ""
	case domain.Complete:
		if s.skipped {
			return "–", f.style.good, "skipped", ""
		}
		return "✓", f.style.good, "complete", ""
	case domain.Error:
		if s.err != nil {
			note = errorText(s.err)
		}
		if s.system != "" {
			note = s.system + ": " + note
		}
		if s.retryAt.IsZero() {
			return "✗", f.style.bad, "failed", note
		}
		when := "again in " + tick(s.retryAt.Sub(now))
		if f.final {
			when = "again at " + s.retryAt.Local().Format(time.TimeOnly)
		}
		return "↻", f.style.warn, "waiting", when + ": " + note
	case domain.Cancelled:
		return "✗", f.style.warn, "cancelled", ""
	case domain.ResolvedManually:
		return "✓", f.style.good, "resolved", ""
	}
	return "?", f.style.bad, word(s.state), ""
}

// interesting are the rows of a task that is too large for the screen: what runs, waits for a retry or has failed, and
// then what ended or starts next around it.
func (f frame) interesting(v *taskView, room int) []row {
	rank := func(s *stepView) int {
		switch s.state {
		case domain.InProgress, domain.Error:
			return 0
		case domain.Cancelled:
			return 1
		case domain.Pending:
			return 2
		case domain.Complete, domain.ResolvedManually:
		}
		return 3
	}
	var counts [4]int
	for _, r := range v.tree {
		counts[rank(&v.steps[r.step])]++
	}
	if f.final {
		counts[3] = 0 // what went well is not what one looks for afterwards
	}
	var left [4]int
	for i := range counts {
		left[i] = min(counts[i], room)
		room -= left[i]
	}
	var rows []row
	for _, r := range v.tree {
		if k := rank(&v.steps[r.step]); left[k] > 0 {
			left[k]--
			rows = append(rows, row{step: r.step})
		}
	}
	return rows
}
