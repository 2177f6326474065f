package telemetry

//go:generate go run ../../internal/metricdoc -root ../..

// Kind is how a metric behaves.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // grows until the process ends
	Gauge     Kind = "gauge"     // goes up and down
	Histogram Kind = "histogram" // _bucket, _sum and _count
)

// Metric describes one metric. The list of them is the only place where their names stand; docs/metrics.md is made of it.
type Metric struct {
	Name   string
	Kind   Kind
	Unit   string // base unit; "" for a plain number
	Labels []string
	Help   string // what it is
	Look   string // when to look at it
	Group  string // chapter of the page; that of the metric before when empty
}

// The metrics, by their place in the list.
const (
	tasksCreated = iota
	tasksFinished
	taskDuration
	tasksLive
	stepsFinished
	stepRetries
	stepDuration
	stepExecutions
	stepSeconds
	stepFailures
	queueWait
	stepsReady
	slotsTotal
	slotsUsed
	slotsLeaked
	handlerUsed
	handlerLimit
	reportsDropped
	events
	commitEvents
	commitSize
	commitDuration
	appendDuration
	logSize
	snapshots
	storeUsage
	partitionOwned
	partitions
	timers
	requestsWaiting
	refused
	intakeRequests
	subscriberLag
	indexLag
	indexLagSeconds
	indexBatches
	indexRows
	indexFailures
	spansExported
	spansDropped
	buildInfo

	metricCount = iota
)

var byDefinition = []string{"namespace", "definition"}

var list = [metricCount]Metric{
	tasksCreated: {
		Group: "Tasks",
		Name:  "tasker_tasks_created_total", Kind: Counter, Labels: byDefinition,
		Help: "Tasks that were created.",
		Look: "How much work comes in. `rate()` of it above that of `tasker_tasks_finished_total` for long: work piles up.",
	},
	tasksFinished: {
		Name: "tasker_tasks_finished_total", Kind: Counter, Labels: []string{"namespace", "definition", "outcome"},
		Help: "Runs of tasks that came to an end, by outcome: complete, error, cancelled, resolved_manually. A failed task that is retried ends again.",
		Look: "The share of outcome error is the error rate of a definition.",
	},
	taskDuration: {
		Name: "tasker_task_duration_seconds", Kind: Histogram, Unit: "seconds", Labels: byDefinition,
		Help: "From the creation of a task to its end or failure, waiting included.",
		Look: "What a submitter waits for.",
	},
	tasksLive: {
		Name: "tasker_tasks", Kind: Gauge, Labels: []string{"state"},
		Help: "Tasks of the partitions that this process owns: pending, in_progress, and error (failed, and not given up yet).",
		Look: "pending grows: tasks wait for retries, timers, or a resume. error grows: somebody has to look (`tasker task list --state error`).",
	},
	stepsFinished: {
		Group: "Steps",
		Name:  "tasker_steps_finished_total", Kind: Counter, Labels: []string{"namespace", "definition", "outcome"},
		Help: "Steps that came to an end, by outcome: complete, error (failed for good), skipped, cancelled, resolved_manually.",
		Look: "Throughput in steps, and which definitions lose steps for good.",
	},
	stepRetries: {
		Name: "tasker_step_retries_total", Kind: Counter, Labels: byDefinition,
		Help: "Steps that are tried again, by the engine or by an operator.",
		Look: "A dependent system is failing, although the tasks still end well.",
	},
	stepDuration: {
		Name: "tasker_step_execution_duration_seconds", Kind: Histogram, Unit: "seconds", Labels: byDefinition,
		Help: "Of one execution of a step: from the event that starts it to the one that ends it, whatever its outcome.",
		Look: "A handler gets slower. Sleeps are left out.",
	},
	stepExecutions: {
		Name: "tasker_step_executions_total", Kind: Counter, Labels: []string{"namespace", "definition", "step"},
		Help: "Executions that ended, by step.",
		Look: "Divide `tasker_step_execution_seconds_total` by it: the mean duration of a step.",
	},
	stepSeconds: {
		Name: "tasker_step_execution_seconds_total", Kind: Counter, Unit: "seconds", Labels: []string{"namespace", "definition", "step"},
		Help: "Duration of these executions together.",
		Look: "Which step of a definition takes the time; `rate()` of it is how many of its executions run at once.",
	},
	stepFailures: {
		Name: "tasker_step_failures_total", Kind: Counter, Labels: []string{"namespace", "definition", "step", "kind"},
		Help: "Executions that failed, retried or not, by kind: error, permanent, panic, timeout, worker_lost, interrupted, deadline; a handler's own kinds are other.",
		Look: "Which step fails, and how. timeout: the dependent system hangs. panic: a bug. worker_lost: processes die.",
	},
	queueWait: {
		Name: "tasker_step_queue_wait_seconds", Kind: Histogram, Unit: "seconds",
		Help: "From a step being ready to the decision to start it: the wait for a slot. 0 when one was free.",
		Look: "More than a few milliseconds: the slots of the process or of a handler are the bottleneck.",
	},
	stepsReady: {
		Name: "tasker_steps_ready", Kind: Gauge,
		Help: "Ready steps that wait for a slot, in the partitions that this process owns.",
		Look: "Above 0 for long: as `tasker_step_queue_wait_seconds`. At 10,000 in a partition submissions are refused.",
	},
	slotsTotal: {
		Group: "Slots",
		Name:  "tasker_slots", Kind: Gauge,
		Help: "Slots of this process: how many executions there may be at once.",
		Look: "Against `tasker_slots_used`.",
	},
	slotsUsed: {
		Name: "tasker_slots_used", Kind: Gauge,
		Help: "Slots in use, from the decision to start a step until its handler has returned.",
		Look: "Near `tasker_slots`: give the process more (`--slots`), or start another one.",
	},
	slotsLeaked: {
		Name: "tasker_slots_leaked", Kind: Gauge,
		Help: "Executions that go on after their end was recorded, because the handler ignores that its context has ended.",
		Look: "Above 0: a handler has to watch its context. At 100 a handler gets no new steps.",
	},
	handlerUsed: {
		Name: "tasker_handler_slots_used", Kind: Gauge, Labels: []string{"handler"},
		Help: "Slots in use by handler.",
		Look: "Which handler takes the slots.",
	},
	handlerLimit: {
		Name: "tasker_handler_slots", Kind: Gauge, Labels: []string{"handler"},
		Help: "Slots of a handler that has a limit of its own.",
		Look: "Against `tasker_handler_slots_used`.",
	},
	reportsDropped: {
		Name: "tasker_reports_dropped_total", Kind: Counter, Labels: []string{"reason"},
		Help: "Outcomes of executions that did not count: late (the handler returned after the end of its execution) or stale (not the step's current execution any more).",
		Look: "Grows with timeouts and cancels; much of it is work done for nothing.",
	},
	events: {
		Group: "Log",
		Name:  "tasker_events_total", Kind: Counter, Labels: []string{"type"},
		Help: "Facts that this process stored, and the signals of observability.step.*, by type; custom events are custom.",
		Look: "What the engine is busy with.",
	},
	commitEvents: {
		Name: "tasker_commit_events", Kind: Histogram,
		Help: "Events in one commit.",
		Look: "Near 1 under load: group commit does not help, because too little is in flight.",
	},
	commitSize: {
		Name: "tasker_commit_size_bytes", Kind: Histogram, Unit: "bytes",
		Help: "Size of one commit as it is published, before compression.",
		Look: "`rate()` of `_sum` is what the log grows by.",
	},
	commitDuration: {
		Name: "tasker_commit_duration_seconds", Kind: Histogram, Unit: "seconds",
		Help: "From the first event of a commit to its acknowledgement: what a transition waits until it counts.",
		Look: "Twice `tasker_append_duration_seconds` under load is regular: a commit gathers while the one before is written.",
	},
	appendDuration: {
		Name: "tasker_append_duration_seconds", Kind: Histogram, Unit: "seconds",
		Help: "From sending a commit to its acknowledgement, as the writer sees it: network, replication and, with strict durability, fsync.",
		Look: "The disk, or the NATS cluster, gets slower. Everything else waits for it.",
	},
	logSize: {
		Name: "tasker_log_size_bytes", Kind: Gauge, Unit: "bytes", Labels: []string{"partition"},
		Help: "Size of a partition's stream as the server stores it, of the partitions that this process owns; looked at every 15 s.",
		Look: "Growth that retention does not stop: a subscriber or a waiting task holds the log back.",
	},
	snapshots: {
		Name: "tasker_snapshots_total", Kind: Counter,
		Help: "Snapshots that were written.",
		Look: "None for long under load: see the log for why; a restart takes longer, and nothing is trimmed.",
	},
	storeUsage: {
		Name: "tasker_store_usage_ratio", Kind: Gauge, Unit: "ratio",
		Help: "How full the store is, 0 to 1 of its limit; 0 when it has none. Looked at every 15 s.",
		Look: "At 0.8 retention by bytes begins, at 0.9 submissions are refused.",
	},
	partitionOwned: {
		Group: "Partitions",
		Name:  "tasker_partition_owned", Kind: Gauge, Labels: []string{"partition"},
		Help: "1 for a partition that this process owns, else 0.",
		Look: "The sum over all processes has to be 1 for each partition; 0 for longer than a lease (10 s): nobody runs it.",
	},
	partitions: {
		Name: "tasker_partitions", Kind: Gauge, Labels: []string{"phase"},
		Help: "Partitions by what this process does with them: away, loading, owning, closed, stopped.",
		Look: "closed above 0: an operator has to decide (`tasker status` says what).",
	},
	timers: {
		Name: "tasker_timers_pending", Kind: Gauge,
		Help: "Tasks of this process that wait for a time: a retry, the end of a sleep, a deadline.",
		Look: "Much of it comes due at once after an outage of a dependent system.",
	},
	requestsWaiting: {
		Name: "tasker_requests_waiting", Kind: Gauge,
		Help: "Submissions, commands and queries that wait for their turn, in the partitions that this process owns.",
		Look: "At 4,096 in a partition the next ones are refused.",
	},
	refused: {
		Name: "tasker_requests_refused_total", Kind: Counter, Labels: []string{"reason"},
		Help: "Submissions and commands that this process refused: queue_full, too_many_ready, too_many_live, store_full, too_many_keys.",
		Look: "Above 0: submitters get ErrOverloaded or ErrStoreFull. A submitter that tries again is counted again.",
	},
	intakeRequests: {
		Group: "Intake and subscribers",
		Name:  "tasker_intake_requests_total", Kind: Counter, Labels: []string{"outcome"},
		Help: "Requests of foreign clients that this process took from the intake: accepted (a task was created), repeated (it was there), refused (a dead letter, or an error for good), retried (put back).",
		Look: "refused above 0: a client sends what cannot become a task (`tasker dead list` has it). retried grows: the engines are overloaded.",
	},
	subscriberLag: {
		Name: "tasker_subscriber_lag_commits", Kind: Gauge, Labels: []string{"subscriber"},
		Help: "Commits that a durable subscriber has yet to handle, in the partitions that this process owns; looked at every 15 s.",
		Look: "Grows: the subscriber is too slow, or does not run. It holds the log back from being trimmed.",
	},
	indexLag: {
		Group: "Index",
		Name:  "tasker_index_lag_commits", Kind: Gauge,
		Help: "Commits of all partitions that the index of this process does not contain yet. Only of a process that has one.",
		Look: "Grows: the index is too slow, or stands still (`tasker index status` says why). Lists and analytics are old by as much.",
	},
	indexLagSeconds: {
		Name: "tasker_index_lag_seconds", Kind: Gauge, Unit: "seconds",
		Help: "Age of the oldest commit that the index of this process does not contain yet.",
		Look: "Above 2 for long: as for the commits.",
	},
	indexBatches: {
		Name: "tasker_index_batches_total", Kind: Counter,
		Help: "Transactions that the index of this process has written.",
		Look: "Does not grow while commits are stored: the index stands still.",
	},
	indexRows: {
		Name: "tasker_index_rows_written_total", Kind: Counter,
		Help: "Rows of tasks, with their steps, that the index of this process has written.",
		Look: "What the index costs: a row that changes often within a batch is written once.",
	},
	indexFailures: {
		Name: "tasker_index_failures_total", Kind: Counter,
		Help: "How often the index of this process could not go on: a full disk, a damaged file. It is tried again.",
		Look: "Grows: see the log, or `tasker index status`. The engine does not need the index.",
	},
	spansExported: {
		Group: "Telemetry",
		Name:  "tasker_spans_exported_total", Kind: Counter,
		Help: "Spans that were handed to the exporter, which took them.",
		Look: "0 with tracing on: nothing is sampled, or the collector refuses.",
	},
	spansDropped: {
		Name: "tasker_spans_dropped_total", Kind: Counter, Labels: []string{"reason"},
		Help: "Spans that were given up: queue_full (more came than were exported) or export_failed.",
		Look: "Above 0: traces have holes. Sample less, or look at the collector.",
	},
	buildInfo: {
		Name: "tasker_build_info", Kind: Gauge, Labels: []string{"version"},
		Help: "1, with the version of the engine.",
		Look: "Which versions run.",
	},
}

// List is every metric, in the order of the page.
func List() []Metric {
	metrics := append([]Metric(nil), list[:]...)
	for i := range metrics {
		if metrics[i].Group == "" {
			metrics[i].Group = metrics[i-1].Group
		}
	}
	return metrics
}
