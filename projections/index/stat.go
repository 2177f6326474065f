package index

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"
)

// Stat sums up an hour of the tasks of a kind, or of the executions of a step.
type Stat struct {
	Complete, Failed int64 // tasks, or executions
	Cancelled        int64 // tasks that were, or executions that did not come to their end
	Resolved         int64 // tasks
	Retries          int64 // executions that were not the first of their step
	Took             Histogram
}

// Add counts what the other one did, too.
func (s *Stat) Add(o *Stat) {
	s.Complete += o.Complete
	s.Failed += o.Failed
	s.Cancelled += o.Cancelled
	s.Resolved += o.Resolved
	s.Retries += o.Retries
	s.Took.Add(&o.Took)
}

// Append appends the sum to b, for ReadStat.
func (s *Stat) Append(b []byte) []byte {
	for _, n := range [...]int64{s.Complete, s.Failed, s.Cancelled, s.Resolved, s.Retries, s.Took.count, s.Took.sum, s.Took.least, s.Took.most} {
		b = binary.AppendVarint(b, n)
	}
	last := 0
	for i, n := range s.Took.buckets {
		if n != 0 {
			b = binary.AppendUvarint(b, uint64(i-last)) // #nosec G115 -- ascending
			b = binary.AppendUvarint(b, n)
			last = i
		}
	}
	return b
}

// ReadStat reads what Append wrote.
func ReadStat(b []byte) (*Stat, error) {
	u, s := unpacker{b: b}, &Stat{}
	for _, n := range [...]*int64{&s.Complete, &s.Failed, &s.Cancelled, &s.Resolved, &s.Retries, &s.Took.count, &s.Took.sum, &s.Took.least, &s.Took.most} {
		*n = u.varint()
	}
	for at := uint64(0); len(u.b) > 0; {
		at += u.uvarint()
		n := u.uvarint()
		if u.bad || at >= maxBuckets {
			u.bad = true
			break
		}
		s.Took.at(int(at)) // #nosec G115 -- bounded
		s.Took.buckets[at] = n
	}
	if u.bad || len(u.b) > 0 {
		return nil, fmt.Errorf("%w: a sum cannot be read", ErrDetail)
	}
	return s, nil
}

// Histogram has 32 buckets per power of two of microseconds. The zero value is empty.
type Histogram struct {
	buckets          []uint64
	count            int64
	sum, least, most int64 // µs
}

const (
	perOctave  = 32
	maxBuckets = 60 * perOctave
)

// Count counts one duration, in µs. What ended before it began, by clocks that disagree, took no time.
func (h *Histogram) Count(us int64) {
	us = max(us, 0)
	h.at(bucketOf(us))
	h.buckets[bucketOf(us)]++
	if h.count == 0 || us < h.least {
		h.least = us
	}
	h.most = max(h.most, us)
	h.sum += us
	h.count++
}

func (h *Histogram) at(i int) {
	for len(h.buckets) <= i {
		h.buckets = append(h.buckets, make([]uint64, i+1-len(h.buckets))...)
	}
}

// Add counts all that the other one has counted.
func (h *Histogram) Add(o *Histogram) {
	if o.count == 0 {
		return
	}
	if h.count == 0 || o.least < h.least {
		h.least = o.least
	}
	h.most = max(h.most, o.most)
	h.sum += o.sum
	h.count += o.count
	h.at(len(o.buckets) - 1)
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
}

// bucketOf: below 32 µs a bucket per microsecond, above by the highest six bits.
func bucketOf(us int64) int {
	if us < perOctave {
		return int(us)
	}
	shift := bits.Len64(uint64(us)) - 6 // #nosec G115 -- not negative
	return shift*perOctave + int(us>>shift)
}

// bucketMiddle is what stands for all in a bucket: it is off by 1.6 % at most.
func bucketMiddle(i int) int64 {
	if i < perOctave {
		return int64(i)
	}
	shift := i/perOctave - 1
	width := int64(1) << shift
	return width*int64(i%perOctave+perOctave) + width/2
}

// quantile is what the given share of all did not exceed.
func (h *Histogram) quantile(share float64) int64 {
	rank := uint64(share * float64(h.count)) // #nosec G115 -- not negative
	for i, n := range h.buckets {
		if n > rank {
			return min(max(bucketMiddle(i), h.least), h.most)
		}
		rank -= n
	}
	return h.most
}

// Durations are its numbers.
func (h *Histogram) Durations() Durations {
	if h.count == 0 {
		return Durations{}
	}
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	return Durations{
		Count: h.count, Sum: us(h.sum), Min: us(h.least), Max: us(h.most),
		P50: us(h.quantile(0.50)), P95: us(h.quantile(0.95)), P99: us(h.quantile(0.99)),
	}
}
