package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/httphandler"
	"github.com/tasker-go/tasker/infra/loghandler"
	"github.com/tasker-go/tasker/infra/yamldef"
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

// checkHandlers refuses a definition with steps that nothing here can run, or with a handler_config that cannot work.
func checkHandlers(file string, d *tasker.Definition) error {
	return checkSteps(file, d, func(s *domain.StepTemplate) *domain.Problem {
		return &domain.Problem{
			Path:    ".handler",
			Message: fmt.Sprintf("step %q has an unknown handler, %q", s.Name, s.Handler),
			Hint:    "there are " + strings.Join(builtIn(), ", "),
		}
	})
}

// checkConfigs is checkHandlers for definitions that may run elsewhere, where there are other handlers.
func checkConfigs(file string, d *tasker.Definition) error {
	return checkSteps(file, d, func(*domain.StepTemplate) *domain.Problem { return nil })
}

// checkSteps checks the handler_config of every step; unknown decides about handlers that are not built in.
func checkSteps(file string, d *tasker.Definition, unknown func(*domain.StepTemplate) *domain.Problem) error {
	var problems []domain.Problem
	for i := range d.Steps {
		s := &d.Steps[i]
		at := domain.IndexPath("steps", i)
		check, ok := configChecks[s.Handler]
		if !ok {
			if p := unknown(s); p != nil {
				p.Path = at + p.Path
				problems = append(problems, *p)
			}
			continue
		}
		if err := check(s); err != nil {
			for text := range strings.SplitSeq(err.Error(), "\n") {
				path, _, _ := strings.Cut(text, " ") // "handler_config.env.A: ..."
				problems = append(problems, domain.Problem{
					Path: at + "." + strings.TrimSuffix(path, ":"), Message: fmt.Sprintf("step %q: %s", s.Name, text),
				})
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return yamldef.Locate(file, problems)
}
