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

func newStatsCommand(a *app) *cobra.Command {
	var f connectFlags
	var q tasker.AnalyticsQuery
	var since, until, output string
	cmd := &cobra.Command{
		Use: "stats", Short: "Show how tasks and steps did: success, durations, the slowest, the most retried", Args: arguments(),
		Long: "Show how the tasks did that ended or failed, by definition: how many went well, and how long they took. With --name also\n" +
			"its steps, and the critical path: the longest way through the steps by their median durations. Times are whole hours.",
		Example: "  tasker stats --since 24h\n  tasker stats --name order --top 5",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var err error
			if q.Since, err = timeFlag("since", since); err != nil {
				return err
			}
			if q.Until, err = timeFlag("until", until); err != nil {
				return err
			}
			f.index = true
			return a.with(cmd.Context(), f, needsEngine, func(c *connection) error {
				s, err := fresh(cmd.Context(), a, c, func(ctx context.Context, at ...tasker.Position) (tasker.Analytics, tasker.IndexLag, error) {
					s, err := c.Analyze(ctx, q, at...)
					return s, s.Lag, err
				})
				if err != nil {
					return indexFailure(err)
				}
				if output == "json" {
					return printJSON(a.out, s)
				}
				a.printStats(s, q.Name != "")
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringSliceVar(&q.Namespaces, "namespace", nil, "only tasks of this namespace; several: of any of them")
	cmd.Flags().StringVar(&q.Name, "name", "", "only tasks of this definition")
	cmd.Flags().StringVar(&q.Version, "version", "", "only tasks of this version of it")
	cmd.Flags().StringVar(&since, "since", "", "only tasks that ended at or after this time, or so long ago: 2026-01-31T08:00:00Z, 24h, 7d")
	cmd.Flags().StringVar(&until, "until", "", "only tasks that ended before this time, or so long ago")
	cmd.Flags().IntVar(&q.Top, "top", 10, "how many of the slowest and most retried, up to 100")
	addOutput(cmd, &output)
	return cmd
}

// timeFlag reads a time, or an age.
func timeFlag(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	age, err := parseAge(text)
	if err != nil {
		return time.Time{}, usageError("--%s: %q is neither a time nor an age: write it like 2026-01-31T08:00:00Z, 90m, 24h or 30d", name, text)
	}
	return time.Now().Add(-age), nil
}

func (a *app) printStats(s tasker.Analytics, steps bool) {
	if len(s.Definitions) == 0 {
		_, _ = fmt.Fprintln(a.err, "no task has ended")
		return
	}
	style := styleFor(a.out)
	t := table{
		style: style, head: []string{"DEFINITION", "TASKS", "COMPLETE", "FAILED", "CANCELLED", "RESOLVED", "SUCCESS", "P50", "P95", "P99", "MAX"},
		right: map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true},
	}
	for _, d := range s.Definitions {
		row := []string{
			definitionName(d.Namespace, d.Name, d.Version), fmt.Sprint(d.Tasks), fmt.Sprint(d.Complete), fmt.Sprint(d.Failed), fmt.Sprint(d.Cancelled),
			fmt.Sprint(d.Resolved), share(d.SuccessRate, d.Tasks),
		}
		t.add(append(row, percentiles(d.Duration)...)...)
	}
	t.print(a.out)
	for _, d := range s.Definitions {
		if steps {
			a.printStepStats(d, style)
		}
	}
	a.printSlowestTasks(s.SlowestTasks, style)
	a.printStepRows("slowest steps", s.SlowestSteps, style)
	a.printStepRows("most retried steps", s.MostRetried, style)
}

func (a *app) printStepStats(d tasker.DefinitionStats, style style) {
	a.printf("\nsteps of %s\n", definitionName(d.Namespace, d.Name, d.Version))
	t := table{
		style: style, head: []string{"STEP", "EXECUTIONS", "COMPLETE", "FAILED", "RETRIES", "SUCCESS", "P50", "P95", "P99", "MAX"},
		right: map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true},
	}
	for _, s := range d.Steps {
		row := []string{s.Step, fmt.Sprint(s.Executions), fmt.Sprint(s.Complete), fmt.Sprint(s.Failed), fmt.Sprint(s.Retries), share(s.SuccessRate, s.Complete+s.Failed)}
		t.add(append(row, percentiles(s.Duration)...)...)
	}
	t.print(a.out)
	if len(d.Critical) == 0 {
		return
	}
	way := make([]string, len(d.Critical))
	for i, p := range d.Critical {
		way[i] = fmt.Sprintf("%s %s", p.Step, span(p.P50))
	}
	a.printf("critical path, by medians: %s; %s in all\n", strings.Join(way, " -> "), span(d.Critical[len(d.Critical)-1].Ends))
}

func (a *app) printSlowestTasks(rows []tasker.TaskRow, style style) {
	if len(rows) == 0 {
		return
	}
	a.printf("\nslowest tasks\n")
	t := table{style: style, head: []string{"TASK", "NAME", "STATE", "TOOK", "RETRIES", "ENDED"}, right: map[int]bool{3: true, 4: true}}
	for _, r := range rows {
		t.add(r.ID.String(), definitionName(r.Namespace, r.Name, r.Version), r.State.String(), span(r.Duration), fmt.Sprint(r.Retries), moment(r.EndedAt))
	}
	t.print(a.out)
}

func (a *app) printStepRows(title string, rows []tasker.StepRow, style style) {
	if len(rows) == 0 {
		return
	}
	a.printf("\n%s\n", title)
	t := table{style: style, head: []string{"TASK", "NAME", "STEP", "STATE", "ATTEMPTS", "TOOK"}, right: map[int]bool{4: true, 5: true}}
	for _, r := range rows {
		t.add(r.Task.String(), definitionName(r.Namespace, r.TaskName, r.Version), r.Step, r.State.String(), fmt.Sprint(r.Attempt), spanOrNone(r.Duration))
	}
	t.print(a.out)
}

// definitionName is a definition as lists show it: the default namespace goes without saying.
func definitionName(namespace, name, version string) string {
	if namespace != domain.DefaultNamespace {
		name = namespace + "." + name
	}
	return name + " " + version
}

// share is a rate of n, "" of none.
func share(rate float64, n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*rate)
}

func percentiles(d tasker.Durations) []string {
	if d.Count == 0 {
		return []string{"", "", "", ""}
	}
	return []string{span(d.P50), span(d.P95), span(d.P99), span(d.Max)}
}
