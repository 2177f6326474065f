package natslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

// Limits and defaults of Options.
const (
	DefaultPrefix     = "TASKER"
	DefaultPartitions = 2
	MaxPartitions     = 64

	// minPayload is what a commit may have at most: it ends at 512 KiB, and its last event may be a packed definition that
	// takes as much again. It is the server's default.
	minPayload = 1 << 20

	answerTimeout = 5 * time.Second // for any answer of NATS; a shorter deadline of the caller counts instead
	askAgain      = time.Second     // for one try of a question that may be asked again
	reconnectWait = 100 * time.Millisecond
	pingInterval  = 5 * time.Second // two without an answer end a connection that the other side has forgotten
)

// Options says where a store is. Connect is required.
type Options struct {
	// Connect opens a connection; the given options come after its own. It is called once per partition and once more.
	Connect func(...nats.Option) (*nats.Conn, error)
	// Prefix begins the names of all streams and, in lower case, their subjects: upper case letters, digits, "_" and
	// "-", default DefaultPrefix. Engines with different prefixes share a NATS account without seeing each other.
	Prefix string
	// Partitions is used when the data is created, and ignored afterwards: it is fixed for a generation. 1 to
	// MaxPartitions, default DefaultPartitions.
	Partitions int
	// Existing refuses to make a log: ErrNoLog when there is none.
	Existing bool
	// Replicas of every stream that is created, default 1. Streams that exist keep what they have.
	Replicas int
	// Durability is shown as it is. "" means that the server's settings are not ours: "external (R3, unverified)".
	Durability string
	// StoreLimit is the number of bytes that the server may store, for Usage, when the account has no limit of its own. 0
	// means unlimited.
	StoreLimit int64
	// Logger gets what happens to connections and readers; nil discards it.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Partitions == 0 {
		o.Partitions = DefaultPartitions
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) validate() error {
	if o.Connect == nil {
		return errors.New("natslog: Options.Connect is required")
	}
	if strings.Trim(o.Prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return fmt.Errorf("natslog: prefix %q: only upper case letters, digits, _ and - can be part of a stream's name and its subjects", o.Prefix)
	}
	if o.Partitions < 1 || o.Partitions > MaxPartitions {
		return fmt.Errorf("natslog: %d partitions: it must be 1 to %d", o.Partitions, MaxPartitions)
	}
	if o.Replicas < 1 || o.Replicas > 5 {
		return fmt.Errorf("natslog: %d replicas: it must be 1 to 5", o.Replicas)
	}
	return nil
}

// Store implements domain.Store on JetStream. Its methods may be called from any goroutine. It reconnects by itself;
// what it is asked meanwhile fails with an error that wraps domain.ErrUnavailable.
type Store struct {
	opts  Options
	names names
	nc    *nats.Conn // everything but appends
	js    jetstream.JetStream
	data  domain.DataInfo
	// replicas of the log as it is, whatever Options say
	replicas int
	logs     []*partitionLog
	closed   context.Context // ends with Close
	close    context.CancelFunc
}

// Open connects, creates what does not exist yet, or verifies what does. Processes that open an empty NATS at the same
// time agree on one data id. Close the store when it is not needed any more.
//
// Errors: domain.ErrUnavailable when NATS or JetStream does not answer within 5 s, *domain.StreamMissingError,
// *SettingError, *FormatError.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{opts: o, names: names{prefix: o.Prefix, subject: strings.ToLower(o.Prefix)}}
	s.closed, s.close = context.WithCancel(context.Background())
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	var err error
	if s.nc, err = s.connect("rest"); err != nil {
		return err
	}
	if have := s.nc.MaxPayload(); have < minPayload {
		return fmt.Errorf("the NATS server takes messages of at most %d bytes, and the engine needs %d: raise max_payload in its configuration",
			have, minPayload)
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithDefaultTimeout(answerTimeout)); err != nil {
		return err
	}
	if err := s.agree(ctx); err != nil {
		return err
	}
	for p := range s.data.Partitions {
		nc, err := s.connect(fmt.Sprintf("log %02d", p))
		if err != nil {
			return err
		}
		l, err := newPartitionLog(s, p, nc)
		if err != nil {
			nc.Close()
			return err
		}
		s.logs = append(s.logs, l)
	}
	return nil
}

// connect opens a connection that never buffers: a publish while disconnected fails at once, instead of being sent
// minutes later when somebody else may own the partition.
func (s *Store) connect(use string) (*nats.Conn, error) {
	logger := s.opts.Logger.With("connection", use)
	nc, err := s.opts.Connect(
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait/2, reconnectWait),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(answerTimeout), // an append never blocks longer on a connection that takes no bytes
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("disconnected from NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { logger.Info("reconnected to NATS", "server", nc.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			logger.Error("NATS reports an error", "subject", subject, "error", err)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w: %w", domain.ErrUnavailable, err)
	}
	return nc, nil
}

// Close closes all connections. Appends in flight are not waited for; their outcome is unknown.
func (s *Store) Close() {
	s.close()
	for _, l := range s.logs {
		l.nc.Close()
	}
	if s.nc != nil {
		s.nc.Close()
	}
}

// Data identifies the log.
func (s *Store) Data() domain.DataInfo { return s.data }

// Log is the stream of one partition, 0 to Data().Partitions-1.
func (s *Store) Log(partition int) domain.Log { return s.logs[partition] }

// Leases hands out leases from the bucket TASKER_LEASES.
func (s *Store) Leases() domain.Leases { return leases{s} }

// Snapshots are in the object store TASKER_SNAPSHOTS.
func (s *Store) Snapshots() domain.Snapshots { return snapshots{s} }

// Blobs are in the object store TASKER_BLOBS.
func (s *Store) Blobs() domain.Blobs { return blobs{s} }

// Definitions are in the bucket TASKER_DEFINITIONS.
func (s *Store) Definitions() domain.KV { return kv{s, s.names.bucket("DEFINITIONS")} }

// Cursors are in the bucket TASKER_CURSORS.
func (s *Store) Cursors() domain.KV { return kv{s, s.names.bucket("CURSORS")} }

// Tokens are in the bucket TASKER_TOKENS.
func (s *Store) Tokens() domain.KV { return kv{s, s.names.bucket("TOKENS")} }

// DeadLetters go to the stream TASKER_DEAD.
func (s *Store) DeadLetters() domain.DeadLetters { return deadLetters{s} }

// Clock is the time of the server that leads partition 0, corrected by half of the way.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	begin := time.Now()
	info, err := s.streamInfo(ctx, s.names.log(s.data.Generation, 0))
	if err != nil {
		return time.Time{}, fmt.Errorf("asking NATS for its time: %w", err)
	}
	return info.TimeStamp.Add(time.Since(begin) / 2), nil
}

// Usage is what the account stores, of its limit or of Options.StoreLimit.
func (s *Store) Usage(ctx context.Context) (float64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	info, err := s.js.AccountInfo(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking NATS for the account's usage: %w", unavailable(err))
	}
	tier := info.Tier
	if t, ok := info.Tiers[fmt.Sprintf("R%d", s.replicas)]; ok {
		tier = t
	}
	limit := tier.Limits.MaxStore
	if limit <= 0 {
		limit = s.opts.StoreLimit
	}
	if limit <= 0 {
		return 0, nil
	}
	return float64(tier.Store) / float64(limit), nil
}
