package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

// letterbox is what engines and clients can do with dead letters.
type letterbox interface {
	DeadLetters(context.Context, tasker.DeadLetterFilter) ([]tasker.DeadLetter, error)
	DeadLetter(ctx context.Context, sequence uint64) (tasker.DeadLetter, error)
	DropDeadLetter(ctx context.Context, sequence uint64) error
	DropDeadLetters(ctx context.Context, kind string) (uint64, error)
	Requeue(ctx context.Context, sequence uint64, input any) error
}

var _ = []letterbox{(*tasker.Engine)(nil), (*tasker.Client)(nil)}

func newDeadCommand(a *app) *cobra.Command {
	return group("dead", "See, mend and drop what could not be accepted or delivered",
		newDeadListCommand(a), newDeadShowCommand(a), newDeadRequeueCommand(a), newDeadDropCommand(a))
}

// letters runs a verb on the dead letters of a running server, or of the data directory itself.
func (a *app) letters(ctx context.Context, f connectFlags, do func(letterbox) error) error {
	return a.with(ctx, f, readsLog, func(c *connection) error {
		box, ok := c.face.(letterbox)
		if !ok {
			return errors.New("there are no dead letters here")
		}
		return letterError(do(box))
	})
}

// letterError says what to do about a letter.
func letterError(err error) error {
	var gone *tasker.DeadLetterNotFoundError
	var stays *tasker.NotRequeuableError
	switch {
	case errors.As(err, &gone):
		return badInput(err, "tasker dead list shows which there are")
	case errors.As(err, &stays):
		return badInput(err, stays.Hint)
	}
	return err
}

func parseLetter(text string) (uint64, error) {
	sequence, err := strconv.ParseUint(text, 10, 64)
	if err != nil || sequence == 0 {
		return 0, usageError("LETTER %q is not a number from 1", text)
	}
	return sequence, nil
}

func newDeadListCommand(a *app) *cobra.Command {
	var f connectFlags
	var filter tasker.DeadLetterFilter
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the dead letters, oldest first", Args: arguments(),
		Long: "List what could not be accepted or delivered in the last 30 days, oldest first, with the reason: requests of foreign\n" +
			"clients (kind submission), and events that a subscriber could not handle (kind subscriber).",
		Example: "  tasker dead list --kind submission\n  tasker dead list --after 120 --limit 20",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if filter.Limit < 1 {
				return usageError("--limit must be at least 1, not %d", filter.Limit)
			}
			return a.letters(cmd.Context(), f, func(box letterbox) error {
				wanted := filter
				wanted.Limit++
				letters, err := box.DeadLetters(cmd.Context(), wanted)
				if err != nil {
					return err
				}
				return a.printLetters(letters, filter.Limit, output)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&filter.Kind, "kind", "", "only letters of this kind, such as submission or subscriber")
	cmd.Flags().Uint64Var(&filter.After, "after", 0, "only letters behind this one")
	cmd.Flags().IntVar(&filter.Limit, "limit", 100, "at most so many")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what stdout gets: text or json, one object per letter")
	return cmd
}

// maxReason is how much of a reason a list shows.
const maxReason = 100

func (a *app) printLetters(letters []tasker.DeadLetter, limit int, output string) error {
	more := len(letters) > limit
	letters = letters[:min(len(letters), limit)]
	if output == "json" {
		for i := range letters {
			if err := printJSON(a.out, viewLetter(&letters[i])); err != nil {
				return err
			}
		}
	} else if len(letters) == 0 {
		a.printf("no dead letters\n")
	} else {
		t := table{style: styleFor(a.out), head: []string{"LETTER", "KIND", "NAME", "WHEN", "REASON"}, right: map[int]bool{0: true}}
		for _, l := range letters {
			t.add(fmt.Sprint(l.Sequence), oneLine(l.Kind), cut(oneLine(l.Name), 40), moment(l.Time), cut(oneLine(l.Reason), maxReason))
		}
		t.print(a.out)
	}
	if more {
		_, _ = fmt.Fprintf(a.err, "there are more: tasker dead list --after %d\n", letters[len(letters)-1].Sequence)
	}
	return nil
}

// letterView is a letter in JSON.
type letterView struct {
	Letter     uint64              `json:"letter"`
	Kind       string              `json:"kind"`
	Name       string              `json:"name"`
	Reason     string              `json:"reason"`
	Time       time.Time           `json:"time"`
	About      map[string]string   `json:"about,omitempty"` // what the engine says
	Subject    string              `json:"subject,omitempty"`
	Headers    map[string][]string `json:"headers,omitempty"`
	Size       int                 `json:"size"`
	Truncated  string              `json:"truncated,omitempty"`
	Body       *string             `json:"body,omitempty"`
	BodyBase64 []byte              `json:"body_base64,omitempty"` // a body that is no text
}

func viewLetter(l *tasker.DeadLetter) letterView {
	v := letterView{
		Letter: l.Sequence, Kind: l.Kind, Name: l.Name, Reason: l.Reason, Time: l.Time.UTC(), About: l.Headers, Subject: l.Subject,
		Headers: l.Original, Size: l.Size, Truncated: l.Truncated,
	}
	switch {
	case l.Data == nil:
	case utf8.Valid(l.Data):
		text := string(l.Data)
		v.Body = &text
	default:
		v.BodyBase64 = l.Data
	}
	return v
}

func newDeadShowCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "show LETTER", Short: "Show a dead letter with its headers and its body", Args: arguments("LETTER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			sequence, err := parseLetter(args[0])
			if err != nil {
				return err
			}
			return a.letters(cmd.Context(), f, func(box letterbox) error {
				letter, err := box.DeadLetter(cmd.Context(), sequence)
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(a.out, viewLetter(&letter))
				}
				a.showLetter(&letter)
				return nil
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func (a *app) showLetter(l *tasker.DeadLetter) {
	a.printf("letter   %d, %s %s, %s\n", l.Sequence, oneLine(l.Kind), oneLine(l.Name), moment(l.Time))
	a.printf("reason   %s\n", oneLine(l.Reason))
	if l.Subject != "" {
		a.printf("subject  %s\n", oneLine(l.Subject))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
		a.printf("about    %s: %s\n", oneLine(name), oneLine(l.Headers[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Original)) {
		for _, value := range l.Original[name] {
			a.printf("header   %s: %s\n", oneLine(name), oneLine(value))
		}
	}
	if l.Truncated != "" {
		a.printf("cut      it was too large to be kept as it was: %s\n", whatWasCut(l.Truncated))
	}
	a.printf("body     %s\n", plural(len(l.Data), "byte", "bytes"))
	if len(l.Data) > 0 {
		a.printf("%s\n", bodyText(l.Data))
	}
}

func whatWasCut(truncated string) string {
	if n, err := strconv.Atoi(truncated); err == nil {
		return fmt.Sprintf("the body had %s", plural(n, "byte", "bytes"))
	}
	return "some " + oneLine(truncated) + " are missing"
}

// bodyText is a body that cannot move the cursor: JSON for people, text as it is, anything else in Go's quotes.
func bodyText(body []byte) string {
	text := string(body)
	if json.Valid(body) {
		text = pretty(body)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0
	}) {
		return strconv.Quote(text)
	}
	return text
}
