package tasker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// snapshotPart is how much of a snapshot stands in one line.
const snapshotPart = 768 << 10

// log exports everything.
func (x *exporter) log(ctx context.Context) error {
	store := x.router.store
	n := store.Data().Partitions
	bounds := make([]domain.LogBounds, n)
	first, last := make([]uint64, n), make([]uint64, n)
	for p := range n {
		var err error
		if bounds[p], err = store.Log(p).Bounds(ctx); err != nil {
			return err
		}
		first[p], last[p] = max(bounds[p].First, 1), bounds[p].Last
	}
	if err := x.out.line(x.header("log").numbers("first", first).numbers("last", last)); err != nil {
		return err
	}
	if err := x.published(ctx); err != nil {
		return err
	}
	for p := range n {
		if first[p] > 1 {
			if err := x.snapshot(ctx, p, bounds[p]); err != nil {
				return err
			}
		}
		if err := x.messages(ctx, p, first[p], last[p]); err != nil {
			return err
		}
	}
	return nil
}

// published exports the definitions that submitters find.
func (x *exporter) published(ctx context.Context) error {
	table := x.router.store.Definitions()
	keys, err := table.Keys(ctx)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	for _, key := range keys {
		value, _, err := table.Get(ctx, key)
		if errors.Is(err, domain.ErrNoKey) {
			continue
		}
		if err != nil {
			return fmt.Errorf("definition %s: %w", key, err)
		}
		if err := x.out.line(newLine().text("published", key).content(value)); err != nil {
			return err
		}
	}
	return nil
}

// messages exports the log of a partition, every payload before the message that refers to it.
func (x *exporter) messages(ctx context.Context, p int, first, last uint64) error {
	if first > last {
		return nil
	}
	var decoder domain.Decoder
	next := first
	done := errors.New("the end")
	err := x.router.store.Log(p).Scan(ctx, first, func(m domain.Message) error {
		if m.Sequence != next {
			return fmt.Errorf("message %d of partition %02d is not in the log any more: was it trimmed meanwhile?", next, p)
		}
		next++
		o := newLine().text("message", messageName(p, m.Sequence))
		if m.CommitID != "" {
			o = o.text("commit", m.CommitID)
			if c, err := decoder.Decode(m.Data, p, m.Sequence); err == nil { // else whoever reads the log says so
				for i := range c.Records {
					if err := x.blob(ctx, domain.PayloadOf(c.Records[i].Event), "event "+c.Records[i].ID()); err != nil {
						return err
					}
				}
			}
		}
		x.report.Messages++
		if err := x.out.line(o.text("stored", m.Time.UTC().Format(time.RFC3339Nano)).content(m.Data)); err != nil {
			return err
		}
		if m.Sequence == last {
			return done
		}
		return nil
	})
	switch {
	case errors.Is(err, done):
		return nil
	case err == nil:
		return fmt.Errorf("partition %02d ended at message %d while it was read, and should reach %d", p, next-1, last)
	}
	return err
}

func messageName(partition int, sequence uint64) string {
	return fmt.Sprintf("%02d-%d", partition, sequence)
}

// snapshot exports the oldest snapshot that stands for what has been trimmed.
func (x *exporter) snapshot(ctx context.Context, p int, bounds domain.LogBounds) error {
	snapshots := x.router.store.Snapshots()
	infos, err := snapshots.List(ctx, p)
	if err != nil {
		return fmt.Errorf("snapshots of partition %02d: %w", p, err)
	}
	wrong := errors.New("there is none")
	for i := len(infos) - 1; i >= 0; i-- {
		info := infos[i]
		if info.Sequence+1 < bounds.First || info.Sequence > bounds.Last {
			continue
		}
		content, err := snapshots.Get(ctx, info)
		if errors.Is(err, domain.ErrUnavailable) {
			return err
		}
		var state *projections.Partition
		if err == nil {
			state, err = checkSnapshot(content, p, info.Sequence)
		}
		if err != nil {
			wrong = err
			continue
		}
		if err := x.payloadsOf(ctx, state); err != nil {
			return err
		}
		return x.snapshotParts(info, content)
	}
	return fmt.Errorf("partition %02d begins at message %d, and no snapshot can be used for what was before: %w", p, bounds.First, wrong)
}

func checkSnapshot(content []byte, p int, sequence uint64) (*projections.Partition, error) {
	state, err := projections.ReadSnapshot(content)
	if err == nil && (state.Number != p || state.Sequence != sequence) {
		err = fmt.Errorf("the snapshot holds partition %02d at %d, not %02d at %d", state.Number, state.Sequence, p, sequence)
	}
	return state, err
}

// payloadsOf exports the large payloads of tasks whose events have been trimmed.
func (x *exporter) payloadsOf(ctx context.Context, state *projections.Partition) error {
	for id, payloads := range snapshotPayloads(state) {
		for _, payload := range payloads {
			if err := x.blob(ctx, payload, "task "+id.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshotPayloads are the large payloads of the tasks in a snapshot.
func snapshotPayloads(state *projections.Partition) map[TaskID][]domain.Payload {
	var failed []TaskID
	for id := range state.FailedTasks() {
		failed = append(failed, id)
	}
	var entries []*projections.Entry
	for _, id := range failed {
		entries = append(entries, state.Find(id))
	}
	large := map[TaskID][]domain.Payload{}
	for e := range state.Tasks() {
		t := e.Task
		payloads := []domain.Payload{t.Context, t.Result}
		for i := range t.Steps {
			payloads = append(payloads, t.Steps[i].Result)
		}
		for _, p := range payloads {
			if p.Blob != "" {
				large[t.ID] = append(large[t.ID], p)
			}
		}
	}
	for _, e := range entries {
		state.Retire(e)
	}
	return large
}

func (x *exporter) snapshotParts(info domain.SnapshotInfo, content []byte) error {
	x.report.Snapshots++
	for rest := content; ; {
		part := rest[:min(len(rest), snapshotPart)]
		rest = rest[len(part):]
		o := newLine().text("snapshot", messageName(info.Partition, info.Sequence)).text("commit", info.CommitID).
			number("format", uint64(info.Format)).number("size", uint64(len(content))) // #nosec G115 -- small
		if len(rest) > 0 {
			o = append(o, `,"more":true`...)
		}
		if err := x.out.line(o.bytes(part)); err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
	}
}
