package telemetry

import (
	"context"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	exportSize    = 512              // spans in one call of the exporter
	exportEvery   = time.Second      // what is less waits no longer
	exportTime    = 30 * time.Second // for one call
	complainEvery = time.Minute      // about exports that fail
)

// Start begins to export spans. A second call does nothing.
func (t *Telemetry) Start() {
	if s := t.spans; s != nil {
		s.start.Do(func() { go s.run() })
	}
}

// Stop exports what waits, as long as ctx lets it, and ends what Start began. It is called once, after the last Notify.
func (t *Telemetry) Stop(ctx context.Context) {
	s := t.spans
	if s == nil {
		return
	}
	started := true
	s.start.Do(func() { started = false })
	if started {
		s.stopping <- ctx
		<-s.done
	}
}

// counts may be called without a tracer.
func (t *tracer) counts() (exported, full, failures uint64) {
	if t == nil {
		return 0, 0, 0
	}
	return t.exported.Load(), t.full.Load(), t.failures.Load()
}

func (t *tracer) run() {
	defer close(t.done)
	timer := time.NewTimer(exportEvery)
	defer timer.Stop()
	batch := make([]*span, 0, exportSize)
	for {
		select {
		case x := <-t.queue:
			batch = append(batch, &x)
			if len(batch) < exportSize {
				continue
			}
		case <-timer.C:
		case ctx := <-t.stopping:
			t.finish(ctx, batch)
			return
		}
		t.export(context.Background(), batch)
		batch = batch[:0]
		timer.Reset(exportEvery)
	}
}

// finish exports the rest.
func (t *tracer) finish(ctx context.Context, batch []*span) {
	for {
		select {
		case x := <-t.queue:
			if batch = append(batch, &x); len(batch) == exportSize {
				t.export(ctx, batch)
				batch = batch[:0]
			}
		default:
			t.export(ctx, batch)
			return
		}
	}
}

func (t *tracer) export(ctx context.Context, batch []*span) {
	if len(batch) == 0 {
		return
	}
	spans := make([]sdktrace.ReadOnlySpan, len(batch))
	for i, x := range batch {
		spans[i] = finished{of: x, by: t}
	}
	ctx, cancel := context.WithTimeout(ctx, exportTime)
	defer cancel()
	err := t.exporter.ExportSpans(ctx, spans)
	if err == nil {
		t.exported.Add(uint64(len(batch)))
		return
	}
	t.failures.Add(uint64(len(batch)))
	if now := time.Now(); now.Sub(t.complaint) >= complainEvery {
		t.complaint = now
		t.log.Warn("spans were not exported; it is counted, and written once a minute at most", "spans", len(batch), "error", err)
	}
}
