package modelcheck

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/internal/scenario"
)

// forks visits every fork that can be made of a state: of all that is over in it, and of that without what is behind one of
// its steps. A fork is one message: it is cut short only behind what it takes over.
func (s *search) forks(t *testing.T, at int, from *scenario.Run) {
	again := [][]string{nil}
	for i := range s.def.Steps {
		again = append(again, []string{s.def.Steps[i].Name})
	}
	for _, rerun := range again {
		s.moves++
		name := fmt.Sprintf("fork, %v again", rerun)
		cmd, err := from.Task.Fork(rerun)
		if what := s.unlawfulFork(from.Task, rerun, cmd, err); what != "" {
			t.Errorf("%s: %q: %s\n%s", s.name, name, what, s.path(at))
		}
		if err != nil {
			continue
		}
		fork := scenario.New(s.def, s.slots)
		if err := fork.Submit(cmd); err != nil {
			t.Errorf("%s: %q was refused: %v\n%s", s.name, name, err, s.path(at))
			continue
		}
		log := fork.Log
		if what := unlawful(scenario.Fold(s.def, log[:1]), log[1:]); what != "" {
			t.Errorf("%s: %q led to %s\n%s", s.name, name, what, s.path(at))
		}
		s.visit(t, node{run: fork, parent: at, action: name})
		for cut := 1 + len(cmd.Inherited); cut < len(log); cut++ {
			torn := scenario.New(s.def, s.slots)
			torn.Task = scenario.Fold(s.def, log[:1])
			torn.Replay(log[1:cut])
			s.visit(t, node{run: torn, parent: at, action: fmt.Sprintf("%s, cut after %d", name, cut)})
		}
	}
}

// unlawfulFork says what a fork takes over and should not, or does not and should: docs/fork.md, from the text.
func (s *search) unlawfulFork(from *domain.Task, rerun []string, cmd domain.CreateTask, err error) string {
	behind := map[string]bool{}
	var want []string
	for i := range s.def.Steps { // parents stand before their children
		tpl := &s.def.Steps[i]
		behind[tpl.Name] = slices.Contains(rerun, tpl.Name) ||
			slices.ContainsFunc(tpl.DependsOn, func(p string) bool { return behind[p] })
		over := from.Steps[i].State == domain.Complete || from.Steps[i].State == domain.ResolvedManually
		if over && !behind[tpl.Name] {
			want = append(want, tpl.Name)
		}
	}
	var refused *domain.RefusedError
	if len(want) == len(s.def.Steps) {
		if !errors.As(err, &refused) {
			return fmt.Sprintf("nothing would run in it, and it is not refused: %v", err)
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	var got []string
	for _, x := range cmd.Inherited {
		got = append(got, x.Step)
		s := &from.Steps[from.Definition.Graph().Index(x.Step)]
		if x.Resolved != (s.State == domain.ResolvedManually) || x.Skipped != s.Skipped || string(x.Result.JSON) != string(s.Result.JSON) {
			return fmt.Sprintf("step %s is %+v there and %+v in the fork", x.Step, s, x)
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("it takes %v over, and should %v", got, want)
	}
	for _, name := range cmd.BypassSteps {
		if slices.Contains(rerun, name) {
			return name + " is to run again, and is bypassed"
		}
	}
	return ""
}
