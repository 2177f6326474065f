package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker/infra/yamldef"
)

func newDefinitionValidateCommand(a *app) *cobra.Command {
	var env environment
	var output string
	var strict bool
	cmd := &cobra.Command{
		Use: "validate FILE...", Short: "Check definition files, without a server", Args: files,
		Long: "Check definition files, and print everything that is wrong with them, each with its place and what to do.\n" +
			"Warnings are about what is legal but surely not meant. A file with environments is checked in each of them, unless\n" +
			"--env chooses one.\n\n" +
			"Exit codes: 0 all files are valid, 2 one is not, or --strict and one has a warning.",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var all []verdict
			for _, file := range args {
				v, err := validate(file, env)
				if err != nil {
					return err
				}
				all = append(all, v)
			}
			return a.printVerdicts(all, output == "json", strict)
		},
	}
	env.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what is printed: text, or json: one object per file")
	cmd.Flags().BoolVar(&strict, "strict", false, "let warnings count as mistakes")
	return cmd
}

// verdict is what `definition validate` found out about one file.
type verdict struct {
	File         string       `json:"file"`
	Valid        bool         `json:"valid"`
	Definition   string       `json:"definition,omitempty"` // full name
	Steps        int          `json:"steps,omitempty"`
	Environments []string     `json:"environments,omitempty"` // that were checked
	Diagnostics  []diagnostic `json:"diagnostics"`
}

// diagnostic is one problem of a file.
type diagnostic struct {
	Severity string `json:"severity"` // error or warning
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Message  string `json:"message"`
	Fix      string `json:"fix,omitempty"`
}

const (
	severityError   = "error"
	severityWarning = "warning"
)

// validate checks a file: in the chosen environment, or as it stands and in each of its environments.
func validate(file string, env environment) (verdict, error) {
	v := verdict{File: file, Valid: true, Diagnostics: []diagnostic{}}
	environments := []string{env.name}
	for i := 0; i < len(environments); i++ {
		f, err := yamldef.ReadFile(file, yamldef.Options{Environment: environments[i], Check: checkConfigs, Lint: lint})
		var wrong *yamldef.Error
		if err != nil && !errors.As(err, &wrong) {
			return v, badInput(err, "")
		}
		if i == 0 && env.name == "" {
			environments = append(environments, f.Environments...)
		}
		if environments[i] != "" {
			v.Environments = append(v.Environments, environments[i])
		}
		where := ""
		if i > 0 {
			where = environments[i]
		}
		if wrong != nil {
			v.Valid = false
			v.add(severityError, wrong.Problems, where)
		}
		v.add(severityWarning, f.Warnings, where)
		if d := f.Definition; d != nil && i == 0 {
			v.Definition, v.Steps = d.FullName(), len(d.Steps)
		}
	}
	slices.SortStableFunc(v.Diagnostics, func(a, b diagnostic) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return v, nil
}

// add takes over problems that are not there yet; where is the environment that alone has them.
func (v *verdict) add(severity string, problems []yamldef.Problem, where string) {
	for _, p := range problems {
		d := diagnostic{Severity: severity, Line: p.Line, Column: p.Column, Message: p.Message, Fix: p.Hint}
		if slices.Contains(v.Diagnostics, d) {
			continue
		}
		if where != "" {
			d.Message += " (in environment " + where + ")"
		}
		v.Diagnostics = append(v.Diagnostics, d)
	}
}

func (v *verdict) count(severity string) int {
	n := 0
	for _, d := range v.Diagnostics {
		if d.Severity == severity {
			n++
		}
	}
	return n
}

// printVerdicts prints diagnostics as compilers do, to stderr, and what is valid to stdout.
func (a *app) printVerdicts(all []verdict, asJSON, strict bool) error {
	problems, warnings := 0, 0
	for _, v := range all {
		problems += v.count(severityError)
		warnings += v.count(severityWarning)
		if asJSON {
			if err := printJSON(a.out, v); err != nil {
				return err
			}
			continue
		}
		for _, d := range v.Diagnostics {
			p := yamldef.Problem{Line: d.Line, Column: d.Column, Message: d.Message, Hint: d.Fix}
			line := p.In(v.File)
			if d.Severity == severityWarning {
				line = p.WarningIn(v.File)
			}
			_, _ = fmt.Fprintln(a.err, line)
		}
		if v.Valid {
			in := ""
			if len(v.Environments) > 0 {
				in = ", environments " + strings.Join(v.Environments, ", ")
			}
			a.printf("%s: %s is valid, %s%s\n", v.File, v.Definition, plural(v.Steps, "step", "steps"), in)
		}
	}
	if problems == 0 && (warnings == 0 || !strict) {
		return nil
	}
	if !asJSON {
		_, _ = fmt.Fprintln(a.err, "tasker: "+tally(problems, warnings, len(all)))
	}
	return &failure{code: exitUsage, err: errors.New("not valid"), quiet: true}
}

// tally is the last line: "3 problems and 1 warning in 2 files".
func tally(problems, warnings, files int) string {
	text := plural(problems, "problem", "problems")
	switch {
	case problems == 0:
		text = plural(warnings, "warning", "warnings")
	case warnings > 0:
		text += " and " + plural(warnings, "warning", "warnings")
	}
	return text + " in " + plural(files, "file", "files")
}
