package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

const customs = `
## Custom events

A definition declares events of its own, for all of its steps or for one (` + "`custom_events`" + `, in [Definitions](definitions.md)); a
handler emits them with ` + "`step.Emit(name, data)`" + `. They are stored as ` + "`custom.<name>`" + `, in the commit of the handler's report and
before it, also when the execution failed. What an execution emits that ends without a report, because its process died or
the step was cancelled, is not stored. The Go type is ` + "`domain.Custom`" + `.

`

const signalsIntro = `
## Signals

A signal is an event that is not stored: it follows from what is. It is derived from the commit that implies it, wherever
that is read, so subscribers and replays are told the same. A subscriber is told of signals only when it names them, or their
family: [Subscribers](subscribers.md) says how. The Go type of all of them is ` + "`domain.Signal`" + `.

The record of a signal has the task, the time and the position of the fact that implies it. So a fact and its signals share a
position, and position and type together name an event. Those marked *before* announce the fact at their position and are told
before it, the others after it; the table has them in that order. A commit that was cut into several messages, because one
input was too large for one, gives the signals of each message.

The ones marked *live* follow from no commit. They come from the process that does what they are about, while it does it, and
only a tap of that process is told of them.

| signal | told | when | fields |
|---|---|---|---|
`

// writeSignals writes the sections of the events that are not facts of the engine's own.
func writeSignals(out *bytes.Buffer, root string) error {
	out.WriteString(customs)
	text, err := os.ReadFile(filepath.Join(root, "domain", "testdata", "events", "custom.order.paid.v1.json")) // #nosec G304 -- below the root that the caller names
	if err != nil {
		return fmt.Errorf("no example: %w", err)
	}
	out.WriteString("```json\n")
	if err := json.Indent(out, bytes.TrimSpace(text), "", "  "); err != nil {
		return err
	}
	out.WriteString("\n```\n" + signalsIntro)
	for _, entry := range domain.SignalCatalogue() {
		told := "after"
		switch {
		case entry.Live:
			told = "live"
		case entry.Before:
			told = "before"
		}
		var fields []string
		for _, name := range entry.Has {
			fields = append(fields, "`"+name+"`")
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", entry.Type, told, entry.When, strings.Join(fields, ", "))
	}
	return writeSignalFields(out, filepath.Join(root, "domain", "signal.go"))
}

// writeSignalFields writes the table of what a signal says, from its declaration.
func writeSignalFields(out *bytes.Buffer, path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return err
	}
	fields, ok := signalFields(file)
	if !ok {
		return fmt.Errorf("%s declares no struct Signal", path)
	}
	out.WriteString("\n| field | Go type | |\n|---|---|---|\n")
	for _, f := range fields {
		if f.json != "name" { // it is the type
			fmt.Fprintf(out, "| `%s` | `%s` | %s |\n", f.json, f.typ, f.comment)
		}
	}
	return nil
}

// signalFields reads the fields of the struct Signal, which has no tags: in JSON their names are in lower case.
func signalFields(file *ast.File) (fields []field, ok bool) {
	for _, decl := range file.Decls {
		gen, isGen := decl.(*ast.GenDecl)
		if !isGen || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			spec := spec.(*ast.TypeSpec)
			st, isStruct := spec.Type.(*ast.StructType)
			if !isStruct || spec.Name.Name != "Signal" {
				continue
			}
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					fields = append(fields, field{json: strings.ToLower(name.Name), typ: typeOf(f.Type), comment: strings.TrimSpace(f.Comment.Text())})
				}
			}
			return fields, true
		}
	}
	return nil, false
}
