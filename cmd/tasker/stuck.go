package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func newStuckCommand(a *app) *cobra.Command {
	var f connectFlags
	var q tasker.StuckQuery
	var reason, output string
	var list, fixes bool
	cmd := &cobra.Command{
		Use: "stuck", Short: "List what does not move by itself, the worst first, one line per cause", Args: arguments(),
		Long: "List the tasks that do not move by themselves, live and failed ones: one paragraph per cause, the worst first, with the\n" +
			"command that moves the first of them. docs/explain.md lists the reasons and their order. What runs, sleeps, or is tried\n" +
			"again soon is left out. --tasks lists the tasks themselves; --fixes prints the command for each, to look at and to run:\n\n" +
			"  tasker stuck --reason task_failed --name order --fixes | sh",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if q.Limit < 1 || q.Limit > tasker.MaxStuck {
				return usageError("--limit must be 1 to %d", tasker.MaxStuck)
			}
			if list && fixes || fixes && output == "json" {
				return usageError("either --tasks, --fixes or --output json")
			}
			q.Reason = domain.Reason(reason)
			if reason != "" && q.Reason.Severity() == 0 {
				return usageError("--reason %q is none for which a task stands still: docs/explain.md lists them", reason)
			}
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				if fixes {
					return a.printFixes(cmd.Context(), c, q)
				}
				page, err := c.Stuck(cmd.Context(), q)
				if err = a.some(c, err); err != nil {
					return err
				}
				switch {
				case output == "json":
					return printJSON(a.out, page)
				case len(page.Groups) == 0:
					_, _ = fmt.Fprintln(a.err, "nothing stands still")
				case list:
					a.printStuckTasks(&page, time.Now())
				default:
					a.printStuck(&page, time.Now())
				}
				return nil
			})
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&q.Namespaces, "namespace", nil, "only tasks of this namespace; several: of any of them")
	flags.StringVar(&q.Name, "name", "", "only tasks of this definition")
	flags.StringVar(&reason, "reason", "", "only tasks that stand still for this reason, such as no_handler or task_failed")
	flags.IntVar(&q.Limit, "limit", tasker.DefaultStuck, "at most so many tasks in a list")
	flags.StringVar(&q.After, "after", "", "go on behind the page that ended with this place (next, in JSON)")
	flags.BoolVar(&list, "tasks", false, "list the tasks instead of the causes")
	flags.BoolVar(&fixes, "fixes", false, "print only the command that moves each task, of all of them")
	flags.StringVarP(&output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

// printStuck prints the causes.
func (a *app) printStuck(p *tasker.StuckPage, now time.Time) {
	paint := styleFor(a.out)
	for i := range p.Groups {
		g := &p.Groups[i]
		if i > 0 {
			a.printf("\n")
		}
		a.printf("%s  %s\n", paint.bold(string(g.Reason)), aboutGroup(g, now))
		a.printf("  %s\n", oneLine(g.Text))
		if g.Fix != "" {
			a.printf("  fix    %s\n", g.Fix)
		}
		if g.Hint != "" {
			a.printf("  hint   %s\n", g.Hint)
		}
		for n, id := range g.Examples {
			if n == 0 {
				a.printf("  tasks  %s\n", id)
				continue
			}
			a.printf("         %s\n", id)
		}
	}
}

// aboutGroup says how many tasks there are, of what, and since when.
func aboutGroup(g *tasker.StuckGroup, now time.Time) string {
	var about []string
	switch {
	case g.Tasks > 0 && g.AtLeast:
		about = append(about, fmt.Sprintf("at least %d tasks", g.Tasks))
	case g.Tasks > 0:
		about = append(about, plural(g.Tasks, "task", "tasks"))
	case len(g.Partitions) > 0:
		about = append(about, "all tasks of "+plural(len(g.Partitions), "partition", "partitions"))
	}
	if g.Name != "" {
		name := g.Name
		if g.Namespace != domain.DefaultNamespace {
			name = g.Namespace + "." + name
		}
		about = append(about, "of "+name)
	}
	if g.Step != "" {
		about = append(about, "step "+g.Step)
	}
	if g.Handler != "" {
		about = append(about, "handler "+g.Handler)
	}
	if at := g.Since.Time(); !at.IsZero() {
		about = append(about, "for "+span(max(0, now.Sub(at))))
	}
	return strings.Join(about, ", ")
}

// printStuckTasks prints the tasks of a page.
func (a *app) printStuckTasks(p *tasker.StuckPage, now time.Time) {
	t := table{style: styleFor(a.out), head: []string{"TASK", "NAME", "STATE", "REASON", "STEP", "FOR", "FIX"}, right: map[int]bool{5: true}}
	for i := range p.Tasks {
		x := &p.Tasks[i]
		name := x.Name + " " + x.Version
		if x.Namespace != domain.DefaultNamespace {
			name = x.Namespace + "." + name
		}
		since := ""
		if at := x.Since.Time(); !at.IsZero() {
			since = span(max(0, now.Sub(at)))
		}
		t.add(x.Task.String(), name, x.State.String(), string(x.Reason), x.Step, since, strings.TrimPrefix(x.Fix, "tasker "))
	}
	t.print(a.out)
	for i := range p.Groups {
		if g := &p.Groups[i]; len(g.Partitions) > 0 {
			_, _ = fmt.Fprintf(a.err, "warning: %s\n", g.Text)
		}
	}
	if p.Next != "" {
		_, _ = fmt.Fprintf(a.err, "there are more: --after %s\n", p.Next)
	}
}

// printFixes prints the commands, page by page; of what no command of ours moves, it says how many there are.
func (a *app) printFixes(ctx context.Context, c *connection, q tasker.StuckQuery) error {
	without := 0
	for q.Limit = tasker.MaxStuck; ; {
		page, err := c.Stuck(ctx, q)
		if err = a.some(c, err); err != nil {
			return err
		}
		for i := range page.Tasks {
			if page.Tasks[i].Fix == "" {
				without++
				continue
			}
			a.printf("%s\n", page.Tasks[i].Fix)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if without > 0 {
		_, _ = fmt.Fprintf(a.err, "%s that no command moves: tasker stuck says what does\n", plural(without, "task", "tasks"))
	}
	return nil
}
