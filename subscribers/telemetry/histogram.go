package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Upper bounds of the buckets, in microseconds, bytes and events.
var (
	// durations reaches from a handler that does nothing to a task that waits for people.
	durations = bounds{1e3, 5e3, 25e3, 100e3, 500e3, 2e6, 10e6, 60e6, 600e6, 3600e6}
	// latencies is for what takes a part of a second unless something is wrong.
	latencies = bounds{100, 250, 500, 1e3, 2500, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 1e6, 10e6}
	sizes     = bounds{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20}
	counts    = bounds{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500}
)

type bounds []int64

const maxBounds = 13

// histogram counts values by their size. One goroutine observes at a time, any number may read.
type histogram struct {
	bounds bounds
	counts [maxBounds + 1]atomic.Uint64 // the last one that is used: what is larger than every bound
	sum    atomic.Int64
}

func (h *histogram) observe(v int64) {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(v)
}

func (h *histogram) took(d time.Duration) { h.observe(max(d, 0).Microseconds()) }

// totals are several histograms together, for a scrape.
type totals struct {
	bounds bounds
	counts [maxBounds + 1]uint64
	sum    int64
}

func (t *totals) add(h *histogram) {
	t.bounds = h.bounds
	for i := range h.counts {
		t.counts[i] += h.counts[i].Load()
	}
	t.sum += h.sum.Load()
}

func (t *totals) count() (n uint64) {
	for _, c := range t.counts {
		n += c
	}
	return n
}

// metric divides by unit: 1e6 makes seconds of microseconds.
func (t *totals) metric(desc *prometheus.Desc, unit float64, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(t.bounds))
	n := uint64(0)
	for i, bound := range t.bounds {
		n += t.counts[i]
		buckets[float64(bound)/unit] = n
	}
	n += t.counts[len(t.bounds)]
	return prometheus.MustNewConstHistogram(desc, n, float64(t.sum)/unit, buckets, labels...)
}
