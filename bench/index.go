package bench

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/sqlite"
	"github.com/tasker-go/tasker/projections/index"
)

// IndexOptions say how much Index measures.
type IndexOptions struct {
	Dir     string // an empty directory
	Tasks   int    // default 1,000,000
	Queries int    // default 2,000
}

// IndexReport is what the index of all tasks takes and gives. Times of queries are in milliseconds.
type IndexReport struct {
	Tasks        int     `json:"tasks"`
	DummyEvents  int     `json:"dummy_events"`
	DummyPerS    float64 `json:"dummy_events_per_s"` // of a rebuild
	DummyBytes   float64 `json:"dummy_bytes_per_task"`
	VariedEvents int     `json:"varied_events"`
	VariedPerS   float64 `json:"varied_events_per_s"`
	VariedBytes  float64 `json:"varied_bytes_per_task"`
	Short        int     `json:"short_pages"` // that a list ended early, for the work it would have been
	Queries      int     `json:"queries"`

	Lists []IndexLatency `json:"lists"`
}

// IndexLatency is how long queries of one sort took.
type IndexLatency struct {
	Name string  `json:"name"`
	N    int     `json:"n"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

// Index measures the rebuild of an index of dummy tasks and of one of all sorts of tasks, and then lists of the latter.
func Index(ctx context.Context, o IndexOptions) (IndexReport, error) {
	o.Tasks, o.Queries = cmpOr(o.Tasks, 1_000_000), cmpOr(o.Queries, 2_000)
	r := IndexReport{Tasks: o.Tasks, Queries: o.Queries}
	dummy, err := rebuilt(ctx, filepath.Join(o.Dir, "dummy", "index.db"), o.Tasks, false, &r.DummyEvents, &r.DummyPerS, &r.DummyBytes)
	if err != nil {
		return r, err
	}
	if err := dummy.Close(); err != nil {
		return r, err
	}
	x, err := rebuilt(ctx, filepath.Join(o.Dir, "varied", "index.db"), o.Tasks, true, &r.VariedEvents, &r.VariedPerS, &r.VariedBytes)
	if err != nil {
		return r, err
	}
	defer func() { _ = x.Close() }()
	return r, lists(ctx, x, o.Queries, &r)
}

func rebuilt(ctx context.Context, path string, tasks int, varied bool, events *int, perS, bytes *float64) (*sqlite.Index, error) {
	store, n, err := makeLog(tasks, 2, varied)
	if err != nil {
		return nil, err
	}
	x, err := sqlite.Open(ctx, path, sqlite.Options{Data: store.Data(), Logger: slog.New(slog.DiscardHandler), QueryTime: time.Minute})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := x.Rebuild(ctx, store, nil); err != nil {
		return nil, err
	}
	*events, *perS, *bytes = n, float64(n)/time.Since(began).Seconds(), float64(diskBytes(filepath.Dir(path)))/float64(tasks)
	return x, nil
}

// indexQueries are the sorts of lists that are measured, each made anew for every query.
var indexQueries = []struct {
	name string
	make func(r *rand.Rand, x *index.TaskQuery)
}{
	{"newest", func(*rand.Rand, *index.TaskQuery) {}},
	{"failed, by end", func(_ *rand.Rand, q *index.TaskQuery) {
		q.States, q.Sort = []domain.State{domain.Error}, index.SortEnded
	}},
	{"in progress", func(_ *rand.Rand, q *index.TaskQuery) { q.States = []domain.State{domain.InProgress} }},
	{"a definition, slowest", func(_ *rand.Rand, q *index.TaskQuery) {
		q.Namespaces, q.Name, q.Sort = []string{"shop"}, "order", index.SortDuration
	}},
	{"an initiator", func(r *rand.Rand, q *index.TaskQuery) { q.Initiator = indexInitiators[r.IntN(len(indexInitiators))] }},
	{"an initiator, slowest", func(r *rand.Rand, q *index.TaskQuery) {
		q.Initiator, q.Sort = indexInitiators[r.IntN(len(indexInitiators))], index.SortDuration
	}},
	{"a tag of many", func(r *rand.Rand, q *index.TaskQuery) { q.Tags = []string{indexTags[r.IntN(len(indexTags))]} }},
	{"a tag of 1,000, updated last", func(r *rand.Rand, q *index.TaskQuery) {
		q.Tags, q.Sort = []string{fmt.Sprintf("batch-%d", r.IntN(100))}, index.SortUpdated
	}},
	{"two tags", func(r *rand.Rand, q *index.TaskQuery) {
		q.Tags = []string{"gold", fmt.Sprintf("batch-%d", r.IntN(100))}
	}},
	{"a tag, an initiator, failed", func(r *rand.Rand, q *index.TaskQuery) {
		q.Tags, q.Initiator, q.States = []string{indexTags[r.IntN(len(indexTags))]}, "cron", []domain.State{domain.Error}
	}},
	{"a field", func(r *rand.Rand, q *index.TaskQuery) {
		q.Fields = map[string]string{"customer": fmt.Sprintf("c%d", r.IntN(50_000))}
	}},
	{"a correlation", func(r *rand.Rand, q *index.TaskQuery) { q.Correlation = fmt.Sprintf("req-%d", r.IntN(1_000_000)) }},
	{"a rare word", func(r *rand.Rand, q *index.TaskQuery) { q.Text = fmt.Sprintf("%06d", r.IntN(1_000_000)) }},
	{"words of many errors", func(_ *rand.Rand, q *index.TaskQuery) { q.Text = "connection ref" }},
	{"a word of many tags", func(_ *rand.Rand, q *index.TaskQuery) { q.Text = "holiday" }},
	{"words, an initiator, by end", func(r *rand.Rand, q *index.TaskQuery) {
		q.Text, q.Initiator, q.Sort = "declined", indexInitiators[r.IntN(len(indexInitiators))], index.SortEnded
	}},
	{"an hour, slowest", func(r *rand.Rand, q *index.TaskQuery) {
		q.CreatedAfter = time.Now().Add(-24*time.Hour + time.Duration(r.IntN(60))*time.Second)
		q.CreatedBefore, q.Sort = q.CreatedAfter.Add(10*time.Second), index.SortDuration
	}},
	{"most retried", func(_ *rand.Rand, q *index.TaskQuery) { q.Sort = index.SortRetries }},
}

// lists measures lists, first pages and deep ones.
func lists(ctx context.Context, x *sqlite.Index, n int, r *IndexReport) error {
	random := rand.New(rand.NewPCG(3, 4)) // #nosec G404 -- a benchmark
	took := make([][]time.Duration, len(indexQueries))
	var all []time.Duration
	for range n {
		i := random.IntN(len(indexQueries))
		var q index.TaskQuery
		indexQueries[i].make(random, &q)
		q.Ascending = random.IntN(4) == 0
		for range 1 + random.IntN(4)*random.IntN(4) { // some go deep
			began := time.Now()
			page, err := x.Tasks(ctx, q)
			if err != nil {
				return fmt.Errorf("%s: %w", indexQueries[i].name, err)
			}
			took[i] = append(took[i], time.Since(began))
			if q.After = page.Next; q.After == "" {
				break
			}
			if len(page.Tasks) < index.DefaultLimit {
				r.Short++
			}
		}

	}

	for i := range took {
		r.Lists = append(r.Lists, latency(indexQueries[i].name, took[i]))
		all = append(all, took[i]...)
	}
	r.Lists = append(r.Lists, latency("all", all))
	r.Queries = len(all)
	return nil
}

func latency(name string, took []time.Duration) IndexLatency {
	slices.Sort(took)
	l := IndexLatency{Name: name, N: len(took)}
	if n := len(took); n > 0 {
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		l.P50, l.P99, l.Max = ms(took[n/2]), ms(took[n*99/100]), ms(took[n-1])
	}
	return l
}
