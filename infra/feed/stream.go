package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

// SettingError: the stream of the feed is not set up as it has to be, for instance because somebody edited it.
type SettingError struct{ Stream, Field, Have, Want string }

func (e *SettingError) Error() string {
	return fmt.Sprintf("stream %s: its setting %s is %s, the feed needs %s: change it back with `nats stream edit`", e.Stream, e.Field, e.Have, e.Want)
}

func (f *Feed) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               Stream(f.opts.Prefix),
		Description:        "Tasker: one message per event, for readers. A copy: what is lost here is still in the log.",
		Subjects:           []string{f.root + ">"},
		Storage:            jetstream.FileStorage,
		Replicas:           f.opts.Replicas,
		Discard:            jetstream.DiscardOld,
		MaxAge:             f.opts.MaxAge,
		MaxBytes:           f.opts.MaxBytes,
		MaxMsgs:            -1,
		MaxMsgsPerSubject:  -1,
		MaxMsgSize:         -1,
		MaxConsumers:       -1,
		Duplicates:         Window,
		Compression:        jetstream.S2Compression,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

// setUp makes the stream, or verifies the one that is there. A server that starts, or elects, is waited for.
func (f *Feed) setUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setUpTimeout)
	defer cancel()
	for {
		err := f.setUpOnce(ctx)
		if err == nil || !passing(err) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", domain.ErrUnavailable, err)
		case <-time.After(firstPause):
		}
	}
}

func (f *Feed) setUpOnce(ctx context.Context) error {
	want := f.config()
	try, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	stream, err := f.js.Stream(try, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = f.js.CreateStream(try, want)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another engine was faster, with other limits
		stream, err = f.js.Stream(try, want.Name)
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", want.Name, err)
	}
	return verify(stream.CachedInfo().Config, want)
}

// verify compares what readers and publishing depend on. Limits, replicas, compression and placement are the operator's.
func verify(have, want jetstream.StreamConfig) error {
	covered := slices.Contains(have.Subjects, want.Subjects[0])
	for _, c := range []struct {
		field      string
		have, want any
		ok         bool
	}{
		{"subjects", have.Subjects, want.Subjects, covered},
		{"retention", have.Retention, want.Retention, have.Retention == want.Retention},
		{"sealed", have.Sealed, false, !have.Sealed},
		{"no_ack", have.NoAck, false, !have.NoAck},
		{"mirror", have.Mirror != nil, false, have.Mirror == nil},
	} {
		if !c.ok {
			return &SettingError{Stream: want.Name, Field: c.field, Have: fmt.Sprint(c.have), Want: fmt.Sprint(c.want)}
		}
	}
	return nil
}
