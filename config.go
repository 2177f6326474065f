package tasker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/subscribers"
)

// Config says how an engine runs. Exactly one of Connect, URL, NATSContext and Store says where its log is; every other
// field has a default.
type Config struct {
	// Connect opens a connection to NATS. An embedded server's Connect fits (package infra/natsserver).
	Connect func(...nats.Option) (*nats.Conn, error)
	// URL is that of an external NATS server or cluster, such as nats://localhost:4222.
	URL string
	// NATSContext is the name of a context of the nats command line, with its URL and credentials.
	NATSContext string
	// NATSOptions of the connections to URL or NATSContext: credentials, certificates, nats.CustomInboxPrefix. What the engine
	// needs of a connection, such as how it reconnects, is set after them and cannot be changed.
	NATSOptions []nats.Option
	// Store is the log itself, for tests: infra/memlog.
	Store domain.Store

	// Prefix of stream and subject names. Default "TASKER".
	Prefix string
	// Partitions of a log that does not exist yet, 1 to 64; an existing one keeps its number. Default 2.
	Partitions int
	// Replicas of the streams of a log that does not exist yet, 1, 3 or 5. Default 1.
	Replicas int
	// Durability is shown, not set: "strict" or "interval" of the embedded server. Default: what the connection says.
	Durability string

	// StoreLimit is how many bytes the embedded server may store (Server.MaxStore): submissions are refused at 90 % of it,
	// and retention by bytes begins at 80 %. Default: what the NATS account says, which for an embedded server is nothing.
	StoreLimit int64

	// Slots is how many steps run at once in this process. A slot is taken from the decision to start a step until its handler has
	// returned, so it is held for a commit or two besides: many more than processors are needed. Default 4096.
	Slots int
	// SlotsPerHandler limits single handlers further, by name.
	SlotsPerHandler map[string]int
	// MaxQueue is how many submissions and commands may wait per partition before ErrOverloaded. Default 4096.
	MaxQueue int
	// MaxReady is how many ready steps may wait for slots per partition before submissions are refused. Default 10,000.
	MaxReady int
	// Drain is how long Run waits for running steps when its context ends; the rest is recorded as interrupted.
	// Default 30 s; negative = not at all.
	Drain time.Duration

	// LeaseTTL is how long a dead process keeps its partitions. Default 10 s.
	LeaseTTL time.Duration
	// SnapshotBytes of log between two snapshots of a partition, at least. Default 64 MiB.
	SnapshotBytes int64
	// Retention of ended tasks. Default 30 days.
	Retention time.Duration
	// ErrorRetention is how long a failed task stays one that can be retried, resolved or cancelled; then it expires: it is
	// kept as history like an ended one, for Retention. Default 30 days; negative = never.
	ErrorRetention time.Duration
	// IdempotencyWindow is how long after a task's end its key is remembered. Default 24 h.
	IdempotencyWindow time.Duration

	// MaxKeys is how many idempotency keys of ended tasks are remembered, about 40 bytes each; then keyed submissions are
	// refused with ErrTooManyKeys, and none is forgotten early. Default 2,000,000.
	MaxKeys int

	// Index is the file of the index from which lists, counts and analytics of all tasks are read (FindTasks, Analyze), such as
	// index.db in the data directory. It is made when it is not there, follows the log while the engine runs, and may be
	// removed at any time: it is made again from the log. Nothing else depends on it; what goes wrong with it is in IndexStatus.
	// One process uses a file at a time. Default "": none, and the engine asks another one that has an index.
	Index string

	// Feed publishes events, one NATS message each. Default nil: none.
	Feed *Feed
	// Webhooks are receivers of events over HTTP. Default none.
	Webhooks []Webhook

	// NoIntake leaves to other engines what foreign clients publish to tasker.submit.> (docs/wire.md): for a process that knows
	// few definitions, or runs for a moment only. Default: this engine takes part.
	NoIntake bool

	// Name of this process in leases and in the log. Default: host name and process id.
	Name string
	// Clock is the wall clock. Default time.Now.
	Clock func() time.Time
	// Metrics is the registry that gets the engine's metrics (docs/metrics.md), from New until Run ends, such as
	// prometheus.DefaultRegisterer. nil: none are measured; Engine.Stats has what costs nothing.
	Metrics prometheus.Registerer
	// Traces make a span of each task and of each execution of a step. Without an exporter there are none.
	Traces Traces
	// Logger takes what operators need to know. Default slog.Default().
	Logger *slog.Logger
}

func (c *Config) defaults() error {
	if c.Drain == 0 {
		c.Drain = 30 * time.Second
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = subscribers.DefaultMaxKeys
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		c.Name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	n := 0
	for _, set := range []bool{c.Connect != nil, c.URL != "", c.NATSContext != "", c.Store != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("tasker: Config needs exactly one of Connect, URL, NATSContext and Store; %d are set", n)
	}
	if c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		return fmt.Errorf("tasker: Config.Replicas is %d; it must be 1, 3 or 5: an even number survives no more than the odd one below it", c.Replicas)
	}
	if c.Partitions < 0 || c.Partitions > 64 {
		return fmt.Errorf("tasker: Config.Partitions is %d; it must be 1 to 64", c.Partitions)
	}
	if math.IsNaN(c.Traces.Ratio) {
		return errors.New("tasker: Config.Traces.Ratio is not a number; it is the share of traces that are recorded, up to 1")
	}
	return nil
}

// open opens the store that the configuration names. The second result closes it, if it is the engine's to close.
// existing forbids to make a log where there is none.
func (c *Config) open(ctx context.Context, existing bool) (domain.Store, func(), error) {
	if c.Store != nil {
		return c.Store, func() {}, nil
	}
	store, err := natslog.Open(ctx, natslog.Options{
		Connect: c.connector(), Existing: existing, Prefix: c.Prefix, Partitions: c.Partitions, Replicas: c.Replicas,
		Durability: c.Durability, StoreLimit: c.StoreLimit, Logger: c.Logger,
	})
	if err != nil {
		return nil, nil, err
	}
	return store, store.Close, nil
}

// connector opens connections to NATS; nil with Store.
func (c *Config) connector() func(...nats.Option) (*nats.Conn, error) {
	switch {
	case c.URL != "":
		return func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect(c.URL, c.natsOptions(o)...) }
	case c.NATSContext != "":
		return func(o ...nats.Option) (*nats.Conn, error) {
			nc, _, err := natscontext.Connect(c.NATSContext, c.natsOptions(o)...)
			return nc, err
		}
	}
	return c.Connect
}

func (c *Config) natsOptions(own []nats.Option) []nats.Option {
	return append(slices.Clip(c.NATSOptions), own...)
}
