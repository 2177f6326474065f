package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// face is what engines and clients have in common.
type face interface {
	Info() domain.DataInfo
	SubmitRequest(context.Context, tasker.Submission) (tasker.Receipt, error)
	Wait(context.Context, tasker.TaskID) (tasker.Result, error)
	Task(context.Context, tasker.TaskID) (*tasker.Task, error)
	Tasks(context.Context, tasker.Filter) ([]tasker.Task, error)
	History(context.Context, tasker.TaskID) (*tasker.History, error)
	Explain(ctx context.Context, id tasker.TaskID, step string) (*tasker.Explanation, error)
	Stuck(context.Context, tasker.StuckQuery) (tasker.StuckPage, error)
	Cancel(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Retry(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Resolve(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Pause(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Resume(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Annotate(ctx context.Context, id tasker.TaskID, note tasker.Annotation, actor string) (tasker.VerbReceipt, error)
	RetryStep(ctx context.Context, id tasker.TaskID, step string, with tasker.StepRetry, by tasker.By) (tasker.VerbReceipt, error)
	ResolveStep(ctx context.Context, id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error)
	CancelStep(ctx context.Context, id tasker.TaskID, step string, by tasker.By) (tasker.VerbReceipt, error)
	CompleteStep(ctx context.Context, id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error)
	Apply(ctx context.Context, def *tasker.Definition, replace bool) error
	Definitions(context.Context) ([]*tasker.Definition, error)
	Definition(ctx context.Context, namespace, name, version string) (*tasker.Definition, error)
	Replay(context.Context, tasker.ReplayOptions) iter.Seq2[tasker.Event, error]
	Event(context.Context, tasker.Position) (tasker.Event, error)
	Export(context.Context, io.Writer, tasker.ExportOptions) (tasker.ExportReport, error)
	Prune(ctx context.Context, age time.Duration, dryRun bool) ([]tasker.PruneReport, error)
	Skip(ctx context.Context, partition int, sequence uint64, by tasker.By) error
	Subscribers(context.Context) ([]tasker.Subscribed, error)
	ForgetSubscriber(ctx context.Context, name string) error
	Status(context.Context) (*tasker.Status, error)
	indexFace
	forkFace
	tokenFace
}

// connection is the way to the log: a server that runs, or the data directory itself.
type connection struct {
	face
	close func() error
	// idle: no server runs, and this engine has no handlers. It is how the tasks go on.
	idle string
	// alone: no server runs, and this process reads the log itself.
	alone bool
}

// connectFlags say where the log is.
type connectFlags struct {
	url, context, data string
	access             natsAccess // that of the context; the environment fills in the rest
	named              bool       // only what is named on the command line counts, no context in use
	index              bool       // of the data directory, if this process opens it
	partitions         int        // of a log that this process makes; 0 = as many as usual
}

func (f *connectFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "url", "", "NATS server to talk to, such as nats://host:4222 or nats://TOKEN@host:4222")
	cmd.Flags().StringVar(&f.context, "context", "", "context to use, of tasker (tasker context list) or of the nats command line, also "+envContext)
	cmd.Flags().StringVar(&f.data, "data", defaultData, "data directory of a server on this machine")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return f.resolve(cmd.Flags().Changed) }
}

// access says what a verb needs when no server runs on the data directory.
type access int

const (
	needsServer access = iota // it makes no sense without a server
	readsLog                  // it only reads the log: a NATS server on the directory is enough
	needsEngine               // an engine without handlers will do for a moment
	makesLog                  // it may be the first thing that is done with the directory
)

// serving is the file <data>/serve.json, by which other commands find a server. Its token lets in whoever can read it.
type serving struct {
	URL     string    `json:"url"`
	Token   string    `json:"token,omitempty"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

func servingPath(data string) string { return filepath.Join(data, "serve.json") }

// connect finds the log. Close the connection.
func (a *app) connect(ctx context.Context, f connectFlags, need access) (*connection, error) {
	config := tasker.Config{Logger: a.logger(a.stderrLines(), true)}
	switch {
	case f.url != "":
		if err := f.access.useURL(&config, f.url); err != nil {
			return nil, err
		}
	case f.context != "":
		config.NATSContext = f.context
	default:
		text, err := os.ReadFile(servingPath(f.data))
		if errors.Is(err, fs.ErrNotExist) {
			return a.connectDirectory(ctx, f, need, nil)
		}
		var s serving
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			return nil, fmt.Errorf("%s cannot be read: %w", servingPath(f.data), err)
		}
		config.Connect = func(opts ...nats.Option) (*nats.Conn, error) {
			return nats.Connect(s.URL, append(opts, nats.Token(s.Token))...)
		}
		client, err := tasker.NewClient(ctx, config)
		if errors.Is(err, tasker.ErrUnavailable) {
			return a.connectDirectory(ctx, f, need, &s)
		}
		return newConnection(client, err)
	}
	return newConnection(tasker.NewClient(ctx, config))
}

func newConnection(client *tasker.Client, err error) (*connection, error) {
	if err != nil {
		return nil, err
	}
	return &connection{face: client, close: func() error { client.Close(); return nil }}, nil
}

// connectDirectory opens the data directory itself, for verbs that can do without a server. stale is what a server left
// behind that does not answer.
func (a *app) connectDirectory(ctx context.Context, f connectFlags, need access, stale *serving) (*connection, error) {
	data, start := f.data, "tasker serve"
	if data != defaultData {
		start += " --data " + data
	}
	if !hasData(data) && need != makesLog {
		return nil, &failure{
			code: exitEngine, err: fmt.Errorf("there is no data in %s, and no server was named", shownPath(data)),
			hint: "start a server with `" + start + "`, or name one with --url or --context",
		}
	}
	if need == needsServer {
		err := fmt.Errorf("no server runs on %s", shownPath(data))
		if stale != nil {
			err = fmt.Errorf("the server of %s (process %d) does not answer", shownPath(data), stale.PID)
		}
		return nil, &failure{code: exitEngine, err: err, hint: "start one with `" + start + "`"}
	}
	o := hostOptions{
		data: data, durability: string(natsserver.Strict), drain: -1, logger: a.logger(a.stderrLines(), false),
		config: tasker.Config{NoIntake: true}, // what waits there is for an engine with handlers
	}
	if need == readsLog {
		return a.readDirectory(ctx, o)
	}
	if f.index {
		o.config.Index = filepath.Join(data, indexFile)
	}
	o.config.Partitions = f.partitions
	h, err := newHost(ctx, o)
	if err != nil {
		return nil, err
	}
	if need == makesLog { // nothing runs: what is asked for is beside the log
		return &connection{face: h.engine, close: h.stop}, nil
	}
	if err := h.start(ctx, startTimeout); err != nil {
		return nil, errors.Join(err, h.stop())
	}
	return &connection{face: h.engine, close: h.stop, idle: start + ", or tasker run --continue" + strings.TrimPrefix(start, "tasker serve")}, nil
}

// hasData reports whether a server has ever run on the directory.
func hasData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "jetstream"))
	return err == nil
}

// readDirectory reads the log without an engine: nothing is written to it.
func (a *app) readDirectory(ctx context.Context, o hostOptions) (*connection, error) {
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: o.data, Logger: o.logger})
	if err != nil {
		return nil, err
	}
	stop := (&host{server: server}).stopServer
	client, err := tasker.NewClient(ctx, tasker.Config{
		Connect: func(opts ...nats.Option) (*nats.Conn, error) { return server.Connect(opts...) },
		Logger:  o.logger, Durability: o.durability,
	})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &connection{face: client, close: func() error { client.Close(); return stop() }, alone: true}, nil
}

// with runs a verb on a connection.
func (a *app) with(ctx context.Context, f connectFlags, need access, do func(*connection) error) error {
	c, err := a.connect(ctx, f, need)
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.close())
}
