package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

// FormatVersion is the version of the layout that this package writes and the newest that it reads.
const FormatVersion = 1

// FormatError: the data was written by a newer version, or is not Tasker's.
type FormatError struct {
	Stream  string
	Version int // of the data; 0 when it says none
}

func (e *FormatError) Error() string {
	if e.Version == 0 {
		return fmt.Sprintf("%s holds no description of Tasker's data: was another program's data kept under this name? Choose another prefix", e.Stream)
	}
	return fmt.Sprintf("the data in %s has format version %d, this program reads up to %d: run a newer version", e.Stream, e.Version, FormatVersion)
}

// ErrMetaMissing: there are logs without the bucket that says what they are.
var ErrMetaMissing = errors.New("log streams exist, but the bucket that describes them does not: restore it from a backup, or choose another prefix")

const metaKey = "data"

// meta is the value of the key "data" in TASKER_META. It is written twice: before the streams are created, which
// decides for everybody, and when all of them exist. From then on a missing stream is an error.
type meta struct {
	Version    int       `json:"version"`
	ID         string    `json:"id"`
	Generation int       `json:"generation"`
	Partitions int       `json:"partitions"`
	Created    time.Time `json:"created"`
	Ready      bool      `json:"ready"`
}

// agree reads META, or writes it when there is none, and creates or verifies the streams.
func (s *Store) agree(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 6*answerTimeout)
	defer cancel()
	m, revision, err := s.readMeta(ctx)
	if errors.Is(err, domain.ErrNoKey) {
		m, revision, err = s.createMeta(ctx)
	}
	if err != nil {
		return err
	}
	if m.Version > FormatVersion || m.Version < 1 || m.ID == "" || m.Generation < 1 || m.Partitions < 1 || m.Partitions > MaxPartitions {
		return &FormatError{Stream: s.names.bucket("META"), Version: m.Version}
	}
	if m.Ready {
		err = s.verifyStreams(ctx, m)
	} else {
		err = s.createStreams(ctx, m, revision)
	}
	if err != nil {
		return err
	}
	s.data = domain.DataInfo{ID: m.ID, Generation: m.Generation, Partitions: m.Partitions, Durability: s.opts.Durability}
	info, err := s.streamInfo(ctx, s.names.log(m.Generation, 0))
	if err != nil {
		return fmt.Errorf("asking for the replicas of the log: %w", err)
	}
	s.replicas = max(1, info.Config.Replicas)
	if s.data.Durability == "" {
		s.data.Durability = fmt.Sprintf("external (R%d, unverified)", s.replicas)
	}
	return nil
}

// readMeta returns domain.ErrNoKey when there is no bucket or no key in it.
func (s *Store) readMeta(ctx context.Context) (meta, uint64, error) {
	name := s.names.kvStream("META")
	var m meta
	msg, err := s.lastBySubject(ctx, name, s.metaSubject())
	if err != nil {
		if isCode(err, codeStreamNotFound) || errors.Is(err, domain.ErrNoMessage) {
			err = domain.ErrNoKey
		}
		return m, 0, fmt.Errorf("reading %s: %w", name, err)
	}
	if err := json.Unmarshal(msg.Data, &m); err != nil {
		return m, 0, fmt.Errorf("%w: %w", &FormatError{Stream: name}, err)
	}
	return m, msg.Sequence, nil
}

func (s *Store) metaSubject() string { return "$KV." + s.names.bucket("META") + "." + metaKey }

// ErrNoLog: nobody has made a log on this server yet, and Options.Existing forbids making one.
var ErrNoLog = errors.New("there is no tasker log on this NATS server: start an engine on it first (tasker serve)")

// createMeta decides the data id, or learns it from the process that was faster.
func (s *Store) createMeta(ctx context.Context) (meta, uint64, error) {
	if s.opts.Existing {
		return meta{}, 0, ErrNoLog
	}
	// META is the first thing created: a log without one was there before and belongs to data that we do not know.
	if err := s.refuseOrphans(ctx); err != nil {
		if m, revision, again := s.readMeta(ctx); again == nil {
			return m, revision, nil
		}
		return meta{}, 0, err
	}
	if err := s.createStream(ctx, part{s.kvConfig("META"), true}); err != nil {
		return meta{}, 0, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return meta{}, 0, err
	}
	m := meta{Version: FormatVersion, ID: id.String(), Generation: 1, Partitions: s.opts.Partitions, Created: time.Now().UTC()}
	for {
		revision, err := s.writeMeta(ctx, m, 0)
		if !isWrongSequence(err) {
			return m, revision, err
		}
		// A cluster refuses what comes behind a message that is on its way and that nobody can read yet, and that may be lost, too.
		if m, revision, err := s.readMeta(ctx); !errors.Is(err, domain.ErrNoKey) {
			return m, revision, err
		}
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
			return meta{}, 0, fmt.Errorf("writing %s: %w", s.names.bucket("META"), unavailable(ctx.Err()))
		}
	}
}

func (s *Store) refuseOrphans(ctx context.Context) error {
	names := s.js.StreamNames(ctx, jetstream.WithStreamListSubject(s.names.subject+".log.>"))
	found := ""
	for name := range names.Name() {
		found = name
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("listing the streams: %w", unavailable(err))
	}
	if found != "" {
		return fmt.Errorf("stream %s: %w", found, ErrMetaMissing)
	}
	return nil
}

func (s *Store) writeMeta(ctx context.Context, m meta, revision uint64) (uint64, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return 0, err
	}
	revision, err = s.publishGuarded(ctx, s.metaSubject(), data, revision, nil)
	if err != nil {
		return 0, fmt.Errorf("writing %s: %w", s.names.bucket("META"), err)
	}
	return revision, nil
}

// createStreams may run in several processes at once: creating a stream that exists with the same settings succeeds.
func (s *Store) createStreams(ctx context.Context, m meta, revision uint64) error {
	for _, p := range s.layout(m.Generation, m.Partitions) {
		if err := s.createStream(ctx, p); err != nil {
			return err
		}
	}
	for p := range m.Partitions {
		if err := s.probe(ctx, s.names.logSubject(m.Generation, p)); err != nil {
			return fmt.Errorf("waiting for stream %s: %w", s.names.log(m.Generation, p), err)
		}
	}
	m.Ready = true
	_, err := s.writeMeta(ctx, m, revision)
	if err == nil {
		s.opts.Logger.Info("created the data", "id", m.ID, "partitions", m.Partitions)
		return nil
	}
	if !isWrongSequence(err) {
		return err
	}
	// Another process was faster, with the same data id, for the id is never changed.
	if m, _, err = s.readMeta(ctx); err != nil {
		return err
	}
	return s.verifyStreams(ctx, m)
}

// probe waits until appends reach a new stream, with one that follows a sequence which it will never have.
func (s *Store) probe(ctx context.Context, subject string) error {
	header := nats.Header{headerExpectSequence: {strconv.FormatUint(1<<62, 10)}}
	_, err := s.publish(ctx, &nats.Msg{Subject: subject, Header: header})
	if isWrongSequence(err) {
		return nil
	}
	return err
}

// createStream is repeated while nobody answers: a busy cluster may take longer to elect the stream's leader.
func (s *Store) createStream(ctx context.Context, p part) error {
	c := p.config
	for try := 0; ; try++ {
		err := s.createOnce(ctx, c)
		if isCode(err, codeStoreNotMade) && try < 20 && ctx.Err() == nil {
			// A server that has just deleted an account's last stream is still removing the directory above it.
			time.Sleep(25 * time.Millisecond)
			continue
		}
		if isCode(err, codeNoMemory) && c.Storage == jetstream.MemoryStorage {
			c.Storage = jetstream.FileStorage // an account without memory for streams
			continue
		}
		if isCode(err, codeStorageExceeded) && c.Retention == jetstream.WorkQueuePolicy && c.MaxBytes > minInboxBytes/16 {
			c.MaxBytes /= 2 // there is less room than the intake would like
			continue
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// With other settings, which may be harmless: another version or an operator made it.
			info, infoErr := s.streamInfo(ctx, c.Name)
			if infoErr != nil {
				return fmt.Errorf("reading the settings of stream %s: %w", c.Name, infoErr)
			}
			return verify(info.Config, c, p.vital)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, domain.ErrUnavailable) || ctx.Err() != nil || !s.nc.IsConnected() {
			return fmt.Errorf("creating stream %s: %w", c.Name, err)
		}
	}
}

func (s *Store) createOnce(ctx context.Context, c jetstream.StreamConfig) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := s.js.CreateStream(ctx, c)
	return unavailable(err)
}

func (s *Store) verifyStreams(ctx context.Context, m meta) error {
	replicas := s.opts.Replicas
	for _, p := range s.layout(m.Generation, m.Partitions) {
		info, err := s.streamInfo(ctx, p.config.Name)
		if err == nil && p.vital {
			replicas = max(1, info.Config.Replicas) // the log stands before what can be made again
		}
		switch {
		case isCode(err, codeStreamNotFound) && p.vital:
			return &domain.StreamMissingError{Stream: p.config.Name, DataID: m.ID}
		case isCode(err, codeStreamNotFound) && s.opts.Existing && p.config.Name == s.names.kvStream("TOKENS"):
			// Older engines made none, and a client may not be allowed to: nobody has a token then.
		case isCode(err, codeStreamNotFound):
			if p.config.Storage != jetstream.MemoryStorage { // which goes with every stop of the server
				s.opts.Logger.Warn("a stream that can be made again was missing, creating it", "stream", p.config.Name)
				p.config.Replicas = replicas
			}
			if err := s.createStream(ctx, p); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("reading the settings of stream %s: %w", p.config.Name, err)
		default:
			if err := verify(info.Config, p.config, p.vital); err != nil {
				return err
			}
		}
	}
	return nil
}
