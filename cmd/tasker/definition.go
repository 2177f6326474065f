package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/infra/yamldef"
)

func newDefinitionCommand(a *app) *cobra.Command {
	return group("definition", "Look at definitions and change them",
		newDefinitionApplyCommand(a), newDefinitionListCommand(a), newDefinitionShowCommand(a),
		newDefinitionValidateCommand(a), newDefinitionGraphCommand(a))
}

// files checks that there is at least one positional argument.
func files(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError("FILE is missing")
	}
	return nil
}

// loadDefinition loads a file; everything that is wrong with it is one error.
func loadDefinition(file string) (*tasker.Definition, error) {
	def, err := yamldef.LoadFile(file)
	if err != nil {
		var wrong *yamldef.Error
		if errors.As(err, &wrong) {
			return nil, err
		}
		return nil, badInput(err, "")
	}
	if _, err := jsonschema.Compile(def.Schema); err != nil {
		return nil, badInput(fmt.Errorf("%s: %w", file, err), "")
	}
	return def, nil
}

func newDefinitionApplyCommand(a *app) *cobra.Command {
	var f connectFlags
	var replace bool
	cmd := &cobra.Command{
		Use: "apply FILE...", Short: "Register definitions with a running server", Args: files,
		RunE: func(cmd *cobra.Command, args []string) error {
			defs := make([]*tasker.Definition, len(args))
			for i, file := range args { // all of them, before the first is sent
				var err error
				if defs[i], err = loadDefinition(file); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), f, needsServer, func(c *connection) error {
				for i, def := range defs {
					err := c.Apply(cmd.Context(), def, replace)
					switch {
					case errors.Is(err, tasker.ErrDefinitionExists):
						return badInput(fmt.Errorf("%s: %w", args[i], err), "--replace puts it in place of the old one; tasks keep the one that they began with")
					case refused(err):
						return badInput(fmt.Errorf("%s: %w", args[i], err), "")
					case err != nil:
						return fmt.Errorf("%s: %w", args[i], err)
					}
					a.printf("%s applied\n", def.FullName())
				}
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "allow another content under a version that is registered already")
	return cmd
}

// refused reports whether the other side looked at what it was sent and did not want it.
func refused(err error) bool {
	var remote *tasker.RemoteError
	return errors.As(err, &remote) && remote.Unwrap() == nil
}

func newDefinitionListCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the registered definitions", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				defs, err := c.Definitions(cmd.Context())
				if err != nil {
					return err
				}
				return a.printDefinitions(defs, output)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

func (a *app) printDefinitions(defs []*tasker.Definition, output string) error {
	if len(defs) == 0 && output != "json" {
		_, _ = fmt.Fprintln(a.err, "no definitions")
		return nil
	}
	t := table{style: styleFor(a.out), head: []string{"NAMESPACE", "NAME", "VERSION", "STEPS", "DESCRIPTION"}, right: map[int]bool{3: true}}
	for _, d := range defs {
		if output == "json" {
			if err := printJSON(a.out, d.Body()); err != nil {
				return err
			}
			continue
		}
		t.add(d.Namespace, d.Name, d.Version, fmt.Sprint(len(d.Steps)), cut(oneLine(d.Description), 60))
	}
	if output != "json" {
		t.print(a.out)
	}
	return nil
}

func newDefinitionShowCommand(a *app) *cobra.Command {
	var f connectFlags
	var namespace, version string
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a registered definition, in JSON", Args: arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				def, err := c.Definition(cmd.Context(), namespace, args[0], version)
				if err != nil {
					return err
				}
				a.printf("%s\n", pretty(def.Body()))
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&namespace, "namespace", "", "namespace of the definition (default \"default\")")
	cmd.Flags().StringVar(&version, "version", "", "version of the definition (default: the highest)")
	return cmd
}

func newDefinitionValidateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE...", Short: "Check definition files, without a server", Args: files,
		RunE: func(_ *cobra.Command, args []string) error {
			bad := 0
			for _, file := range args {
				def, err := loadDefinition(file)
				if err == nil {
					err = checkConfigs(file, def)
				}
				if err != nil {
					bad++
					a.report(nil, err)
					continue
				}
				a.printf("%s: %s is valid, %s\n", file, def.FullName(), plural(len(def.Steps), "step", "steps"))
			}
			if bad > 0 {
				return &failure{code: exitUsage, err: errors.New("not valid"), quiet: true}
			}
			return nil
		},
	}
}

func newDefinitionGraphCommand(a *app) *cobra.Command {
	var f connectFlags
	var namespace, version, format string
	cmd := &cobra.Command{
		Use: "graph FILE|NAME", Short: "Draw the steps of a definition as Mermaid or DOT", Args: arguments("FILE or NAME"),
		Long: "Draw the steps of a definition file, or of a registered definition, and what they depend on.\n" +
			"Mermaid can be pasted into Markdown; DOT is for Graphviz: tasker definition graph order.yaml --format dot | dot -Tsvg",
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "mermaid" && format != "dot" {
				return usageError("--format must be mermaid or dot, not %q", format)
			}
			draw := func(def *tasker.Definition) {
				if format == "dot" {
					a.printf("%s", dot(def))
				} else {
					a.printf("%s", mermaid(def))
				}
			}
			if _, err := os.Stat(args[0]); err == nil || !isName(args[0]) || !errors.Is(err, fs.ErrNotExist) {
				def, err := loadDefinition(args[0])
				if err == nil {
					draw(def)
				}
				return err
			}
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				def, err := c.Definition(cmd.Context(), namespace, args[0], version)
				if err == nil {
					draw(def)
				}
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&namespace, "namespace", "", "namespace of the definition (default \"default\")")
	cmd.Flags().StringVar(&version, "version", "", "version of the definition (default: the highest)")
	cmd.Flags().StringVar(&format, "format", "mermaid", "mermaid or dot")
	return cmd
}

// isName reports whether the text can be the name of a definition.
func isName(text string) bool {
	if text == "" || len(text) > domain.MaxNameLength {
		return false
	}
	for _, c := range text {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
