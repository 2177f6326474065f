package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func newSubscriberCommand(a *app) *cobra.Command {
	return group("subscriber", "List durable subscribers, and forget those that are gone", newSubscriberListCommand(a), newSubscriberForgetCommand(a))
}

func newSubscriberListCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "Show every durable subscriber, and what it has yet to read", Args: arguments(),
		Long: "Show the feed, webhooks and every subscriber that was attached under a name, by their cursors. The log is kept from the\n" +
			"first commit on that one of them has yet to read.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				list, err := c.Subscribers(cmd.Context())
				if err != nil {
					return err
				}
				if output == "json" {
					return a.printSubscribersJSON(list)
				}
				a.printSubscribers(list)
				return nil
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

// shownSubscriber is one line of the JSON output.
type shownSubscriber struct {
	Name       string           `json:"name"`
	Partitions []shownPartition `json:"partitions"`
}

type shownPartition struct {
	Partition int             `json:"partition"`
	Next      domain.Position `json:"next"`        // the oldest event that it has not finished
	Lag       uint64          `json:"lag_commits"` // from there to the end of the log
	At        time.Time       `json:"written_at"`  // when the cursor was written
}

func (a *app) printSubscribersJSON(list []tasker.Subscribed) error {
	for _, s := range list {
		shown := shownSubscriber{Name: s.Name}
		for _, p := range s.Partitions {
			shown.Partitions = append(shown.Partitions, shownPartition{p.Next.Partition, p.Next, p.Lag, p.At})
		}
		if err := printJSON(a.out, shown); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printSubscribers(list []tasker.Subscribed) {
	if len(list) == 0 {
		a.printf("there is none\n")
		return
	}
	t := table{style: styleFor(a.out), head: []string{"SUBSCRIBER", "BEHIND", "LAST WRITTEN"}}
	for _, s := range list {
		lag, at := uint64(0), time.Time{}
		for _, p := range s.Partitions {
			lag += p.Lag
			if p.At.After(at) {
				at = p.At
			}
		}
		t.add(s.Name, plural(int(lag), "commit", "commits"), at.UTC().Format(time.RFC3339)) // #nosec G115 -- a number of messages
	}
	t.print(a.out)
}

func newSubscriberForgetCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "forget NAME", Short: "Remove the cursor of a subscriber that is gone, so that it holds no log back", Args: arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				err := c.ForgetSubscriber(cmd.Context(), args[0])
				if errors.Is(err, tasker.ErrSubscriberNotFound) {
					return badInput(err, "tasker subscriber list shows them")
				}
				if err != nil {
					return err
				}
				return a.did(output, map[string]any{"forgotten": args[0]}, "subscriber %s: forgotten; run again it begins anew", args[0])
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}
