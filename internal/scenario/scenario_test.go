package scenario

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into the scripts as what is expected")

// TestScenarios runs the scripts of testdata. Lines that begin with two blanks are what the line above leads to: one
// line per event with its time since the start. Everything else is an instruction:
//
//	name N, on_failure stop, deadline D, output STEP, slots N
//	step NAME [after PARENT...] [limit N] [final] [optional] [skippable] [sleep D] [wait D...]
//	submit [bypass STEP...]
//	ok STEP [JSON]
//	fail STEP [permanent|timeout] [after D] [late]      (late: reports the attempt before the current one)
//	advance D
//	lose                                               (the process dies; the next owner loads the log)
//	cut N                                              (as lose, and the newest N events were never stored)
//	cancel|retry|resolve|pause|resume [REASON]
//	retry-step STEP [N] [JSON], cancel-step STEP, resolve-step STEP [JSON], complete-step STEP [JSON]
//	checkpoint STEP JSON, progress STEP DONE TOTAL, log STEP LINE...     (the handler of the step, before it is done)
//	expire                                             (error_retention has passed)
//	show
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file) // #nosec G304 -- our own testdata
			if err != nil {
				t.Fatal(err)
			}
			s := &script{def: &domain.Definition{Name: "scenario"}, slots: AllSlots}
			var out []string
			for n, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
				if strings.HasPrefix(line, "  ") {
					continue
				}
				out = append(out, line)
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				said, err := s.do(strings.Fields(line))
				if err != nil {
					t.Fatalf("%s:%d: %v", file, n+1, err)
				}
				out = append(out, said...)
				if s.run != nil && s.run.Task != nil {
					if c := s.run.Unsettled(); len(c) > 0 {
						t.Errorf("%s:%d: settled, and yet the reactors say %#v", file, n+1, c)
					}
				}
			}
			got := strings.Join(out, "\n") + "\n"
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s: something else happened; -rewrite accepts it:\n%s", file, difference(string(text), got))
			}
		})
	}
}

func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

type script struct {
	def   *domain.Definition
	slots int
	run   *Run
}

func (s *script) do(words []string) ([]string, error) {
	if s.run == nil {
		return s.define(words)
	}
	from := len(s.run.Log)
	var err error
	switch words[0] {
	case "cut":
		n, bad := strconv.Atoi(words[1])
		if bad != nil {
			return nil, bad
		}
		from -= n
		s.run.Cut(n)
	case "lose":
		s.run.Lose()
	case "advance":
		d, bad := time.ParseDuration(words[1])
		if bad != nil {
			return nil, bad
		}
		s.run.Advance(d)
	case "show":
		return []string{"  " + show(s.run.Task)}, nil
	case "ok", "fail":
		err = s.report(words)
	case "checkpoint", "progress", "log":
		err = s.say(words)
	default:
		cmd, bad := verb(words)
		if bad != nil {
			return nil, bad
		}
		var changed bool
		changed, err = s.run.Do(cmd)
		if err == nil && !changed {
			return []string{"  no change"}, nil
		}
	}
	if err != nil {
		return []string{"  refused: " + strings.ReplaceAll(err.Error(), ID.String(), "TASK")}, nil
	}
	var said []string
	for _, rec := range s.run.Log[from:] {
		said = append(said, "  "+describe(rec))
	}
	return said, nil
}

func (s *script) define(words []string) ([]string, error) {
	var err error
	switch words[0] {
	case "name":
		s.def.Name = words[1]
	case "on_failure":
		s.def.OnFailure = domain.OnFailure(words[1])
	case "deadline":
		s.def.Deadline, err = time.ParseDuration(words[1])
	case "output":
		s.def.Output = words[1]
	case "slots":
		s.slots, err = strconv.Atoi(words[1])
	case "step":
		err = s.step(words[1:])
	case "submit":
		if err = s.def.Validate(); err != nil {
			return nil, err
		}
		s.run = New(s.def, s.slots)
		cmd := domain.CreateTask{Context: domain.Inline([]byte(`{}`))}
		if len(words) > 2 && words[1] == "bypass" {
			cmd.BypassSteps = words[2:]
		}
		return s.submit(cmd), nil
	default:
		err = fmt.Errorf("%q before submit", words[0])
	}
	return nil, err
}

func (s *script) submit(cmd domain.CreateTask) []string {
	if err := s.run.Submit(cmd); err != nil {
		s.run = nil
		return []string{"  refused: " + err.Error()}
	}
	var said []string
	for _, rec := range s.run.Log {
		said = append(said, "  "+describe(rec))
	}
	return said
}

func (s *script) step(words []string) (err error) {
	tpl := domain.StepTemplate{Name: words[0], Handler: "work", Backoff: domain.Backoff{Jitter: domain.NoJitter}}
	list := ""
	for i := 1; i < len(words) && err == nil; i++ {
		w := words[i]
		switch w {
		case "after", "wait":
			list = w
		case "limit":
			i++
			tpl.RetryLimit, err = strconv.Atoi(words[i])
		case "sleep":
			i++
			tpl.Handler = domain.SleepHandler
			tpl.Wait, err = time.ParseDuration(words[i])
		case "final":
			tpl.NotRetryable = true
		case "optional":
			tpl.Optional = true
		case "skippable":
			tpl.Skippable = true
		default:
			switch list {
			case "after":
				tpl.DependsOn = append(tpl.DependsOn, w)
			case "wait":
				var d time.Duration
				d, err = time.ParseDuration(w)
				tpl.Backoff.Strategy, tpl.Backoff.List = domain.StrategyList, append(tpl.Backoff.List, d)
			default:
				err = fmt.Errorf("step: what is %q", w)
			}
		}
	}
	s.def.Steps = append(s.def.Steps, tpl)
	return err
}

func (s *script) report(words []string) error {
	step := words[1]
	if words[0] == "ok" {
		result := `null`
		if len(words) > 2 {
			result = words[2]
		}
		return s.run.Report(step, result, nil, 0)
	}
	failure := &domain.StepError{Message: "it failed"}
	var after time.Duration
	for i := 2; i < len(words); i++ {
		switch words[i] {
		case "after":
			i++
			d, err := time.ParseDuration(words[i])
			if err != nil {
				return err
			}
			after = d
		case "late":
			i := s.run.Def.Graph().Index(step)
			_, err := s.run.Do(domain.FailStep{Step: i, Attempt: int(s.run.Task.Steps[i].Attempt) - 1, Error: *failure})
			return err
		default:
			failure.Kind = domain.ErrorKind(words[i])
		}
	}
	return s.run.Report(step, "", failure, after)
}

// say is what a handler says before it is done.
func (s *script) say(words []string) error {
	i := s.run.Def.Graph().Index(words[1])
	attempt := int(s.run.Task.Steps[i].Attempt)
	var cmd domain.Command
	switch words[0] {
	case "checkpoint":
		cmd = domain.CheckpointStep{Step: i, Attempt: attempt, Cursor: json.RawMessage(words[2])}
	case "progress":
		done, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		total, err := strconv.Atoi(words[3])
		if err != nil {
			return err
		}
		cmd = domain.ProgressStep{Step: i, Attempt: attempt, Done: done, Total: total}
	default:
		cmd = domain.LogStep{Step: i, Attempt: attempt, Lines: []string{strings.Join(words[2:], " ")}}
	}
	_, err := s.run.Do(cmd)
	return err
}

func verb(words []string) (domain.Command, error) {
	reason := strings.Join(words[1:], " ")
	var step, json string
	if len(words) > 1 {
		step = words[1]
	}
	if len(words) > 2 {
		json = words[2]
	}
	switch words[0] {
	case "cancel":
		return domain.CancelTask{Reason: reason}, nil
	case "retry":
		return domain.RetryTask{Reason: reason}, nil
	case "resolve":
		return domain.ResolveTask{Reason: reason}, nil
	case "pause":
		return domain.PauseTask{Reason: reason}, nil
	case "resume":
		return domain.ResumeTask{Reason: reason}, nil
	case "cancel-step":
		return domain.CancelStep{Step: step}, nil
	case "expire":
		return domain.ExpireTask{}, nil
	case "retry-step":
		return retryStep(step, words[2:])
	case "resolve-step":
		return domain.ResolveStep{Step: step, Result: payload(json)}, nil
	case "complete-step":
		return domain.FinishStep{Step: step, Result: payload(json)}, nil
	}
	return nil, fmt.Errorf("what is %q", words[0])
}

func retryStep(step string, words []string) (domain.Command, error) {
	cmd := domain.RetryStep{Step: step}
	for _, w := range words {
		n, err := strconv.Atoi(w)
		switch {
		case err == nil:
			cmd.RetryLimit = n
		case json.Valid([]byte(w)):
			cmd.Inputs = json.RawMessage(w)
		default:
			return nil, err
		}
	}
	return cmd, nil
}

func payload(text string) domain.Payload {
	if text == "" {
		return domain.Payload{}
	}
	return domain.Inline(json.RawMessage(text))
}

// describe is one line: the time since the start, the event, and what it says, times again since the start.
func describe(rec domain.Record) string {
	since := func(at domain.Instant) string { return "+" + at.Sub(Start).String() }
	text := fmt.Sprintf("%-8s %s", since(rec.At), rec.Event.Type())
	if e, ok := rec.Event.(domain.StepEvent); ok {
		text += " " + e.StepName()
		if n := e.AttemptNumber(); n > 0 {
			text += fmt.Sprintf(" #%d", n)
		}
	}
	if _, ok := rec.Event.(domain.TaskCreated); ok {
		return text
	}
	data := string(domain.EventData(rec.Event))
	for _, field := range []string{"retry_at", "until", "deadline"} {
		at := strings.Index(data, `"`+field+`":"`)
		if at < 0 {
			continue
		}
		at += len(field) + 4
		end := at + strings.IndexByte(data[at:], '"')
		var when domain.Instant
		if err := when.UnmarshalText([]byte(data[at:end])); err == nil {
			data = data[:at] + since(when) + data[end:]
		}
	}
	return strings.TrimRight(text+" "+data, " ")
}

func show(t *domain.Task) string {
	c := t.ExecutionContext()
	if t.Expired {
		return fmt.Sprintf("%s, expired: %s", t.State, c.Status)
	}
	text := fmt.Sprintf("%s: %s, %s, %s, %v %%;", t.State, c.Status, c.Action, c.Health, c.CompletionPercentage)
	for i := range t.Steps {
		s := &t.Steps[i]
		text += fmt.Sprintf(" %s %s", t.Template(i).Name, s.State)
		if s.Attempt > 0 {
			text += fmt.Sprintf("(%d)", s.Attempt)
		}
		if s.Cursor() != nil {
			text += fmt.Sprintf(" at %s", s.Cursor())
		}
		if p := s.Progress(); p != nil {
			text += fmt.Sprintf(" %d/%d", p.Done, p.Total)
		}
	}
	return text
}
