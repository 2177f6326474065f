package httpapi

import (
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// Status is how the log and the engines that run on it are doing.
type Status struct {
	Info       DataInfo         `json:"info"`
	Partitions []PartitionState `json:"partitions" doc:"all of them, by number"`
	Engines    []EngineState    `json:"engines" doc:"those that have a partition, by name"`
	Usage      float64          `json:"usage" doc:"how full the store is, 0 to 1 of its limit; 0 when it has none, or does not say"`
	Reasons    []StatusReason   `json:"reasons" doc:"of partitions that are not owned: nothing happens in them"`
}

// DataInfo says what the engines run on.
type DataInfo struct {
	ID         string `json:"id" doc:"of the data, for cursors"`
	Generation int    `json:"generation" doc:"of the partitioning"`
	Partitions int    `json:"partitions"`
	Durability string `json:"durability" example:"strict"`
}

// PartitionState is how one partition is doing; its numbers are since its owner has it.
type PartitionState struct {
	Partition   int               `json:"partition"`
	Phase       string            `json:"phase" enum:"away,loading,owning,closed,stopped"`
	Owner       string            `json:"owner,omitempty" doc:"name of the engine that owns it or loads it"`
	Why         string            `json:"why,omitempty" doc:"it is closed, or nobody has it"`
	Stored      *tasker.StoredLog `json:"stored,omitempty" doc:"what its stream holds; left out when that could not be asked"`
	Sequence    uint64            `json:"sequence" doc:"of the last message that is known to be stored"`
	Commits     int64             `json:"commits"`
	Events      int64             `json:"events"`
	Bytes       int64             `json:"bytes"`
	Refused     int64             `json:"refused" doc:"submissions that were too many"`
	Stale       int64             `json:"stale" doc:"reports that came too late to count"`
	AckWait     time.Duration     `json:"ack_wait_ns" doc:"all waits for an acknowledgement together"`
	SlowestAck  time.Duration     `json:"slowest_ack_ns"`
	SlowestTurn time.Duration     `json:"slowest_turn_ns"`
	Snapshots   int64             `json:"snapshots"`
	Live        int64             `json:"live" doc:"tasks in memory"`
	Held        int64             `json:"held" doc:"ready steps that wait for a slot"`
	Queued      int64             `json:"queued" doc:"requests that wait for their turn"`
	Timers      int64             `json:"timers" doc:"tasks that wait for a time"`
	Pending     int64             `json:"pending" doc:"tasks"`
	InProgress  int64             `json:"in_progress" doc:"tasks"`
	Failed      int64             `json:"failed" doc:"tasks that have not expired"`
}

// EngineState is how one engine is doing.
type EngineState struct {
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	Handlers []string      `json:"handlers" doc:"that are registered in it"`
	Executor ExecutorState `json:"executor"`
}

// ExecutorState is how the executor of an engine is doing.
type ExecutorState struct {
	Slots       int            `json:"slots"`
	Free        int            `json:"free"`
	Running     int            `json:"running"`
	Leaked      int            `json:"leaked" doc:"executions that go on after their end"`
	Draining    bool           `json:"draining"`
	Handlers    []HandlerSlots `json:"handlers"`
	Executions  uint64         `json:"executions" doc:"started"`
	Completed   uint64         `json:"completed"`
	Failed      uint64         `json:"failed"`
	Panics      uint64         `json:"panics"`
	Timeouts    uint64         `json:"timeouts"`
	Interrupted uint64         `json:"interrupted"`
	Cancelled   uint64         `json:"cancelled"`
	Late        uint64         `json:"late" doc:"outcomes that came after the end and were dropped"`
}

// HandlerSlots are the slots of one handler.
type HandlerSlots struct {
	Name    string `json:"name"`
	Limit   int    `json:"limit" doc:"0: none of its own"`
	Running int    `json:"running"`
	Leaked  int    `json:"leaked"`
	Refused string `json:"refused,omitempty" doc:"why no step of it is started"`
}

// StatusReason is why nothing happens in a partition.
type StatusReason struct {
	Partition int           `json:"partition"`
	Reason    domain.Reason `json:"reason"`
	Text      string        `json:"text"`
	Fix       string        `json:"fix,omitempty" doc:"what to do"`
}

func statusOf(st *tasker.Status) *Status {
	out := &Status{
		Info: DataInfo(st.Info), Usage: st.Usage,
		Partitions: make([]PartitionState, len(st.Partitions)), Engines: make([]EngineState, len(st.Engines)), Reasons: reasons(st.Partitions),
	}
	for i := range st.Partitions {
		p := &st.Partitions[i]
		out.Partitions[i] = PartitionState{
			Partition: p.Partition, Phase: string(p.Phase), Owner: p.Owner, Why: p.Why, Stored: p.Stored, Sequence: p.Sequence, Commits: p.Commits,
			Events: p.Events, Bytes: p.Bytes, Refused: p.Refused, Stale: p.Stale, AckWait: p.AckWait, SlowestAck: p.SlowestAck,
			SlowestTurn: p.SlowestTurn, Snapshots: p.Snapshots, Live: p.Live, Held: p.Held, Queued: p.Queued, Timers: p.Timers,
			Pending: p.Pending, InProgress: p.InProgress, Failed: p.Failed,
		}
	}
	for i := range st.Engines {
		e := &st.Engines[i]
		x := &e.Executor
		slots := []HandlerSlots{}
		for _, h := range x.Handlers {
			slots = append(slots, HandlerSlots{Name: h.Name, Limit: h.Limit, Running: h.Running, Leaked: h.Leaked, Refused: h.Refused})
		}
		out.Engines[i] = EngineState{
			Name: e.Name, Version: e.Version, Handlers: append([]string{}, e.Handlers...),
			Executor: ExecutorState{
				Slots: x.Slots, Free: x.Free, Running: x.Running, Leaked: x.Leaked, Draining: x.Draining, Handlers: slots, Executions: x.Executions,
				Completed: x.Completed, Failed: x.Failed, Panics: x.Panics, Timeouts: x.Timeouts, Interrupted: x.Interrupted,
				Cancelled: x.Cancelled, Late: x.Late,
			},
		}
	}
	return out
}
