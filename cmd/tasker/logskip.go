package main

import (
	"strconv"

	"github.com/spf13/cobra"
)

func newLogCommand(a *app) *cobra.Command {
	return group("log", "Repair the log", newLogSkipCommand(a))
}

func newLogSkipCommand(a *app) *cobra.Command {
	var f connectFlags
	var reason, by, output string
	cmd := &cobra.Command{
		Use: "skip PARTITION SEQUENCE --reason TEXT", Short: "Pass over a message that cannot be read, for good", Args: arguments("PARTITION", "SEQUENCE"),
		DisableFlagsInUseLine: true,
		Long: "A partition whose log holds a message that cannot be read stays closed until somebody decides to pass over it.\n" +
			"What the message said is lost; the decision and its reason are stored.",
		Example: "  tasker log skip 01 4711 --reason \"disk error, see ticket 12\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			partition, err := strconv.Atoi(args[0])
			if err != nil || partition < 0 {
				return usageError("PARTITION %q is not a number", args[0])
			}
			sequence, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil || sequence == 0 {
				return usageError("SEQUENCE %q is not a number from 1", args[1])
			}
			if reason == "" {
				return usageError("--reason is missing: it is stored with the decision")
			}
			return a.with(cmd.Context(), f, needsEngine, func(c *connection) error {
				if err := c.Skip(cmd.Context(), partition, sequence, (&actFlags{by: by, reason: reason}).who()); err != nil {
					return err
				}
				return a.did(output, map[string]any{"partition": partition, "skipped": sequence}, "partition %02d passes over message %d", partition, sequence)
			})
		},
	}
	f.add(cmd)
	addBy(cmd, &by)
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is stored in the log")
	addOutput(cmd, &output)
	return cmd
}
