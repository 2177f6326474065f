package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

type serveFlags struct {
	definitions, data, durability, listen, token, natsURL, context string
	replicas                                                       int
	allowExec                                                      bool
	env                                                            environment
	drain                                                          time.Duration
	limits                                                         limitFlags
	telemetry                                                      telemetryFlags
	outlets                                                        feedFlags
	index                                                          indexFlag
	nats                                                           natsAccess
	http                                                           httpFlags
}

func newServeCommand(a *app) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Run an engine that others submit tasks to", Args: arguments(),
		Long: "Run an engine until SIGTERM or Ctrl-C: on an embedded server with its data directory, or on an external NATS.\n" +
			"Definitions are loaded from a folder, and again whenever a file in it changes; a broken file is reported, and the\n" +
			"definition that it had stays. Other commands find the server through the data directory.\n\n" +
			"Steps that run programs (handler exec) are off. With --allow-exec they run for definitions from the folder, and\n" +
			"never for those that came over NATS.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.serve(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.definitions, "definitions", "", "folder of definition files to load and to watch")
	f.env.add(cmd)
	flags.StringVar(&f.data, "data", defaultData, "data directory")
	flags.StringVar(&f.durability, "durability", "strict", "when a change counts as stored: strict (on the disk) or interval (on it within a second)")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "HOST:PORT for other processes; port 0 is any free one")
	flags.StringVar(&f.token, "token", os.Getenv("TASKER_TOKEN"), "secret of the listener, also TASKER_TOKEN (default: a new one at every start)")
	flags.Lookup("token").DefValue = ""
	flags.StringVar(&f.natsURL, "nats-url", "", "run on this NATS instead of an embedded one")
	f.nats.add(cmd)
	flags.StringVar(&f.context, "context", "", "run on the NATS of this context, of tasker (tasker context list) or of the nats command line")
	flags.IntVar(&f.replicas, "replicas", 1, "copies of a log that does not exist yet, on an external NATS: 1, 3 or 5")
	flags.BoolVar(&f.allowExec, "allow-exec", false, "let definitions of the folder run programs")
	flags.DurationVar(&f.drain, "drain", 30*time.Second, "how long running steps may go on after SIGTERM")
	f.limits.add(cmd)
	f.telemetry.add(cmd)
	f.outlets.add(cmd)
	f.index.add(cmd)
	f.http.add(cmd)
	return cmd
}

// check refuses flags that contradict each other.
func (f *serveFlags) check(cmd *cobra.Command) error {
	set := cmd.Flags().Changed
	external := set("nats-url") || set("context")
	switch {
	case set("nats-url") && set("context"):
		return usageError("either --nats-url or --context")
	case set("replicas") && !external:
		return usageError("--replicas is for an external NATS: an embedded server is one")
	case f.replicas != 1 && f.replicas != 3 && f.replicas != 5:
		return usageError("--replicas must be 1, 3 or 5, not %d: an even number survives no more than the odd one below it", f.replicas)
	case set("env") && f.definitions == "":
		return usageError("--env is for the definitions of a folder: name it with --definitions")
	case f.allowExec && f.definitions == "":
		return usageError("--allow-exec is for the definitions of a folder: name it with --definitions")
	}
	if err := f.nats.check(cmd); err != nil {
		return err
	}
	if err := f.useContext(); err != nil {
		return err
	}
	for _, own := range []string{"data", "listen", "token", "durability"} {
		if external && set(own) {
			return usageError("--%s is for the embedded server, and there is none on an external NATS", own)
		}
	}
	if err := f.outlets.check(cmd); err != nil {
		return err
	}
	if err := f.telemetry.check(cmd); err != nil {
		return err
	}
	data := f.data
	if external {
		data = ""
	}
	if err := f.index.check(cmd, data); err != nil {
		return err
	}
	if err := f.http.check(cmd); err != nil {
		return err
	}
	f.telemetry.elsewhere = f.http.address != ""
	return f.limits.check()
}

// useContext turns a context of tasker's own into the URL that it stands for. The one in use does not count: a server must not
// run somewhere because somebody looked there.
func (f *serveFlags) useContext() error {
	if f.context == "" {
		return nil
	}
	where := connectFlags{context: f.context, named: true}
	if err := where.resolve(func(string) bool { return false }); err != nil {
		return err
	}
	if where.data != "" {
		return usageError("context %q is a data directory of this machine: tasker serve --data %s", f.context, where.data)
	}
	f.natsURL, f.context = where.url, where.context
	if where.url != "" {
		f.nats = where.access
	}
	return nil
}

// serve is the verb.
func (a *app) serve(ctx context.Context, f serveFlags) error {
	say := a.stderrLines()
	if f.drain <= 0 {
		f.drain = -1
	}
	if f.definitions != "" {
		if info, err := os.Stat(f.definitions); err != nil {
			return badInput(fmt.Errorf("--definitions: %w", err), "")
		} else if !info.IsDir() {
			return badInput(fmt.Errorf("--definitions: %s is not a folder", f.definitions), "")
		}
	}
	logger := a.logger(say, true)
	o := hostOptions{
		data: f.data, durability: f.durability, drain: f.drain, logger: logger,
		config: tasker.Config{NATSContext: f.context, Replicas: f.replicas},
	}
	if f.natsURL != "" {
		if err := f.nats.useURL(&o.config, f.natsURL); err != nil {
			return err
		}
	}
	f.limits.apply(&o.config)
	f.index.apply(&o.config)
	if err := f.outlets.apply(&o.config); err != nil {
		return err
	}
	external := f.natsURL != "" || f.context != ""
	if !external {
		o.listen, o.token = f.listen, f.token
		if o.token == "" && isLoopback(f.listen) {
			o.token = rand.Text()
		}
	}
	w, err := f.telemetry.watch(ctx, &o.config, logger)
	if err != nil {
		return err
	}
	h, err := newHost(ctx, o)
	if err != nil {
		w.stop()
		return err
	}
	defer w.stop()
	if err = w.start(ctx, h.engine); err == nil {
		w.say(a)
		var site *webServer
		if site, err = f.http.start(ctx, h.engine, w.registry, logger); err == nil {
			site.say(a)
			err = a.serveOn(ctx, h, f, o, say)
			site.stop()
		}
		w.ending()
	}
	return errors.Join(err, h.stop())
}

// serveOn runs the engine and returns when it has to stop.
func (a *app) serveOn(ctx context.Context, h *host, f serveFlags, o hostOptions, say func(string)) error {
	folder := newFolder(f.definitions, f.env, f.allowExec, h, say)
	h.engine.AcceptDefinitions(folder.accept)
	steps := stepLogger(func(task tasker.TaskView, step tasker.StepView, _ slog.Level, text string) {
		say(fmt.Sprintf("task %s, step %s | %s", task.ID, step.Name, oneLine(text)))
	})
	if err := h.register(steps, false); err != nil {
		return err
	}
	folder.logger = steps
	patience := startTimeout
	if h.server == nil {
		patience = 2 * time.Second // another engine may own the partitions
	}
	if err := h.start(ctx, patience); err != nil {
		return err
	}
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	loaded, err := folder.start(watch)
	if err != nil {
		return err
	}
	info := h.engine.Info()
	exec := ", exec is off"
	if f.allowExec {
		exec = ", exec for definitions of the folder"
	}
	if h.server != nil {
		if err := announce(f.data, serving{URL: h.server.URL(), Token: o.token, PID: os.Getpid(), Started: time.Now().UTC()}); err != nil {
			return err
		}
		defer func() { _ = os.Remove(servingPath(f.data)) }()
		a.printf("data         %s, durability %s, %s\n", shownPath(h.server.Dir()), info.Durability, plural(info.Partitions, "partition", "partitions"))
		a.printf("listening    %s, token in %s\n", h.server.URL(), shownPath(servingPath(f.data)))
	} else {
		a.printf("data         %s, durability %s, %s\n", info.ID, info.Durability, plural(info.Partitions, "partition", "partitions"))
	}
	if f.definitions != "" {
		a.printf("definitions  %d from %s, which is watched\n", loaded, shownPath(f.definitions))
	}
	f.index.say(a)
	f.outlets.say(a, o.config)
	a.printf("handlers     %s, sleep%s\n", strings.Join(h.engine.Handlers(), ", "), exec)
	switch {
	case h.ready():
		a.printf("ready\n")
	case h.settled():
		a.printf("not ready: every partition is closed\n")
	default:
		a.printf("standing by: other engines own all partitions\n")
		select {
		case <-h.engine.Ready():
			a.printf("ready: it has taken over\n")
		case <-h.done:
		case <-ctx.Done():
		}
	}
	select {
	case <-h.done:
		return nil // its error comes with stop
	case <-ctx.Done():
	}
	if n := h.engine.Stats().Executor.Running; n > 0 && f.drain > 0 {
		a.printf("stopping: %s %s to end; a second signal stops at once\n", plural(n, "running step has", "running steps have"), span(f.drain))
	} else {
		a.printf("stopping\n")
	}
	return nil
}

// announce writes the file by which other commands find the server.
func announce(data string, s serving) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := servingPath(data)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have other permissions
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".serve-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(append(text, '\n'))
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("other commands cannot find this server: %w", err)
	}
	return nil
}

// isLoopback reports whether only this machine reaches the address.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
