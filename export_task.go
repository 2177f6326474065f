package tasker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// task exports one task.
func (x *exporter) task(ctx context.Context, id TaskID) error {
	records, err := x.records(ctx, id)
	if err != nil {
		return err
	}
	created := records[0].Event.(domain.TaskCreated)
	def, err := x.adopted(ctx, records[0].Position.Partition, created.Definition)
	if err != nil {
		return err
	}
	if err := x.out.line(x.header("task").text("task", id.String())); err != nil {
		return err
	}
	if err := x.out.line(newLine().text("definition", created.Definition).content(def.Body())); err != nil {
		return err
	}
	for _, r := range records {
		if err := x.blob(ctx, domain.PayloadOf(r.Event), "event "+r.ID()); err != nil {
			return err
		}
		x.report.Events++
		if err := x.out.line(eventLine(r)); err != nil {
			return err
		}
	}
	return nil
}

func eventLine(r domain.Record) lineObject {
	e := domain.CloudEventOf(r, "")
	o := newLine().text("event", r.ID()).text("type", string(e.Type))
	o = o.number("v", uint64(e.Version)).text("at", r.At.String()).textIf("step", e.Step) // #nosec G115 -- from 1
	if e.Attempt != 0 {
		o = o.number("attempt", uint64(e.Attempt)) // #nosec G115 -- not negative
	}
	return o.text("by", e.Actor).textIf("cause", r.Cause).content(e.Data)
}

// records are the events of the task, the oldest first. Where a key has stood for several tasks, those of the last one.
func (x *exporter) records(ctx context.Context, id TaskID) ([]domain.Record, error) {
	var records []domain.Record
	for r, err := range x.router.Replay(ctx, ReplayOptions{Task: id, From: FromOldest}) {
		if err != nil {
			return nil, err
		}
		if _, ok := r.Event.(domain.TaskCreated); ok {
			records = nil
		}
		records = append(records, r)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("task %s: %w", id, ErrTaskNotFound)
	}
	if _, ok := records[0].Event.(domain.TaskCreated); !ok {
		return nil, &HistoryTrimmedError{Task: id, First: records[0].Position}
	}
	return records, nil
}

// adopted finds a definition in the partition: where it was adopted, or in a snapshot.
func (x *exporter) adopted(ctx context.Context, p int, hash string) (*Definition, error) {
	if def, ok := x.router.definitionOf(hash); ok {
		return def, nil
	}
	var found *Definition
	var decoder domain.Decoder
	done := errors.New("found")
	text := []byte(hash)
	err := x.router.store.Log(p).Scan(ctx, 1, func(m domain.Message) error {
		if m.CommitID == "" || !bytes.Contains(m.Data, text) {
			return nil
		}
		c, err := decoder.Decode(m.Data, p, m.Sequence)
		if err != nil {
			return nil //nolint:nilerr // whoever reads this message says so
		}
		i := slices.IndexFunc(c.Records, func(r domain.Record) bool {
			e, ok := r.Event.(domain.DefinitionAdopted)
			return ok && e.Hash == hash
		})
		if i < 0 {
			return nil
		}
		if found, err = c.Records[i].Event.(domain.DefinitionAdopted).Definition(); err != nil {
			return err
		}
		return done
	})
	if err != nil && !errors.Is(err, done) {
		return nil, err
	}
	if found != nil {
		return found, nil
	}
	infos, err := x.router.store.Snapshots().List(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		content, err := x.router.store.Snapshots().Get(ctx, info)
		var state *projections.Partition
		if err == nil {
			state, err = projections.ReadSnapshot(content)
		}
		if err != nil {
			continue // the next one may do
		}
		if def, ok := state.Definition(hash); ok {
			return def, nil
		}
	}
	return nil, fmt.Errorf("the definition %s is neither in the log nor in a snapshot", hash)
}
