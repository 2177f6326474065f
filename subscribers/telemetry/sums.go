package telemetry

// sums are the shards added up, for one scrape. What is counted meanwhile is in it or in the next one.
type sums struct {
	events           []uint64
	definitionLabels []definitionLabels
	stepLabels       []stepLabels
	definitions      []*definitionSums // by number; nil: nothing was counted
	steps            []*stepSums

	queueWait, commitEvents, commitSize, commitTook, appendTook totals
}

type definitionSums struct {
	created, retries uint64
	tasks            [4]uint64
	steps            [5]uint64
	task, execution  totals // without bounds when they are counted under "other"
}

type stepSums struct {
	executions, micros uint64
	failures           [len(kinds)]uint64
}

func (t *Telemetry) sum() *sums {
	sum := &sums{events: make([]uint64, len(t.types))}
	for _, s := range t.shards {
		for i := range s.events {
			sum.events[i] += s.events[i].Load()
		}
		sum.queueWait.add(&s.queueWait)
		sum.commitEvents.add(&s.commitEvents)
		sum.commitSize.add(&s.commitSize)
		sum.commitTook.add(&s.commitTook)
		sum.appendTook.add(&s.appendTook)
		s.mu.Lock()
		definitions, steps := s.definitions, s.steps
		for len(sum.definitions) < len(definitions) {
			sum.definitions = append(sum.definitions, nil)
		}
		for len(sum.steps) < len(steps) {
			sum.steps = append(sum.steps, nil)
		}
		for n, d := range definitions {
			if d != nil {
				sum.definition(n, d)
			}
		}
		for n, step := range steps {
			if step != nil {
				sum.step(n, step)
			}
		}
		s.mu.Unlock()
	}
	sum.definitionLabels, sum.stepLabels = t.labels.all() // at last: what was counted has labels
	return sum
}

func (sum *sums) definition(n int, d *definitionCounters) {
	to := sum.definitions[n]
	if to == nil {
		to = &definitionSums{}
		sum.definitions[n] = to
	}
	to.created += d.created.Load()
	to.retries += d.retries.Load()
	for i := range d.tasks {
		to.tasks[i] += d.tasks[i].Load()
	}
	for i := range d.steps {
		to.steps[i] += d.steps[i].Load()
	}
	if n <= MaxHistograms {
		to.task.add(&d.task)
		to.execution.add(&d.execution)
	}
}

func (sum *sums) step(n int, s *stepCounters) {
	to := sum.steps[n]
	if to == nil {
		to = &stepSums{}
		sum.steps[n] = to
	}
	to.executions += s.executions.Load()
	to.micros += s.micros.Load()
	for i := range s.failures {
		if c := s.failures[i].Load(); c != nil {
			to.failures[i] += c.Load()
		}
	}
}
