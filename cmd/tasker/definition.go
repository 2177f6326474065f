package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
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

func newDefinitionApplyCommand(a *app) *cobra.Command {
	var f connectFlags
	var env environment
	var replace bool
	var output string
	cmd := &cobra.Command{
		Use: "apply FILE...", Short: "Register definitions with a running server", Args: files,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			defs := make([]*tasker.Definition, len(args))
			for i, file := range args { // all of them, before the first is sent
				f, err := a.loadDefinition(file, env, nil)
				if err != nil {
					return err
				}
				defs[i] = f.Definition
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
					applied := map[string]any{"namespace": def.Namespace, "name": def.Name, "version": def.Version}
					if err := a.did(output, applied, "%s applied", def.FullName()); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.add(cmd)
	env.add(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "allow another content under a version that is registered already")
	addOutput(cmd, &output)
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
	addOutput(cmd, &output)
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
	var from source
	cmd := &cobra.Command{
		Use: "show FILE|NAME", Short: "Show a definition, in JSON", Args: arguments("FILE or NAME"),
		Long: "Show a definition file, or a registered definition, in its JSON form: without what is default.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDefinition(cmd, args[0], from, func(def *tasker.Definition) {
				a.printf("%s\n", pretty(def.Body()))
			})
		},
	}
	from.add(cmd)
	return cmd
}

func newDefinitionGraphCommand(a *app) *cobra.Command {
	var from source
	var format string
	cmd := &cobra.Command{
		Use: "graph FILE|NAME", Short: "Draw the steps of a definition as Mermaid, DOT or text", Args: arguments("FILE or NAME"),
		Long: "Draw the steps of a definition file, or of a registered definition, and what they depend on.\n" +
			"Mermaid can be pasted into Markdown; DOT is for Graphviz: tasker definition graph order.yaml --format dot | dot -Tsvg",
		RunE: func(cmd *cobra.Command, args []string) error {
			draw := drawings[format]
			if draw == nil {
				return usageError("--format must be mermaid, dot or text, not %q", format)
			}
			return a.withDefinition(cmd, args[0], from, func(def *tasker.Definition) { a.printf("%s", draw(def)) })
		},
	}
	from.add(cmd)
	cmd.Flags().StringVar(&format, "format", "mermaid", "mermaid, dot or text")
	return cmd
}

// source says which definition is meant: that of a file, or a registered one.
type source struct {
	connect            connectFlags
	env                environment
	namespace, version string
}

func (s *source) add(cmd *cobra.Command) {
	s.connect.add(cmd)
	s.env.add(cmd)
	cmd.Flags().StringVar(&s.namespace, "namespace", "", "namespace of a registered definition (default \"default\")")
	cmd.Flags().StringVar(&s.version, "version", "", "version of a registered definition (default: the highest)")
}

// withDefinition calls use with the definition of a file; with the registered one, when there is no such file.
func (a *app) withDefinition(cmd *cobra.Command, name string, from source, use func(*tasker.Definition)) error {
	if _, err := os.Stat(name); err == nil || !isName(name) || !errors.Is(err, fs.ErrNotExist) {
		f, err := a.loadDefinition(name, from.env, nil)
		if err == nil {
			use(f.Definition)
		}
		return err
	}
	if cmd.Flags().Changed("env") {
		return usageError("--env is for a file: a registered definition has what it was registered with")
	}
	return a.with(cmd.Context(), from.connect, readsLog, func(c *connection) error {
		def, err := c.Definition(cmd.Context(), from.namespace, name, from.version)
		if err == nil {
			use(def)
		}
		return err
	})
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
