package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// tokenFace is what engines and clients know of access tokens.
type tokenFace interface {
	CreateToken(ctx context.Context, spec tasker.TokenSpec, actor string) (string, tasker.Token, error)
	Tokens(context.Context) ([]tasker.Token, error)
	RevokeToken(ctx context.Context, name, actor string) (tasker.Token, error)
}

func newTokenCommand(a *app) *cobra.Command {
	return group("token", "Make, list and revoke access tokens for the HTTP API",
		newTokenCreateCommand(a), newTokenListCommand(a), newTokenRevokeCommand(a))
}

// shownToken is a token without its hash.
type shownToken struct {
	Name       string         `json:"name"`
	Token      string         `json:"token,omitempty"` // only when it is made
	State      string         `json:"state"`           // live, expired or revoked
	Scopes     []tasker.Scope `json:"scopes"`
	Namespaces []string       `json:"namespaces,omitempty"`
	Created    time.Time      `json:"created"`
	CreatedBy  string         `json:"created_by,omitempty"`
	Expires    *time.Time     `json:"expires,omitempty"`
	Revoked    *time.Time     `json:"revoked,omitempty"`
	RevokedBy  string         `json:"revoked_by,omitempty"`
}

func showToken(t *tasker.Token, text string) shownToken {
	state := "live"
	switch {
	case t.Revoked != nil:
		state = "revoked"
	case !t.Live(time.Now()):
		state = "expired"
	}
	return shownToken{
		Name: t.Name, Token: text, State: state, Scopes: t.Scopes, Namespaces: t.Namespaces, Created: t.Created, CreatedBy: t.CreatedBy,
		Expires: t.Expires, Revoked: t.Revoked, RevokedBy: t.RevokedBy,
	}
}

func newTokenCreateCommand(a *app) *cobra.Command {
	var f actFlags
	var scopes, namespaces []string
	var expires string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an access token, and print it once", Args: arguments("NAME"),
		Long: "Make an access token for whoever uses the HTTP API under that name. It is printed now and never again: only a hash of it\n" +
			"is kept, with the log. That works while a server runs, and before one ever ran.\n\n" +
			"  read     look at everything, with contexts, results and errors\n" +
			"  submit   create tasks\n" +
			"  operate  act on tasks, steps and dead letters; contains read\n" +
			"  admin    definitions, subscribers, what is lost for good; contains all others",
		Example: "  tasker token create ann --scope operate,submit --expires 90d\n" +
			"  tasker token create shop-backend --scope submit --namespace shop",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			spec := tasker.TokenSpec{Name: args[0], Namespaces: namespaces}
			for _, text := range scopes {
				scope, err := domain.ParseScope(text)
				if err != nil {
					return usageError("--scope: %w", err)
				}
				spec.Scopes = append(spec.Scopes, scope)
			}
			if expires != "" {
				age, err := parseAge(expires)
				if err != nil || age == 0 {
					return usageError("--expires: %q is no time from now: write it like 12h or 90d", expires)
				}
				spec.Expires = time.Now().Add(age).Truncate(time.Second)
			}
			if n := f.partitions; cmd.Flags().Changed("partitions") && (n < 1 || n > 64) {
				return usageError("--partitions must be 1 to 64, not %d", n)
			}
			return a.with(cmd.Context(), f.connectFlags, makesLog, func(c *connection) error {
				text, token, err := c.CreateToken(cmd.Context(), spec, f.who().Actor)
				if err != nil {
					return tokenError(err)
				}
				if f.output == "json" {
					return printJSON(a.out, showToken(&token, text))
				}
				_, _ = fmt.Fprintf(a.err, "token %s: %s; keep it, it is not shown again\n", token.Name, tokenTerms(&token))
				a.printf("%s\n", text)
				return nil
			})
		},
	}
	f.connectFlags.add(cmd)
	addBy(cmd, &f.by)
	addOutput(cmd, &f.output)
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "what its holder may do: read, submit, operate, admin; several with commas (required)")
	cmd.Flags().StringSliceVar(&namespaces, "namespace", nil, "only in these namespaces (default: in all)")
	cmd.Flags().StringVar(&expires, "expires", "", "when it ends, from now, such as 12h or 90d (default: never)")
	cmd.Flags().IntVar(&f.partitions, "partitions", 0, "partitions of the log, if there is none in the data directory yet: the number stays (default: as tasker serve)")
	return cmd
}

// tokenTerms is what a token is good for, in a line.
func tokenTerms(t *tasker.Token) string {
	where := "all namespaces"
	if len(t.Namespaces) > 0 {
		where = strings.Join(t.Namespaces, ", ")
	}
	until := "for ever"
	if t.Expires != nil {
		until = "until " + t.Expires.UTC().Format(time.RFC3339)
	}
	return joinScopes(t.Scopes) + " in " + where + " " + until
}

func joinScopes(scopes []tasker.Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s)
	}
	return strings.Join(words, ",")
}

func newTokenListCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "Show every access token, without what is secret", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				tokens, err := c.Tokens(cmd.Context())
				if output == "json" {
					for i := range tokens {
						err = errors.Join(err, printJSON(a.out, showToken(&tokens[i], "")))
					}
					return err
				}
				a.printTokens(tokens)
				return err
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func (a *app) printTokens(tokens []tasker.Token) {
	if len(tokens) == 0 {
		_, _ = fmt.Fprintln(a.err, "no tokens")
		return
	}
	t := table{style: styleFor(a.out), head: []string{"TOKEN", "STATE", "SCOPES", "NAMESPACES", "CREATED", "BY", "EXPIRES"}}
	for i := range tokens {
		s := showToken(&tokens[i], "")
		namespaces, expires := "all", "never"
		if len(s.Namespaces) > 0 {
			namespaces = strings.Join(s.Namespaces, ",")
		}
		if s.Expires != nil {
			expires = moment(*s.Expires)
		}
		t.add(s.Name, s.State, joinScopes(s.Scopes), namespaces, moment(s.Created), s.CreatedBy, expires)
	}
	t.print(a.out)
}

func newTokenRevokeCommand(a *app) *cobra.Command {
	var f actFlags
	cmd := &cobra.Command{
		Use: "revoke NAME", Short: "End an access token; servers refuse it within seconds", Args: arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f.connectFlags, readsLog, func(c *connection) error {
				token, err := c.RevokeToken(cmd.Context(), args[0], f.who().Actor)
				if err != nil {
					return tokenError(err)
				}
				if token.Revoked == nil {
					return a.did(f.output, showToken(&token, ""), "token %s: what was stored under that name was no token, and is removed", token.Name)
				}
				return a.did(f.output, showToken(&token, ""), "token %s: revoked since %s", token.Name, token.Revoked.UTC().Format(time.RFC3339))
			})
		},
	}
	f.connectFlags.add(cmd)
	addBy(cmd, &f.by)
	addOutput(cmd, &f.output)
	return cmd
}

// tokenError is the user's to mend, mostly.
func tokenError(err error) error {
	var invalid *tasker.InvalidTokenError
	switch {
	case errors.Is(err, tasker.ErrTokenNotFound):
		return badInput(err, "tasker token list shows them")
	case errors.As(err, &invalid), errors.Is(err, tasker.ErrTokenExists), errors.Is(err, tasker.ErrTooManyTokens):
		return badInput(err, "")
	}
	return err
}
