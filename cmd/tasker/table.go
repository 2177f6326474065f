package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker/domain"
)

// table prints rows in columns, as wide as they need to be.
type table struct {
	style style
	head  []string
	rows  [][]string
	right map[int]bool // columns of numbers
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(cells []string, paint func(string) string) {
		var b strings.Builder
		for i, cell := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			switch {
			case t.right[i]:
				cell = right(cell, width[i])
			case i < len(cells)-1:
				cell = pad(cell, width[i])
			}
			b.WriteString(cell)
		}
		_, _ = fmt.Fprintln(w, paint(strings.TrimRight(b.String(), " ")))
	}
	line(t.head, t.style.faint)
	for _, row := range t.rows {
		line(row, func(text string) string { return text })
	}
}

// moment is a time in a table: local, to the second.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// precise is a time in a history: local, to the millisecond.
func precise(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

// spanOrNone is "" for no duration.
func spanOrNone(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return span(d)
}

func numberOrNone(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// states reads the values of --state.
func states(names []string) ([]domain.State, error) {
	all := make([]string, len(domain.States))
	for i, s := range domain.States {
		all[i] = s.String()
	}
	var list []domain.State
	for _, name := range names {
		s, ok := domain.ParseState(name)
		if !ok {
			return nil, usageError("--state %q is none of: %s", name, strings.Join(all, ", "))
		}
		list = append(list, s)
	}
	return list, nil
}

// printJSON prints a value for programs: one line.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// addOutput adds the flag that chooses between text and JSON; see did and checkOutput.
func addOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "what stdout gets: text or json")
}

// did prints what a verb has done: a line for people, or an object for programs.
func (a *app) did(output string, object any, format string, args ...any) error {
	if output == "json" {
		return printJSON(a.out, object)
	}
	a.printf(format+"\n", args...)
	return nil
}
