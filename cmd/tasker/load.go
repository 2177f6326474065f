package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/yamldef"
)

// environment is which environment of a file is meant.
type environment struct{ name string }

func (e *environment) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&e.name, "env", os.Getenv("TASKER_ENV"), "environment of the file whose changes hold, also TASKER_ENV")
	flags.Lookup("env").DefValue = ""
}

// loadDefinition loads a file and prints its warnings; everything that is wrong with it is one error. check finds more,
// see yamldef.Options.
func (a *app) loadDefinition(file string, env environment, check func(*domain.Definition) []domain.Problem) (*yamldef.File, error) {
	f, err := loadFile(file, env, check)
	if err != nil {
		return nil, err
	}
	for _, line := range loadWarnings(f) {
		_, _ = fmt.Fprintln(a.err, line)
	}
	return f, nil
}

// loadFile is loadDefinition without the printing.
func loadFile(file string, env environment, check func(*domain.Definition) []domain.Problem) (*yamldef.File, error) {
	f, err := yamldef.ReadFile(file, yamldef.Options{Environment: env.name, Check: check})
	var wrong *yamldef.Error
	switch {
	case errors.As(err, &wrong):
		return nil, err
	case err != nil:
		return nil, badInput(err, "")
	}
	return f, nil
}

// loadWarnings are the warnings about a file that is right.
func loadWarnings(f *yamldef.File) []string {
	var lines []string
	for _, w := range f.Warnings {
		lines = append(lines, w.WarningIn(f.Name))
	}
	if f.Environment == "" && len(f.Environments) > 0 {
		lines = append(lines, fmt.Sprintf("%s: warning: no environment is chosen, so those of the file (%s) change nothing; choose one with --env or TASKER_ENV",
			f.Name, strings.Join(f.Environments, ", ")))
	}
	return lines
}
