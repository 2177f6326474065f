package projections

import (
	"math/bits"
	"time"
)

// DurationStatistics sums up how long something took. The percentiles are right to 6 %.
type DurationStatistics struct {
	Count uint64        `json:"count"`
	Min   time.Duration `json:"min_ns"`
	Mean  time.Duration `json:"mean_ns"`
	Max   time.Duration `json:"max_ns"`
	P50   time.Duration `json:"p50_ns"`
	P95   time.Duration `json:"p95_ns"`
	P99   time.Duration `json:"p99_ns"`
}

// durations is a histogram with eight buckets per power of two of microseconds. It grows up to the longest one: 2 KiB
// for a day.
type durations struct {
	buckets  []uint64
	count    uint64
	sum      time.Duration // of 292 years
	min, max time.Duration
}

const bucketsPerOctave = 8

// add counts one. What ended before it began, by clocks that disagree, took no time.
func (d *durations) add(took time.Duration) {
	took = max(took, 0)
	i := bucketOf(took)
	for i >= len(d.buckets) {
		d.buckets = append(d.buckets, 0)
	}
	d.buckets[i]++
	if d.count == 0 || took < d.min {
		d.min = took
	}
	d.max = max(d.max, took)
	d.sum += took
	d.count++
}

// bucketOf: below 8 µs a bucket per microsecond, above by the highest four bits.
func bucketOf(took time.Duration) int {
	us := uint64(took / time.Microsecond) // #nosec G115 -- not negative
	if us < bucketsPerOctave {
		return int(us) // #nosec G115 -- below 8
	}
	shift := bits.Len64(us) - 4
	return shift*bucketsPerOctave + int(us>>shift) // #nosec G115 -- below 16
}

// bucketMiddle is what stands for all in a bucket.
func bucketMiddle(i int) time.Duration {
	if i < bucketsPerOctave {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/bucketsPerOctave - 1
	width := time.Microsecond << shift
	return width*time.Duration(i%bucketsPerOctave+bucketsPerOctave) + width/2
}

// quantile is what the given share of all did not exceed.
func (d *durations) quantile(share float64) time.Duration {
	rank := uint64(share * float64(d.count))
	for i, n := range d.buckets {
		if n > rank {
			return min(max(bucketMiddle(i), d.min), d.max)
		}
		rank -= n
	}
	return d.max
}

func (d *durations) statistics() DurationStatistics {
	if d.count == 0 {
		return DurationStatistics{}
	}
	return DurationStatistics{
		Count: d.count, Min: d.min, Mean: d.sum / time.Duration(d.count), Max: d.max, // #nosec G115 -- a count
		P50: d.quantile(0.50), P95: d.quantile(0.95), P99: d.quantile(0.99),
	}
}
