package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/httphandler"
	"github.com/tasker-go/tasker/infra/loghandler"
)

// configChecks find mistakes in the handler_config of a step before it runs.
var configChecks = map[string]func(*domain.StepTemplate) error{
	"exec":              func(s *domain.StepTemplate) error { return exechandler.Validate(s.HandlerConfig) },
	"http":              func(s *domain.StepTemplate) error { return httphandler.Validate(s.HandlerConfig) },
	"log":               func(s *domain.StepTemplate) error { return loghandler.Validate(s.HandlerConfig) },
	domain.SleepHandler: func(*domain.StepTemplate) error { return nil },
}

// builtIn are the names of the handlers that come with tasker.
func builtIn() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range configChecks {
			if !yield(name) {
				return
			}
		}
	})
}

// checkHandlers finds steps that nothing here can run, and handler_configs that cannot work.
func checkHandlers(d *domain.Definition) []domain.Problem {
	return checkSteps(d, func(s *domain.StepTemplate) *domain.Problem {
		hint := "there are " + strings.Join(builtIn(), ", ")
		if near := domain.Nearest(s.Handler, builtIn()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return &domain.Problem{Path: ".handler", Message: fmt.Sprintf("step %q has an unknown handler, %q", s.Name, s.Handler), Hint: hint}
	})
}

// checkConfigs is checkHandlers for definitions that may run elsewhere, where there are other handlers.
func checkConfigs(d *domain.Definition) []domain.Problem {
	return checkSteps(d, func(*domain.StepTemplate) *domain.Problem { return nil })
}

// checkSteps checks the handler_config of every step; unknown decides about handlers that are not built in.
func checkSteps(d *domain.Definition, unknown func(*domain.StepTemplate) *domain.Problem) []domain.Problem {
	var problems []domain.Problem
	for i := range d.Steps {
		s := &d.Steps[i]
		at := domain.IndexPath("steps", i)
		check, ok := configChecks[s.Handler]
		switch {
		case ok:
		case s.Handler == "": // which the validator has said
			continue
		default:
			if p := unknown(s); p != nil {
				p.Path = at + p.Path
				problems = append(problems, *p)
			}
			continue
		}
		if err := check(s); err != nil {
			for text := range strings.SplitSeq(err.Error(), "\n") {
				path, _, _ := strings.Cut(text, " ") // "handler_config.env.A: ..."
				message, hint := withFix(text)
				problems = append(problems, domain.Problem{
					Path: at + "." + strings.TrimSuffix(path, ":"), Message: fmt.Sprintf("step %q: %s", s.Name, message), Hint: hint,
				})
			}
		}
	}
	return problems
}

// withFix takes the advice off the text of a handler: "url: is missing: write it like https://...".
func withFix(text string) (message, fix string) {
	for _, advice := range []string{": write ", "; write ", "; known are "} {
		if at := strings.LastIndex(text, advice); at >= 0 {
			return text[:at], text[at+2:]
		}
	}
	return text, ""
}
