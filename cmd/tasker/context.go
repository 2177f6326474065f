package main

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newContextCommand(a *app) *cobra.Command {
	return group("context", "Name servers, and choose the one that commands talk to",
		newContextAddCommand(a), newContextListCommand(a), newContextUseCommand(a), newContextShowCommand(a), newContextRemoveCommand(a))
}

func newContextAddCommand(a *app) *cobra.Command {
	var p savedContext
	var use, replace bool
	var output string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Give a server or a data directory a name", Args: arguments("NAME"),
		Long: "Give a NATS with what it takes to log in, or a data directory of this machine, a name for --context NAME and for\n" +
			envContext + ". It is kept in contexts.json in the user's configuration folder (" + envConfigDir + " names another one), which only\n" +
			"this user can read. It holds no passwords: name a file that does.",
		Example: "  tasker context add prod --url nats://nats-1:4222,nats://nats-2:4222 --creds ~/prod.creds --ca ~/ca.pem --use\n" +
			"  tasker context add shop --data /var/lib/tasker",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if err := checkContextName(args[0]); err != nil {
				return err
			}
			if err := p.check(); err != nil {
				return err
			}
			contexts, err := loadContexts()
			if err != nil {
				return err
			}
			if _, ok := contexts.Contexts[args[0]]; ok && !replace {
				return badInput(fmt.Errorf("there is a context %q already", args[0]), "--replace changes it")
			}
			contexts.Contexts[args[0]] = p
			if use {
				contexts.Current = args[0]
			}
			if err := contexts.save(); err != nil {
				return err
			}
			return a.did(output, shownContext{args[0], args[0] == contexts.used(), p.shown()}, "context %s: %s", args[0], p.where())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.URL, "url", "", "NATS server, or several with commas")
	flags.StringVar(&p.Data, "data", "", "data directory of a server on this machine, instead of --url")
	flags.StringVar(&p.User, "user", "", "user of that NATS; its password is in --password-file, or in "+envNATSPassword)
	flags.StringVar(&p.PasswordFile, "password-file", "", "file with the password of that user")
	flags.StringVar(&p.Creds, "creds", "", "credentials file (JWT and seed)")
	flags.StringVar(&p.NKey, "nkey", "", "file with an nkey seed")
	flags.StringVar(&p.CA, "ca", "", "certificates (PEM) that it is trusted by")
	flags.StringVar(&p.Cert, "cert", "", "certificate (PEM) of this client")
	flags.StringVar(&p.Key, "key", "", "its private key (PEM)")
	flags.StringVar(&p.Inbox, "inbox", "", "prefix of the subjects that answers come to, such as _INBOX.operator")
	flags.BoolVar(&use, "use", false, "and use it from now on")
	flags.BoolVar(&replace, "replace", false, "in place of one of that name")
	addOutput(cmd, &output)
	return cmd
}

// check refuses what cannot work, and makes paths absolute: a context is used from other folders.
func (p *savedContext) check() error {
	if (p.URL == "") == (p.Data == "") {
		return usageError("a context is a NATS (--url), or a data directory of this machine (--data)")
	}
	if p.Data != "" && *p != (savedContext{Data: p.Data}) {
		return usageError("a data directory has its own way to log in: only --data")
	}
	for one := range strings.SplitSeq(p.URL, ",") {
		if u, err := url.Parse(one); p.URL != "" && (err != nil || u.Host == "") {
			return usageError("--url %q: want nats://HOST:PORT, or several with commas", redactURLs(p.URL))
		}
	}
	for flag, path := range map[string]*string{
		"data": &p.Data, "password-file": &p.PasswordFile, "creds": &p.Creds, "nkey": &p.NKey, "ca": &p.CA, "cert": &p.Cert, "key": &p.Key,
	} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return usageError("--%s: %w", flag, err)
		}
		*path = abs
		if flag == "data" {
			continue // a server may make it later
		}
		if err := readable("--"+flag, abs); err != nil {
			return err
		}
	}
	access := p.access()
	if p.User != "" && p.PasswordFile == "" {
		access.password = "of the environment"
	}
	_, err := access.options()
	return err
}

// where is a context in a line, without secrets.
func (p *savedContext) where() string {
	if p.Data != "" {
		return shownPath(p.Data)
	}
	return redactURLs(p.URL)
}

// shownContext is a context as it is printed.
type shownContext struct {
	Name string `json:"name"`
	Used bool   `json:"used"` // by commands that are told nothing else
	savedContext
}

// used is the context that counts when nothing else is said.
func (f *contextFile) used() string {
	if name := os.Getenv(envContext); name != "" {
		return name
	}
	return f.Current
}

func newContextListCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "Show the contexts; * is the one that is used", Args: arguments(),
		Long: "Show tasker's own contexts. Those of the nats command line (nats context ls) can be named with --context as well; where a\n" +
			"name is both, tasker's own counts.",
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			contexts, err := loadContexts()
			if err != nil {
				return err
			}
			t := table{style: styleFor(a.out), head: []string{"", "CONTEXT", "WHERE"}}
			for _, name := range slices.Sorted(maps.Keys(contexts.Contexts)) {
				p, mark := contexts.Contexts[name], ""
				if name == contexts.used() {
					mark = "*"
				}
				if output == "json" {
					if err := printJSON(a.out, shownContext{name, mark != "", p.shown()}); err != nil {
						return err
					}
					continue
				}
				t.add(mark, name, p.where())
			}
			if output == "json" {
				return nil
			}
			if len(contexts.Contexts) == 0 {
				_, _ = fmt.Fprintln(a.err, "no contexts; tasker context add makes one")
				return nil
			}
			t.print(a.out)
			return nil
		},
	}
	addOutput(cmd, &output)
	return cmd
}

func newContextUseCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "use NAME", Short: "Have commands talk to that context; - is none again", Args: arguments("NAME"),
		Long: "Have every command talk to that context that is not given --url, --context or --data, or " + envContext + " in its environment.\n" +
			"tasker serve and tasker import do not look at it: what they do happens only where the command line says.",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			contexts, err := loadContexts()
			if err != nil {
				return err
			}
			name := args[0]
			if name == "-" {
				name = ""
			} else if _, ok := contexts.Contexts[name]; !ok {
				return contexts.unknown(name)
			}
			contexts.Current = name
			if err := contexts.save(); err != nil {
				return err
			}
			if name == "" {
				return a.did(output, map[string]any{"used": nil}, "no context is used")
			}
			p := contexts.Contexts[name]
			return a.did(output, map[string]any{"used": name}, "context %s is used: %s", name, p.where())
		},
	}
	addOutput(cmd, &output)
	return cmd
}

// unknown names what there is.
func (f *contextFile) unknown(name string) error {
	err := fmt.Errorf("there is no context %q", name)
	if len(f.Contexts) == 0 {
		return badInput(err, "tasker context add makes one")
	}
	return badInput(err, "there are: "+strings.Join(slices.Sorted(maps.Keys(f.Contexts)), ", "))
}

func newContextShowCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show [NAME]", Short: "Show a context, or the one that is used", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			contexts, err := loadContexts()
			if err != nil {
				return err
			}
			name := contexts.used()
			if len(args) > 0 {
				name = args[0]
			}
			if name == "" {
				return badInput(errors.New("no context is used"), "tasker context use NAME")
			}
			p, ok := contexts.Contexts[name]
			if !ok {
				return contexts.unknown(name)
			}
			if output == "json" {
				return printJSON(a.out, shownContext{name, name == contexts.used(), p.shown()})
			}
			a.printf("%-14s %s\n", "context", name)
			for _, line := range [][2]string{
				{"url", redactURLs(p.URL)}, {"data", p.Data}, {"user", p.User}, {"password file", p.PasswordFile}, {"creds", p.Creds},
				{"nkey", p.NKey}, {"ca", p.CA}, {"cert", p.Cert}, {"key", p.Key}, {"inbox", p.Inbox},
			} {
				if line[1] != "" {
					a.printf("%-14s %s\n", line[0], line[1])
				}
			}
			return nil
		},
	}
	addOutput(cmd, &output)
	return cmd
}

func newContextRemoveCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Forget a context; nothing happens to its server", Args: arguments("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			contexts, err := loadContexts()
			if err != nil {
				return err
			}
			if _, ok := contexts.Contexts[args[0]]; !ok {
				return contexts.unknown(args[0])
			}
			delete(contexts.Contexts, args[0])
			if contexts.Current == args[0] {
				contexts.Current = ""
			}
			if err := contexts.save(); err != nil {
				return err
			}
			return a.did(output, map[string]any{"removed": args[0]}, "context %s: removed", args[0])
		},
	}
	addOutput(cmd, &output)
	return cmd
}
