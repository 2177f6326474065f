package natslog

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limits of the streams that are not the log.
const (
	deadMaxAge = 30 * 24 * time.Hour
	// deadMaxBytes is reserved by the server from its limit when the stream is created.
	deadMaxBytes = 32 << 20
	// inboxBytes of the intake when the store's limit is not known; else an inboxPart of the limit, within bounds. The
	// server reserves them, too.
	inboxBytes    = 64 << 20
	inboxPart     = 16
	minInboxBytes = 16 << 20
	maxInboxBytes = 1 << 30
	// inboxDuplicates is how long NATS itself drops a message whose Nats-Msg-Id it has had. It costs memory; what comes
	// later is the same task all the same.
	inboxDuplicates = 30 * time.Second
	// leaseMarker is how long the mark of an expired lease stays. The server's minimum.
	leaseMarker = time.Second
	// logDuplicates is the server's minimum: appends carry no Nats-Msg-Id, the sequence guards them.
	logDuplicates = 100 * time.Millisecond
)

// names are the names of streams, buckets and subjects below one prefix.
type names struct{ prefix, subject string }

func (n names) log(generation, partition int) string {
	return fmt.Sprintf("%s_LOG_%d_%02d", n.prefix, generation, partition)
}

func (n names) logSubject(generation, partition int) string {
	return fmt.Sprintf("%s.log.%d.%02d", n.subject, generation, partition)
}

func (n names) command(partition int) string { return fmt.Sprintf("%s.cmd.%02d", n.subject, partition) }
func (n names) dead() string                 { return n.prefix + "_DEAD" }
func (n names) inbox() string                { return n.prefix + "_INBOX" }
func (n names) submit() string               { return n.subject + ".submit.task" }
func (n names) submitRequest() string        { return n.subject + ".submit.request" }
func (n names) bucket(name string) string    { return n.prefix + "_" + name }
func (n names) kvStream(name string) string  { return "KV_" + n.bucket(name) }
func (n names) objStream(name string) string { return "OBJ_" + n.bucket(name) }

// SettingError: a stream is not set up as the engine needs it, for instance because somebody edited it.
type SettingError struct{ Stream, Field, Have, Want string }

func (e *SettingError) Error() string {
	return fmt.Sprintf("stream %s: its setting %s is %s, the engine needs %s: change it back with `nats stream edit`", e.Stream, e.Field, e.Have, e.Want)
}

func (s *Store) logConfig(generation, partition int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              s.names.log(generation, partition),
		Description:       "Tasker: the commits of one partition. The truth; never delete it.",
		Subjects:          []string{s.names.logSubject(generation, partition)},
		Storage:           jetstream.FileStorage,
		Replicas:          s.opts.Replicas,
		Discard:           jetstream.DiscardOld,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Duplicates:        logDuplicates,
		Compression:       jetstream.S2Compression,
		DenyDelete:        true,
		AllowDirect:       true,
	}
}

func (s *Store) deadConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              s.names.dead(),
		Description:       "Tasker: what could not be decoded, accepted or delivered, with the reason.",
		Subjects:          []string{s.names.subject + ".dead.>"},
		Storage:           jetstream.FileStorage,
		Replicas:          s.opts.Replicas,
		Discard:           jetstream.DiscardOld,
		MaxAge:            deadMaxAge,
		MaxBytes:          deadMaxBytes,
		MaxMsgs:           -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Compression:       jetstream.S2Compression,
		AllowDirect:       true,
	}
}

// inboxConfig keeps requests until an engine has carried them out, and refuses them when it is full: the acknowledgement is a
// promise.
func (s *Store) inboxConfig() jetstream.StreamConfig {
	bytes := int64(inboxBytes)
	if s.opts.StoreLimit > 0 {
		bytes = min(max(s.opts.StoreLimit/inboxPart, minInboxBytes), maxInboxBytes)
	}
	return jetstream.StreamConfig{
		Name:              s.names.inbox(),
		Description:       "Tasker: requests for tasks that wait for an engine.",
		Subjects:          []string{s.names.submit() + ".>"},
		Retention:         jetstream.WorkQueuePolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          s.opts.Replicas,
		Discard:           jetstream.DiscardNew,
		MaxBytes:          bytes,
		MaxMsgs:           -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Duplicates:        inboxDuplicates,
		Compression:       jetstream.S2Compression,
		AllowDirect:       true,
	}
}

// kvConfig has the shape of a KV bucket, so that the nats command line shows it as one. Direct reads are off: a replica
// may be behind, and every value here is read to be acted on.
func (s *Store) kvConfig(name string) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:              s.names.kvStream(name),
		Subjects:          []string{"$KV." + s.names.bucket(name) + ".>"},
		Storage:           jetstream.FileStorage,
		Replicas:          s.opts.Replicas,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		AllowRollup:       true,
		DenyDelete:        true,
	}
	if name == "LEASES" {
		c.AllowMsgTTL = true
		c.SubjectDeleteMarkerTTL = leaseMarker
		if s.opts.Replicas == 1 {
			// A lease in memory goes with the server: an embedded engine that was killed need not wait for its own lease.
			c.Storage = jetstream.MemoryStorage
		}
	}
	return c
}

// objConfig has the shape of an object store. Direct reads are off, as in kvConfig.
func (s *Store) objConfig(name string) jetstream.StreamConfig {
	b := s.names.bucket(name)
	return jetstream.StreamConfig{
		Name:              s.names.objStream(name),
		Subjects:          []string{"$O." + b + ".C.>", "$O." + b + ".M.>"},
		Storage:           jetstream.FileStorage,
		Replicas:          s.opts.Replicas,
		Discard:           jetstream.DiscardNew,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		AllowRollup:       true,
	}
}

// part is one stream of the layout. What is lost with a vital one cannot be made again.
type part struct {
	config jetstream.StreamConfig
	vital  bool
}

func (s *Store) layout(generation, partitions int) []part {
	parts := make([]part, 0, partitions+8)
	for p := range partitions {
		parts = append(parts, part{s.logConfig(generation, p), true})
	}
	return append(parts,
		part{s.objConfig("BLOBS"), true},
		part{s.objConfig("SNAPSHOTS"), true},
		part{s.kvConfig("CURSORS"), true},
		part{s.kvConfig("DEFINITIONS"), false},
		part{s.kvConfig("TOKENS"), false}, // without it nobody gets in by a token, until new ones are made
		part{s.kvConfig("LEASES"), false},
		part{s.deadConfig(), false},
		part{s.inboxConfig(), false},
	)
}

// verify compares the settings that correctness depends on. Others (compression, replicas, placement, republishing, the
// limits of intake and dead letters) belong to the operator.
func verify(have, want jetstream.StreamConfig, vital bool) error {
	type check struct {
		field      string
		have, want any
	}
	checks := []check{
		{"subjects", slices.Sorted(slices.Values(have.Subjects)), slices.Sorted(slices.Values(want.Subjects))},
		{"retention", have.Retention, want.Retention},
		{"sealed", have.Sealed, false},
		{"no_ack", have.NoAck, false},
		{"mirror", have.Mirror != nil, false},
		{"sources", len(have.Sources), 0},
		{"subject_transform", have.SubjectTransform != nil, false},
		{"deny_purge", have.DenyPurge, false},
		{"allow_rollup_hdrs", have.AllowRollup, want.AllowRollup},
		{"allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL},
	}
	if vital {
		checks = append(checks, []check{
			{"storage", have.Storage, want.Storage},
			{"persist_mode", have.PersistMode, jetstream.DefaultPersistMode},
			{"discard", have.Discard, want.Discard},
			{"max_msgs", have.MaxMsgs, want.MaxMsgs},
			{"max_bytes", have.MaxBytes, want.MaxBytes},
			{"max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject},
			{"max_msg_size", have.MaxMsgSize, want.MaxMsgSize},
			{"max_age", have.MaxAge, want.MaxAge},
			{"deny_delete", have.DenyDelete, want.DenyDelete},
		}...)
	}
	for _, c := range checks {
		if h, w := fmt.Sprint(c.have), fmt.Sprint(c.want); h != w {
			return &SettingError{Stream: want.Name, Field: c.field, Have: h, Want: w}
		}
	}
	return nil
}
