package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func newStatusCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show how a running server is doing", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f, needsServer, func(c *connection) error {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(a.out, s)
				}
				a.printStatus(s)
				return nil
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func (a *app) printStatus(s *tasker.Status) {
	a.printf("data        %s\n", s.Info.ID)
	a.printf("durability  %s\n", s.Info.Durability)
	for _, e := range s.Engines {
		if len(s.Engines) > 1 {
			a.printf("\n")
		}
		a.printf("engine      %s, version %s\n", e.Name, e.Version)
		a.printf("handlers    %s\n", strings.Join(append(e.Handlers, domain.SleepHandler), ", "))
		x := e.Executor
		a.printf("steps       %d running in %d slots, %d done, %d failed\n", x.Running, x.Slots, x.Completed, x.Failed)
		if x.Leaked > 0 {
			a.printf("leaked      %s that ignored the end of their context\n", plural(x.Leaked, "handler goes on", "handlers go on"))
		}
	}
	a.printf("\n")
	t := table{
		style: styleFor(a.out), right: map[int]bool{3: true, 4: true, 5: true, 6: true},
		head: []string{"PARTITION", "PHASE", "OWNER", "SEQUENCE", "LIVE TASKS", "WAITING STEPS", "EVENTS"},
	}
	for _, p := range s.Partitions {
		row := []string{fmt.Sprintf("%02d", p.Partition), string(p.Phase), p.Owner, "", "", "", ""}
		if p.Owner == "" {
			row[2] = "nobody"
		} else {
			row[3], row[4], row[5], row[6] = fmt.Sprint(p.Sequence), fmt.Sprint(p.Live), fmt.Sprint(p.Held), fmt.Sprint(p.Events)
		}
		t.add(row...)
	}
	t.print(a.out)
	for _, p := range s.Partitions {
		if p.Why != "" {
			_, _ = fmt.Fprintf(a.err, "warning: %s\n", aboutPartition(p.Partition, p.Why))
		}
	}
}

// aboutPartition is a text about a partition that names it once.
func aboutPartition(partition int, text string) string {
	name := fmt.Sprintf("partition %02d", partition)
	if strings.HasPrefix(text, name) {
		return text
	}
	return name + ": " + text
}
