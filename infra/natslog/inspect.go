package natslog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

// MinPayload is how large a message of the server must be allowed to be.
const MinPayload = minPayload

// Inspection is how a NATS server and the log on it are doing, for people who look for what is wrong. Close it.
type Inspection struct {
	Server  string        // its name
	Version string        // of NATS
	Cluster string        // "" = none
	RTT     time.Duration // of one question and answer

	MaxPayload int64
	// Account is what JetStream allows this user; nil with AccountError: JetStream is off, or does not answer.
	Account      *jetstream.AccountInfo
	AccountError error

	// Log is why there is no log to look at, or no way to it: ErrNoLog, *FormatError, ErrUnavailable; nil when there is one.
	Log     error
	Data    domain.DataInfo
	Streams []StreamReport // in the order of the layout

	store *Store
}

// StreamReport is how one stream is doing.
type StreamReport struct {
	Name  string
	Vital bool // what is lost with it cannot be made again
	// Missing: there is no such stream. One that is neither Vital nor lost at every stop of a server is made again by the next engine.
	Missing, Fleeting bool
	Problem           error // its settings are not what the engine needs, or it does not answer; with Missing nil

	Partition      int // of a stream of the log; else -1
	Messages       uint64
	Bytes          uint64
	First, Last    uint64
	Removed        int // messages that are gone from between First and Last
	Replicas       int
	Leader         string   // of a replicated stream; "" = it has none now
	ReplicasBehind []string // that are offline or not current
}

// Inspect looks at a server and at the log on it, and changes nothing on either: unlike Open it makes nothing that is missing.
// The error is about the connection or the Options; all else that is wrong stands in the Inspection.
func Inspect(ctx context.Context, o Options) (*Inspection, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{opts: o, names: names{prefix: o.Prefix, subject: strings.ToLower(o.Prefix)}}
	s.closed, s.close = context.WithCancel(context.Background())
	i := &Inspection{store: s}
	var err error
	if s.nc, err = s.connect("inspection"); err != nil {
		s.Close()
		return nil, err
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithDefaultTimeout(answerTimeout)); err != nil {
		s.Close()
		return nil, err
	}
	i.Server, i.Version, i.Cluster = s.nc.ConnectedServerName(), s.nc.ConnectedServerVersion(), s.nc.ConnectedClusterName()
	i.MaxPayload = s.nc.MaxPayload()
	if i.RTT, err = s.nc.RTT(); err != nil {
		i.AccountError = unavailable(err)
		return i, nil
	}
	if i.Account, err = s.account(ctx); err != nil {
		i.AccountError = err
		return i, nil //nolint:nilerr // part of the report
	}
	i.Log = i.look(ctx)
	return i, nil
}

func (s *Store) account(ctx context.Context) (*jetstream.AccountInfo, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	info, err := s.js.AccountInfo(ctx)
	return info, unavailable(err)
}

// look reads META and asks for every stream.
func (i *Inspection) look(ctx context.Context) error {
	s := i.store
	m, _, err := s.readMeta(ctx)
	switch {
	case errors.Is(err, domain.ErrNoKey):
		if err := s.refuseOrphans(ctx); err != nil {
			return err
		}
		return ErrNoLog
	case err != nil:
		return err
	case m.Version > FormatVersion || m.Version < 1 || m.ID == "" || m.Generation < 1 || m.Partitions < 1 || m.Partitions > MaxPartitions:
		return &FormatError{Stream: s.names.bucket("META"), Version: m.Version}
	case !m.Ready:
		return fmt.Errorf("%w: making it was begun and not finished, which the next engine does", ErrNoLog)
	}
	s.data = domain.DataInfo{ID: m.ID, Generation: m.Generation, Partitions: m.Partitions, Durability: s.opts.Durability}
	i.Data = s.data
	for n, p := range s.layout(m.Generation, m.Partitions) {
		r := StreamReport{Name: p.config.Name, Vital: p.vital, Fleeting: p.config.Storage == jetstream.MemoryStorage, Partition: -1}
		if n < m.Partitions {
			r.Partition = n
		}
		r.ask(ctx, s, p)
		i.Streams = append(i.Streams, r)
	}
	s.replicas = max(1, i.Streams[0].Replicas)
	return nil
}

// ask fills the report in.
func (r *StreamReport) ask(ctx context.Context, s *Store, p part) {
	info, err := s.streamInfo(ctx, p.config.Name)
	switch {
	case isCode(err, codeStreamNotFound):
		r.Missing = true
		return
	case err != nil:
		r.Problem = fmt.Errorf("stream %s does not answer: %w", p.config.Name, err)
		return
	}
	r.Problem = verify(info.Config, p.config, p.vital)
	r.Messages, r.Bytes = info.State.Msgs, info.State.Bytes
	r.First, r.Last, r.Removed = info.State.FirstSeq, info.State.LastSeq, info.State.NumDeleted
	r.Replicas = info.Config.Replicas
	if c := info.Cluster; c != nil && r.Replicas > 1 {
		r.Leader = c.Leader
		for _, peer := range c.Replicas {
			if peer.Offline || !peer.Current {
				r.ReplicasBehind = append(r.ReplicasBehind, peer.Name)
			}
		}
	}
}

// Whole reports whether every stream is there as the engine needs it, so that Open would change nothing.
func (i *Inspection) Whole() bool {
	for _, r := range i.Streams {
		if r.Missing || r.Problem != nil {
			return false
		}
	}
	return i.Log == nil && i.AccountError == nil
}

// LogOf reads one partition; only when its stream is there.
func (i *Inspection) LogOf(partition int) (domain.Log, func(), error) {
	nc, err := i.store.connect(fmt.Sprintf("inspection of log %02d", partition))
	if err != nil {
		return nil, nil, err
	}
	l, err := newPartitionLog(i.store, partition, nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return l, nc.Close, nil
}

// Snapshots are those of the log; only when their stream is there.
func (i *Inspection) Snapshots() domain.Snapshots { return i.store.Snapshots() }

// Clock is the time of the server that leads partition 0.
func (i *Inspection) Clock(ctx context.Context) (time.Time, error) { return i.store.Clock(ctx) }

// Close ends the connection.
func (i *Inspection) Close() { i.store.Close() }
