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
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

func (a *app) printStatus(s *tasker.Status) {
	a.printf("data        %s\n", s.Info.ID)
	a.printf("durability  %s\n", s.Info.Durability)
	a.printf("engine      %s\n", s.Version)
	a.printf("handlers    %s\n", strings.Join(append(s.Handlers, domain.SleepHandler), ", "))
	x := s.Executor
	a.printf("steps       %d running in %d slots, %d done, %d failed\n", x.Running, x.Slots, x.Completed, x.Failed)
	if x.Leaked > 0 {
		a.printf("leaked      %s that ignored the end of their context\n", plural(x.Leaked, "handler goes on", "handlers go on"))
	}
	a.printf("\n")
	t := table{
		style: styleFor(a.out), right: map[int]bool{2: true, 3: true, 4: true, 5: true},
		head: []string{"PARTITION", "PHASE", "SEQUENCE", "LIVE TASKS", "WAITING STEPS", "EVENTS"},
	}
	for _, p := range s.Partitions {
		t.add(fmt.Sprintf("%02d", p.Partition), string(p.Phase), fmt.Sprint(p.Sequence), fmt.Sprint(p.Live), fmt.Sprint(p.Held), fmt.Sprint(p.Events))
	}
	t.print(a.out)
}
