package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Process is what others than the Telemetry know of a process, as it is when a scrape asks.
type Process struct {
	Version    string
	Partitions []subscribers.Stats
	LogSizes   []int64 // bytes, by partition; negative: not known, or not ours
	StoreUsage float64 // 0 to 1
	Lag        map[string]uint64
	Refused    map[subscribers.Refusal]uint64
	Intake     Intake
	Index      *Index // nil: this process has none

	Slots, SlotsUsed, SlotsLeaked int
	Handlers                      []HandlerSlots
	Late                          uint64 // outcomes that came after the end of their execution
}

// Intake is what became of requests of foreign clients.
type Intake struct{ Accepted, Repeated, Refused, Retried uint64 }

// Index is what the index of this process has done, and has yet to do.
type Index struct {
	Lag                     uint64        // commits
	Behind                  time.Duration // age of the oldest of them
	Batches, Rows, Failures uint64
}

// HandlerSlots is how many slots the steps of one handler have.
type HandlerSlots struct {
	Name  string
	Used  int
	Limit int // 0: none of its own
}

// Collector is a prometheus.Collector for the metrics of List. process is asked at every scrape, on its goroutine.
func (t *Telemetry) Collector(process func() Process) prometheus.Collector {
	c := &collector{t: t, process: process}
	for i, m := range list {
		c.descs[i] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

type collector struct {
	t       *Telemetry
	process func() Process
	descs   [metricCount]*prometheus.Desc
}

// Describe lists every metric.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect adds the shards up.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := scrape{c, out}
	sum := c.t.sum()
	s.tasks(sum)
	s.steps(sum)
	s.log(sum)
	p := c.process()
	s.partitions(&p)
	s.slots(&p)
	s.others(&p)
}

type scrape struct {
	*collector
	out chan<- prometheus.Metric
}

func (s scrape) counter(metric int, value float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(s.descs[metric], prometheus.CounterValue, value, labels...)
}

func (s scrape) gauge(metric int, value float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(s.descs[metric], prometheus.GaugeValue, value, labels...)
}

// some is counter for what mostly never happens: a series begins with its first event.
func (s scrape) some(metric int, value uint64, labels ...string) {
	if value > 0 {
		s.counter(metric, float64(value), labels...)
	}
}

func (s scrape) tasks(sum *sums) {
	for n, d := range sum.definitions {
		if d == nil {
			continue
		}
		l := sum.definitionLabels[n]
		s.some(tasksCreated, d.created, l.namespace, l.definition)
		for i, tasks := range d.tasks {
			s.some(tasksFinished, tasks, l.namespace, l.definition, outcomes[i])
		}
		for i, steps := range d.steps {
			s.some(stepsFinished, steps, l.namespace, l.definition, outcomes[i])
		}
		s.some(stepRetries, d.retries, l.namespace, l.definition)
		for metric, h := range map[int]*totals{taskDuration: &d.task, stepDuration: &d.execution} {
			if h.count() > 0 {
				s.out <- h.metric(s.descs[metric], 1e6, l.namespace, l.definition)
			}
		}
	}
}

func (s scrape) steps(sum *sums) {
	for n, step := range sum.steps {
		if step == nil {
			continue
		}
		l := sum.stepLabels[n]
		if step.executions > 0 {
			s.counter(stepExecutions, float64(step.executions), l.namespace, l.definition, l.step)
			s.counter(stepSeconds, float64(step.micros)/1e6, l.namespace, l.definition, l.step)
		}
		for i, failures := range step.failures {
			s.some(stepFailures, failures, l.namespace, l.definition, l.step, string(kinds[i]))
		}
	}
	s.out <- sum.queueWait.metric(s.descs[queueWait], 1e6)
}

func (s scrape) log(sum *sums) {
	for i, t := range s.t.types {
		s.counter(events, float64(sum.events[i]), string(t))
	}
	s.out <- sum.commitEvents.metric(s.descs[commitEvents], 1)
	s.out <- sum.commitSize.metric(s.descs[commitSize], 1)
	s.out <- sum.commitTook.metric(s.descs[commitDuration], 1e6)
	s.out <- sum.appendTook.metric(s.descs[appendDuration], 1e6)
}

func (s scrape) partitions(p *Process) {
	phases := map[subscribers.Phase]int{}
	var all subscribers.Stats
	for _, x := range p.Partitions {
		phases[x.Phase]++
		owned := 0.0
		if x.Phase == subscribers.Owning {
			owned = 1
		}
		s.gauge(partitionOwned, owned, fmt.Sprintf("%02d", x.Partition))
		all.Pending += x.Pending
		all.InProgress += x.InProgress
		all.Failed += x.Failed
		all.Held += x.Held
		all.Timers += x.Timers
		all.Queued += x.Queued
		all.Stale += x.Stale
		all.Snapshots += x.Snapshots
	}
	for _, phase := range []subscribers.Phase{subscribers.Away, subscribers.Loading, subscribers.Owning, subscribers.Closed, subscribers.Stopped} {
		s.gauge(partitions, float64(phases[phase]), string(phase))
	}
	s.gauge(tasksLive, float64(all.Pending), domain.Pending.String())
	s.gauge(tasksLive, float64(all.InProgress), domain.InProgress.String())
	s.gauge(tasksLive, float64(all.Failed), domain.Error.String())
	s.gauge(stepsReady, float64(all.Held))
	s.gauge(timers, float64(all.Timers))
	s.gauge(requestsWaiting, float64(all.Queued))
	s.counter(reportsDropped, float64(all.Stale), "stale")
	s.counter(snapshots, float64(all.Snapshots))
	for partition, size := range p.LogSizes {
		if size >= 0 {
			s.gauge(logSize, float64(size), fmt.Sprintf("%02d", partition))
		}
	}
	s.gauge(storeUsage, p.StoreUsage)
}

func (s scrape) slots(p *Process) {
	s.gauge(slotsTotal, float64(p.Slots))
	s.gauge(slotsUsed, float64(p.SlotsUsed))
	s.gauge(slotsLeaked, float64(p.SlotsLeaked))
	s.counter(reportsDropped, float64(p.Late), "late")
	handlers, limits := &merged{limit: MaxHandlers}, map[string]int{}
	for _, h := range p.Handlers {
		if name := handlers.add(label(h.Name), float64(h.Used)); name != other && h.Limit > 0 {
			limits[name] = h.Limit
		}
	}
	handlers.each(func(name string, used float64) { s.gauge(handlerUsed, used, name) })
	for name, limit := range limits {
		s.gauge(handlerLimit, float64(limit), name)
	}
}

func (s scrape) others(p *Process) {
	for _, reason := range subscribers.Refusals {
		s.counter(refused, float64(p.Refused[reason]), string(reason))
	}
	s.counter(intakeRequests, float64(p.Intake.Accepted), "accepted")
	s.counter(intakeRequests, float64(p.Intake.Repeated), "repeated")
	s.counter(intakeRequests, float64(p.Intake.Refused), "refused")
	s.counter(intakeRequests, float64(p.Intake.Retried), "retried")
	lags := &merged{limit: MaxSubscribers}
	for _, name := range slices.Sorted(maps.Keys(p.Lag)) {
		lags.add(label(name), float64(p.Lag[name]))
	}
	lags.each(func(name string, lag float64) { s.gauge(subscriberLag, lag, name) })
	if x := p.Index; x != nil {
		s.gauge(indexLag, float64(x.Lag))
		s.gauge(indexLagSeconds, x.Behind.Seconds())
		s.counter(indexBatches, float64(x.Batches))
		s.counter(indexRows, float64(x.Rows))
		s.counter(indexFailures, float64(x.Failures))
	}
	exported, full, failures := s.t.spans.counts()
	s.counter(spansExported, float64(exported))
	s.counter(spansDropped, float64(full), "queue_full")
	s.counter(spansDropped, float64(failures), "export_failed")
	s.gauge(buildInfo, 1, label(p.Version))
}

// merged adds up what has the same label, and what is beyond the limit.
type merged struct {
	limit int
	by    map[string]float64
}

// add returns the label under which the value counts.
func (m *merged) add(name string, value float64) string {
	if m.by == nil {
		m.by = map[string]float64{}
	}
	if _, ok := m.by[name]; !ok && len(m.by) >= m.limit {
		name = other
	}
	m.by[name] += value
	return name
}

func (m *merged) each(do func(name string, value float64)) {
	for name, value := range m.by {
		do(name, value)
	}
}
