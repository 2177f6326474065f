package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newPruneCommand(a *app) *cobra.Command {
	var f connectFlags
	var older, output string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "prune", Short: "Give up the history of tasks that ended long ago", Args: arguments(),
		Long: "Remove the oldest commits from the log, as far as only tasks that ended longer ago than --older-than need them.\n" +
			"Live and failed tasks stay, and so does what a durable subscriber has not read yet.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			age, err := parseAge(older)
			if err != nil {
				return usageError("--older-than: %w", err)
			}
			return a.with(cmd.Context(), f, needsEngine, func(c *connection) error {
				reports, failed := c.Prune(cmd.Context(), age, dryRun)
				for _, r := range reports {
					if output == "json" {
						if err := printJSON(a.out, r); err != nil {
							return err
						}
						continue
					}
					what := "removed"
					if dryRun {
						what = "would be removed"
					}
					a.printf("partition %02d: %s %s, the log begins at %d\n", r.Partition, plural(int(r.Commits), "commit", "commits"), what, r.First) // #nosec G115
				}
				return failed // also when it is only about some
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&older, "older-than", "30d", "age of a task's end, such as 12h or 30d")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would go")
	addOutput(cmd, &output)
	return cmd
}

// parseAge reads a duration of Go, or a number of days.
func parseAge(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 100_000 {
			return time.Duration(n * 24 * float64(time.Hour)), nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q is no age: write it like 90m, 12h or 30d", text)
}
