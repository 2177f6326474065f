// Package memlog keeps everything in memory: it implements domain.Store for tests and for engines whose tasks need not
// outlive the process. It has no goroutine of its own beyond what is on its way, a timer only for requests of the intake that
// are to come again, and no I/O, so it runs inside a testing/synctest bubble, where its time is virtual.
//
// Two engines that share one Store are two processes on one NATS: they compete for leases and fence each other by
// sequence. An engine that is started again on the same Store finds what its predecessor stored.
package memlog

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-go/tasker/domain"
)

// Options of a Store. The zero value is useful.
type Options struct {
	// Partitions, default 1.
	Partitions int
	// DataID identifies the data in cursors; default is a new one.
	DataID string
	// Clock is the store's own clock, default time.Now.
	Clock func() time.Time
	// Delay is how long an acknowledgement takes.
	Delay time.Duration
	// Limit is the number of bytes of all logs together, for Usage; 0 means no limit. Appends beyond it are refused with
	// domain.ErrNotStored.
	Limit int64
	// Durability is shown as it is, default "memory".
	Durability string
	// IntakeLimit is how many requests may wait in the intake; 0 means no limit.
	IntakeLimit int
}

// Store implements domain.Store, domain.Commands and domain.Intake. Its methods may be called from any goroutine.
type Store struct {
	opts Options
	data domain.DataInfo
	logs []*partitionLog

	mu        sync.Mutex
	bytes     int64
	leases    map[string]*lease
	snapshots map[snapshotKey]snapshot
	blobs     map[string][]byte
	tables    map[string]*table
	letters   []domain.StoredLetter
	newest    uint64 // sequence of the last letter
	servers   map[int]map[*server]struct{}
	intake    intake
}

// New makes an empty store.
func New(o Options) *Store {
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.DataID == "" {
		o.DataID = uuid.NewString()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Durability == "" {
		o.Durability = "memory"
	}
	s := &Store{
		opts:      o,
		data:      domain.DataInfo{ID: o.DataID, Generation: 1, Partitions: o.Partitions, Durability: o.Durability},
		leases:    map[string]*lease{},
		snapshots: map[snapshotKey]snapshot{},
		blobs:     map[string][]byte{},
		tables:    map[string]*table{},
		servers:   map[int]map[*server]struct{}{},
	}
	for p := range o.Partitions {
		s.logs = append(s.logs, &partitionLog{store: s, partition: p, first: 1, changed: make(chan struct{})})
	}
	return s
}

// Data identifies the log.
func (s *Store) Data() domain.DataInfo { return s.data }

// Log is the log of one partition.
func (s *Store) Log(partition int) domain.Log { return s.logs[partition] }

// Faults of one partition's log, for tests.
func (s *Store) Faults(partition int) *Faults { return &s.logs[partition].faults }

// Leases are kept by the store's clock.
func (s *Store) Leases() domain.Leases { return leases{s} }

// Snapshots implements domain.Store.
func (s *Store) Snapshots() domain.Snapshots { return snapshots{s} }

// Blobs implements domain.Store.
func (s *Store) Blobs() domain.Blobs { return blobs{s} }

// Definitions implements domain.Store.
func (s *Store) Definitions() domain.KV { return s.table("definitions") }

// Cursors implements domain.Store.
func (s *Store) Cursors() domain.KV { return s.table("cursors") }

// Tokens implements domain.Store.
func (s *Store) Tokens() domain.KV { return s.table("tokens") }

// DeadLetters implements domain.Store. Letters returns them.
func (s *Store) DeadLetters() domain.DeadLetters { return deadLetters{s} }

// Clock is the time that Options.Clock gives.
func (s *Store) Clock(ctx context.Context) (time.Time, error) { return s.opts.Clock(), ctx.Err() }

// Usage is the part of Options.Limit that is used.
func (s *Store) Usage(ctx context.Context) (float64, error) {
	if s.opts.Limit <= 0 {
		return 0, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.bytes) / float64(s.opts.Limit), ctx.Err()
}

// reserve takes or gives back room.
func (s *Store) reserve(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 && s.opts.Limit > 0 && s.bytes+n > s.opts.Limit {
		return false
	}
	s.bytes += n
	return true
}

func (s *Store) table(name string) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		t = &table{rows: map[string]row{}}
		s.tables[name] = t
	}
	return t
}
