package tasker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

const (
	importAhead    = 64               // messages of a partition that are under way at once
	importPatience = 30 * time.Second // for one of them
	importLease    = 30 * time.Second
)

// importWriter stores an export that has been checked.
type importWriter struct {
	store  domain.Store
	check  *importCheck
	holder string
	clock  func() time.Time
	logger *slog.Logger

	logs []*appender // by partition
}

func (w *importWriter) run(ctx context.Context, file io.Reader) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	release, err := w.hold(ctx, stop)
	if err != nil {
		return err
	}
	defer release()
	if err := w.empty(ctx); err != nil {
		return err
	}
	err = w.write(ctx, file)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err == nil {
		err = w.verify(ctx)
	}
	if err != nil {
		stored := 0
		for _, log := range w.logs {
			log.settle()
			stored += log.count()
			if log.failed() != nil && ctx.Err() == nil {
				err = log.failed()
			}
		}
		return fmt.Errorf("it broke off when at least %d of %d messages were stored: the log %s is not complete, remove it and import again: %w",
			stored, w.check.report.Messages, w.store.Data().ID, err)
	}
	return nil
}

// hold takes the leases of all partitions, so that no engine opens the log while it grows.
func (w *importWriter) hold(ctx context.Context, stop context.CancelCauseFunc) (release func(), err error) {
	var leases []domain.Lease
	end := make(chan struct{})
	var renewing sync.WaitGroup
	release = func() {
		close(end)
		renewing.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		for _, lease := range leases {
			if err := lease.Release(ctx); err != nil {
				w.logger.Debug("a lease was not given back, and will run out", "error", err)
			}
		}
	}
	for p := range w.store.Data().Partitions {
		lease, err := w.store.Leases().Acquire(ctx, subscribers.LeaseName(p), w.holder, importLease)
		if err != nil {
			release()
			return nil, fmt.Errorf("partition %02d: does an engine run on this log? %w", p, err)
		}
		leases = append(leases, lease)
	}
	renewing.Go(func() {
		again := time.NewTicker(importLease / 3)
		defer again.Stop()
		for {
			select {
			case <-end:
				return
			case <-again.C:
			}
			for _, lease := range leases {
				if err := lease.Renew(ctx); err != nil {
					stop(fmt.Errorf("somebody else may have taken the log: %w", err))
					return
				}
			}
		}
	})
	return release, nil
}

// empty refuses a log in which anything was ever stored.
func (w *importWriter) empty(ctx context.Context) error {
	data := w.store.Data()
	if data.Partitions != w.check.header.Partitions {
		return partitionsDiffer(data.Partitions, w.check.header.Partitions)
	}
	for p := range data.Partitions {
		bounds, err := w.store.Log(p).Bounds(ctx)
		if err != nil {
			return err
		}
		if bounds.Last > 0 || bounds.First > 1 {
			return &LogNotEmptyError{Log: data.ID, Partition: p, Last: bounds.Last}
		}
	}
	return nil
}

func (w *importWriter) write(ctx context.Context, file io.Reader) error {
	lines := newLineReader(w.check.file, file)
	var line importLine
	if err := lines.next(&line); err != nil {
		return err
	}
	for p, first := range w.check.header.First {
		log := w.store.Log(p)
		if first > 1 {
			if err := begin(ctx, log, first); err != nil {
				return fmt.Errorf("partition %02d: %w", p, err)
			}
		}
		w.logs = append(w.logs, newAppender(log, p))
	}
	var snapshot []byte
	for {
		if err := lines.next(&line); err != nil {
			return err
		}
		if line.End {
			break
		}
		content, err := line.content()
		if err == nil {
			snapshot, err = w.line(ctx, &line, content, snapshot)
		}
		if err != nil {
			return lines.fail(err)
		}
	}
	for _, log := range w.logs {
		if err := log.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// line stores what one line holds. snapshot is what has come of the one that is not whole yet.
func (w *importWriter) line(ctx context.Context, l *importLine, content, snapshot []byte) ([]byte, error) {
	switch {
	case l.Published != "":
		_, err := w.store.Definitions().Put(ctx, l.Published, content, 0)
		return nil, err
	case l.Blob != "":
		digest, err := w.store.Blobs().Put(ctx, bytes.Clone(content))
		if err == nil && digest != l.Blob {
			err = fmt.Errorf("the payload was stored as %s", digest)
		}
		return nil, err
	case l.Snapshot != "":
		if snapshot = append(snapshot, content...); l.More {
			return snapshot, nil
		}
		p, sequence, err := l.position(l.Snapshot, len(w.logs))
		if err != nil {
			return nil, err
		}
		_, err = w.store.Snapshots().Put(ctx, domain.SnapshotInfo{Partition: p, Sequence: sequence, CommitID: l.Commit, Format: l.Format}, bytes.NewReader(snapshot))
		return nil, err
	}
	p, sequence, err := l.position(l.Message, len(w.logs))
	if err != nil {
		return nil, err
	}
	return nil, w.logs[p].append(ctx, sequence, l.Commit, content)
}

// verify looks whether the log is as long as it should be.
func (w *importWriter) verify(ctx context.Context) error {
	h := &w.check.header
	for p := range h.Partitions {
		bounds, err := w.store.Log(p).Bounds(ctx)
		if err != nil {
			return err
		}
		if bounds.Last != h.Last[p] || max(bounds.First, 1) != h.First[p] {
			return fmt.Errorf("partition %02d holds messages %d to %d, and should hold %d to %d", p, bounds.First, bounds.Last, h.First[p], h.Last[p])
		}
	}
	return nil
}

// appender appends to one partition, several messages at a time.
type appender struct {
	log       domain.Log
	partition int
	slots     chan struct{}

	mu   sync.Mutex
	err  error  // of the earliest message that failed: those behind it fail because of it
	at   uint64 // its sequence
	done int
}

func newAppender(log domain.Log, partition int) *appender {
	return &appender{log: log, partition: partition, slots: make(chan struct{}, importAhead)}
}

func (l *appender) append(ctx context.Context, sequence uint64, commit string, data []byte) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	var once sync.Once
	l.log.Append(sequence-1, commit, data, func(got uint64, err error) {
		once.Do(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err == nil && got != sequence {
				err = fmt.Errorf("it was stored as message %d", got)
			}
			if err != nil && (l.err == nil || sequence < l.at) {
				l.at, l.err = sequence, fmt.Errorf("message %s: %w", messageName(l.partition, sequence), err)
			}
			if err == nil {
				l.done++
			}
			<-l.slots
		})
	})
	return nil
}

// take waits for a slot.
func (l *appender) take(ctx context.Context) error {
	if err := l.failed(); err != nil {
		return err
	}
	late := time.NewTimer(importPatience)
	defer late.Stop()
	select {
	case l.slots <- struct{}{}:
		return l.failed()
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errors.Join(fmt.Errorf("partition %02d: %w", l.partition, ErrUnavailable), l.failed())
	}
}

func (l *appender) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// wait returns when everything is stored.
func (l *appender) wait(ctx context.Context) error {
	for range importAhead {
		if err := l.take(ctx); err != nil {
			return err
		}
	}
	return l.failed()
}

// settle gives what is under way a moment, so that the error is that of the first message that failed.
func (l *appender) settle() {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	for range importAhead {
		select {
		case l.slots <- struct{}{}:
		case <-late.C:
			return
		}
	}
}

func (l *appender) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}
