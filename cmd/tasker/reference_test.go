package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go test -count=1 -run ^TestReferenceIsCurrent$ . -update

const referencePage = "../../docs/cli.md"

// commands are the verbs that do something, in the order of the help.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	cobra.EnableCommandSorting = false
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !cmd.HasSubCommands() {
			all = append(all, cmd)
		}
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk(newRootCommand(&app{in: strings.NewReader(""), out: io.Discard, err: io.Discard}))
	return all
}

// withoutJSON have no --output json, each for a reason.
var withoutJSON = map[string]string{
	"tasker serve":            "prints what happens until it is stopped; its state is asked for with status",
	"tasker export":           "its output is a file format of its own",
	"tasker definition show":  "prints JSON anyway",
	"tasker definition graph": "draws, in the format that --format says",
}

func TestEveryVerbSpeaksJSON(t *testing.T) {
	for _, cmd := range commands(t) {
		output := cmd.Flags().Lookup("output")
		speaks := output != nil && strings.Contains(output.Usage, "json")
		if why := withoutJSON[cmd.CommandPath()]; speaks == (why != "") {
			t.Errorf("%s: speaks JSON %v, and the exception is %q", cmd.CommandPath(), speaks, why)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its help in one line is %q", cmd.CommandPath(), cmd.Short)
		}
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	text := cliReference(commands(t))
	if *update {
		if err := os.WriteFile(referencePage, []byte(text), 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), text); diff != "" {
		t.Errorf("docs/cli.md is old, run make generate:\n%s", diff)
	}
}

// cliReference is the page: every verb with its flags. Flags that many verbs have stand once.
func cliReference(all []*cobra.Command) string {
	var b strings.Builder
	b.WriteString(`# Command line

Every verb and flag, written from the program by ` + "`make generate`" + `. ` + "`tasker VERB --help`" + ` says the same, with examples.

With ` + "`--output json`" + ` stdout gets JSON, one object per line where there are several, and an error is one object on stderr:
` + "`{\"error\":{\"message\":…,\"hint\":…,\"exit_code\":…}}`" + `.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the task did not complete; a check found something |
| 2 | wrong flags, definition or input |
| 3 | the engine, or what it runs on |
| 130 | interrupted by Ctrl-C |

## Which server

Verbs that talk to a server, or open a data directory, have these flags.

`)
	shared := sharedFlags(all)
	flagTable(&b, shared)
	for _, cmd := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n`%s`\n", cmd.CommandPath(), cmd.Short, cmd.UseLine())
		if cmd.Long != "" {
			fmt.Fprintf(&b, "\n%s\n", cmd.Long)
		}
		var own []*pflag.Flag
		connects := false
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			switch {
			case f.Hidden, f.Name == "help":
			case isShared(shared, f):
				connects = true
			default:
				own = append(own, f)
			}
		})
		if len(own) > 0 {
			b.WriteString("\n")
			flagTable(&b, own)
		}
		if connects {
			b.WriteString("\nAnd [which server](#which-server).\n")
		}
	}
	return b.String()
}

// sharedFlags are those of connectFlags.
func sharedFlags(all []*cobra.Command) []*pflag.Flag {
	i := slices.IndexFunc(all, func(c *cobra.Command) bool { return c.CommandPath() == "tasker status" })
	var shared []*pflag.Flag
	all[i].LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "output" {
			shared = append(shared, f)
		}
	})
	return shared
}

func isShared(shared []*pflag.Flag, f *pflag.Flag) bool {
	return slices.ContainsFunc(shared, func(s *pflag.Flag) bool { return s.Name == f.Name && s.Usage == f.Usage })
}

func flagTable(b *strings.Builder, flags []*pflag.Flag) {
	b.WriteString("| flag | default | |\n|---|---|---|\n")
	for _, f := range flags {
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		value := f.DefValue
		if value == "" || value == "[]" || value == "false" {
			value = ""
		} else {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, value, strings.ReplaceAll(f.Usage, "|", "\\|"))
	}
}
