package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// progress shows what happens to tasks while it happens. Its methods may be called from any goroutine.
type progress interface {
	// say prints a line that stays.
	say(line string)
	// show begins with a task, or with a fresh state of it.
	show(v *taskView)
	// event folds an event into its task and shows the change.
	event(e tasker.Event)
	// stepSays prints what a step wrote.
	stepSays(task tasker.TaskView, step tasker.StepView, level slog.Level, text string)
	// close ends it; what is shown last stays.
	close()
}

// newProgress chooses by what it writes to.
func newProgress(w io.Writer) progress {
	if fd, ok := terminal(w); ok {
		return newLive(w, fd)
	}
	return &plain{w: w, views: map[tasker.TaskID]*taskView{}, early: map[stepOfTask][]said{}, began: time.Now()}
}

// plain prints a line per change, with the time since the begin.
type plain struct {
	mu    sync.Mutex
	w     io.Writer
	views map[tasker.TaskID]*taskView
	began time.Time
	width int // of the column of names
	// early is what steps said whose start has not been read from the log yet.
	early map[stepOfTask][]said
}

type stepOfTask struct {
	task tasker.TaskID
	step string
}

type said struct {
	at   time.Time
	text string
}

func (p *plain) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintln(p.w, line)
}

func (p *plain) show(v *taskView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.views[v.id] = v
	for i := range v.steps {
		p.width = min(max(p.width, len(v.steps[i].name)), 40)
	}
}

func (p *plain) event(e tasker.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.views[e.Task]
	if v == nil || !v.apply(e) {
		return
	}
	subject, text := describe(v, e)
	if text == "" {
		return
	}
	p.line(e.At.Time(), v, subject, text)
	if e.Event.Type() == domain.StepExecutionRequestedType {
		p.flush(v, subject)
	}
}

// flush prints what a step said before it was known that it runs.
func (p *plain) flush(v *taskView, step string) {
	key := stepOfTask{v.id, step}
	for _, x := range p.early[key] {
		p.line(x.at, v, step, x.text)
	}
	delete(p.early, key)
}

func (p *plain) line(at time.Time, v *taskView, subject, text string) {
	which := ""
	if len(p.views) > 1 {
		which = shortID(v.id) + "  "
	}
	elapsed := max(at.Sub(p.began), 0).Seconds()
	_, _ = fmt.Fprintf(p.w, "%9.3fs  %s%s  %s\n", elapsed, which, pad(subject, p.width), text)
}

func (p *plain) stepSays(task tasker.TaskView, step tasker.StepView, _ slog.Level, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.views[task.ID]
	if v == nil {
		return
	}
	key := stepOfTask{task.ID, step.Name}
	p.early[key] = append(p.early[key], said{time.Now(), "| " + oneLine(text)})
	if v.step(step.Name).attempt >= step.Attempt {
		p.flush(v, step.Name)
	}
}

func (p *plain) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.early {
		p.flush(p.views[key.task], key.step)
	}
}

// shortID is the end of an id, which differs between tasks that were made one after the other.
func shortID(id tasker.TaskID) string {
	text := id.String()
	return "…" + text[len(text)-8:]
}

// describe says what an event changed, after it was folded: the step, or "task", and what became of it. The text is
// empty for what nobody waits for.
func describe(v *taskView, e tasker.Event) (subject, text string) {
	subject = "task"
	switch x := e.Event.(type) {
	case domain.TaskCreated:
		text = "created"
	case domain.TaskStartRequested, domain.TaskReenqueued:
	case domain.TaskDelayed:
	case domain.TaskCompleted:
		text = "complete, " + span(v.ended.Sub(v.created))
	case domain.TaskFailed:
		text = "failed, " + span(v.ended.Sub(v.created))
		if x.Reason == domain.FailDeadline {
			text += ": its deadline has passed"
		}
	case domain.TaskRetryRequested:
		text = "tried again" + because(x.Reason)
	case domain.TaskCancelled:
		text = "cancelled" + because(x.Reason)
	case domain.TaskResolvedManually:
		text = "resolved" + because(x.Reason)
	case domain.TaskPaused:
		text = "paused" + because(x.Reason)
	case domain.TaskResumed:
		text = "resumed" + because(x.Reason)
	case domain.TaskExpired:
		text = "expired: it can no longer be retried"
	case domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepFailed, domain.StepRetryRequested,
		domain.StepCancelled, domain.StepResolvedManually, domain.StepSkipped,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
		return describeStep(v, e)
	case domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskAnnotated, domain.Signal,
		domain.Unknown:
	}
	return subject, text
}

func describeStep(v *taskView, e tasker.Event) (subject, text string) {
	about, ok := e.Event.(domain.StepEvent)
	if !ok {
		return "", ""
	}
	s := v.step(about.StepName())
	switch x := about.(type) {
	case domain.StepExecutionRequested:
		switch {
		case x.Until != 0:
			text = "sleeping " + span(x.Until.Sub(e.At))
		case x.Attempt > 1:
			text = fmt.Sprintf("running, attempt %d", x.Attempt)
		default:
			text = "running"
		}
	case domain.StepCompleted:
		text = "complete, " + span(s.took) + because(x.Reason)
	case domain.StepFailed:
		text = "failed: " + errorText(&x.Error)
		if x.RetryAt != 0 {
			text = fmt.Sprintf("attempt %d of %d failed: %s; again in %s", s.attempt, s.limit, errorText(&x.Error), span(x.RetryAt.Sub(e.At)))
		}
	case domain.StepRetryRequested:
		if x.NewRound {
			text = "tried again" + because(x.Reason)
		}
	case domain.StepCancelled:
		text = "cancelled" + because(x.Reason)
	case domain.StepResolvedManually:
		text = "resolved" + because(x.Reason)
	case domain.StepSkipped:
		text = "skipped" + because(x.Reason)
	case domain.StepInherited:
		text = "taken over"
	case domain.StepProgressed:
		text = progressText(x)
	case domain.StepLogAppended:
		// stepSays printed the lines when they were written
	}
	return s.name, text
}

// progressText is how far a step has come: "40 of 100, half an hour left".
func progressText(p domain.StepProgressed) string {
	text := oneLine(p.Message)
	switch {
	case p.Total > 0:
		text = strings.TrimSuffix(fmt.Sprintf("%d of %d, %s", p.Done, p.Total, text), ", ")
	case p.Done > 0:
		text = strings.TrimSuffix(fmt.Sprintf("%d done, %s", p.Done, text), ", ")
	}
	return text
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + oneLine(reason)
}

// errorText is a stored error in one line.
func errorText(e *domain.StepError) string {
	if e.Kind == domain.KindWorkerLost {
		return "the process that ran it is gone"
	}
	if e.Kind == domain.KindInterrupted {
		return "interrupted by a stop"
	}
	return oneLine(e.Message)
}
