package main

import (
	"github.com/spf13/cobra"
)

func newDeadRequeueCommand(a *app) *cobra.Command {
	var f connectFlags
	var input, output string
	cmd := &cobra.Command{
		Use: "requeue LETTER", Short: "Put a request that was refused back into the intake", Args: arguments("LETTER"),
		Long: "Put a dead letter of kind submission back into the intake, perhaps with another input, and remove the letter. Version, key,\n" +
			"tags and the like stay as they were; requeued twice it is one task. An engine carries it out as soon as one runs; what it\n" +
			"refuses again is a new dead letter.\n\n" +
			"An event that a subscriber could not handle is not requeued: what came after it in its task has been handled since. The\n" +
			"subscriber's own program can have it again, with Redeliver.",
		Example: "  tasker dead requeue 12\n  tasker dead requeue 12 --input '{\"id\": 7}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			sequence, err := parseLetter(args[0])
			if err != nil {
				return err
			}
			var with any
			if cmd.Flags().Changed("input") {
				if with, err = a.readInput(input); err != nil {
					return err
				}
			}
			return a.letters(cmd.Context(), f, func(box letterbox) error {
				if err := box.Requeue(cmd.Context(), sequence, with); err != nil {
					return err
				}
				return a.did(output, map[string]any{"requeued": sequence}, "dead letter %d is back in the intake", sequence)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&input, "input", "i", "", "another input for the task: JSON, @file, or - for stdin")
	addOutput(cmd, &output)
	return cmd
}

func newDeadDropCommand(a *app) *cobra.Command {
	var f connectFlags
	var kind, output string
	var all bool
	cmd := &cobra.Command{
		Use: "drop [LETTER...] [--kind KIND] [--all]", Short: "Remove dead letters for good", DisableFlagsInUseLine: true,
		Example: "  tasker dead drop 12 13\n  tasker dead drop --kind submission",
		Args: func(cmd *cobra.Command, args []string) error {
			given := 0
			for _, set := range []bool{len(args) > 0, all, cmd.Flags().Changed("kind")} {
				if set {
					given++
				}
			}
			switch {
			case given == 0:
				return usageError("LETTER is missing, or --kind, or --all")
			case given > 1:
				return usageError("either LETTER or --kind or --all")
			case cmd.Flags().Changed("kind") && kind == "":
				return usageError("--kind must not be empty; --all drops every letter")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var sequences []uint64
			for _, arg := range args {
				sequence, err := parseLetter(arg)
				if err != nil {
					return err
				}
				sequences = append(sequences, sequence)
			}
			return a.letters(cmd.Context(), f, func(box letterbox) error {
				if len(sequences) == 0 {
					n, err := box.DropDeadLetters(cmd.Context(), kind)
					if err != nil {
						return err
					}
					return a.did(output, map[string]any{"dropped": n}, "%s dropped", plural(int(n), "dead letter", "dead letters")) // #nosec G115
				}
				for _, sequence := range sequences {
					if err := box.DropDeadLetter(cmd.Context(), sequence); err != nil {
						return err
					}
					if output != "json" {
						a.printf("dead letter %d dropped\n", sequence)
					}
				}
				if output == "json" {
					return printJSON(a.out, map[string]any{"dropped": len(sequences)})
				}
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&kind, "kind", "", "all letters of this kind")
	cmd.Flags().BoolVar(&all, "all", false, "all letters")
	addOutput(cmd, &output)
	return cmd
}
