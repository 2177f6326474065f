package tasker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// Status is how the log and the engines that run on it are doing.
type Status struct {
	Info       domain.DataInfo   `json:"info"`
	Partitions []PartitionStatus `json:"partitions"` // all of them, by number
	Engines    []EngineStatus    `json:"engines"`    // those that have a partition, by name
	// Usage is how full the store is, 0 to 1 of its limit; 0 when it has none, or does not say.
	Usage float64 `json:"usage"`
}

// PartitionStatus is how one partition is doing.
type PartitionStatus struct {
	subscribers.Stats        // phase "away" and no numbers when nobody has the partition
	Owner             string `json:"owner,omitempty"` // name of the engine that owns it or loads it
	Why               string `json:"why,omitempty"`   // it is closed, or nobody has it
	// Stored is what its stream holds; nil when that could not be asked.
	Stored *StoredLog `json:"stored,omitempty"`
}

// StoredLog is what the stream of a partition holds.
type StoredLog struct {
	First uint64 `json:"first"` // sequence of the oldest message; Last + 1 when there is none
	Last  uint64 `json:"last"`
	Bytes uint64 `json:"bytes"` // before the server compresses them
}

// EngineStatus is how one engine is doing.
type EngineStatus struct {
	Name     string         `json:"name"` // Config.Name
	Version  string         `json:"version"`
	Executor executor.Stats `json:"executor"`
	Handlers []string       `json:"handlers"`
}

// engineView is what one engine says of itself and of its partitions.
type engineView struct {
	EngineStatus
	Info       domain.DataInfo   `json:"info"` // with the durability, which a client cannot know
	Partitions []PartitionStatus `json:"partitions"`
}

func (e *Engine) describe() *engineView {
	s := e.Stats()
	v := &engineView{
		EngineStatus: EngineStatus{Name: e.config.Name, Version: Version(), Executor: s.Executor, Handlers: e.Handlers()},
		Info:         e.Info(),
	}
	for i, stats := range s.Partitions {
		p := PartitionStatus{Stats: stats}
		switch phase, why := e.parts[i].Phase(); phase {
		case subscribers.Owning, subscribers.Loading:
			p.Owner = e.config.Name
		case subscribers.Closed:
			p.Why = why.Error()
		case subscribers.Away, subscribers.Stopped:
		}
		v.Partitions = append(v.Partitions, p)
	}
	return v
}

// Status asks the owner of every partition. A partition that nobody has is no error: it is shown as away, with the
// reason. ErrNoOwner when no engine answers at all.
func (r *router) Status(ctx context.Context) (*Status, error) {
	n := r.store.Data().Partitions
	answers, errs, stored := make([]*engineView, n), make([]error, n), make([]*StoredLog, n)
	s := &Status{}
	var asked sync.WaitGroup
	asked.Go(func() { s.Usage, _ = r.store.Usage(ctx) })
	for p := range n {
		asked.Go(func() {
			if b, err := r.store.Log(p).Bounds(ctx); err == nil {
				stored[p] = &StoredLog{First: b.First, Last: b.Last, Bytes: b.Bytes}
			}
		})
		asked.Go(func() {
			// Not call: a partition that nobody has would cost all of its patience.
			resp, err := r.once(ctx, p, &request{Op: opStatus})
			if errs[p] = err; err == nil {
				answers[p] = resp.Status
			}
		})
	}
	asked.Wait()
	if !slices.ContainsFunc(answers, func(v *engineView) bool { return v != nil }) {
		resp, err := r.call(ctx, 0, &request{Op: opStatus}) // an engine may be starting
		if errors.Is(err, ErrNoOwner) {
			err = ErrNoOwner // of any partition
		}
		if err != nil {
			return nil, err
		}
		answers[0] = resp.Status
	}
	for p := range n {
		s.Partitions = append(s.Partitions, partitionStatus(p, answers, errs[p]))
		s.Partitions[p].Stored = stored[p]
	}
	for _, v := range answers {
		if v == nil {
			continue
		}
		if s.Info = v.Info; !slices.ContainsFunc(s.Engines, func(e EngineStatus) bool { return e.Name == v.Name }) {
			s.Engines = append(s.Engines, v.EngineStatus)
		}
	}
	slices.SortFunc(s.Engines, func(a, b EngineStatus) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// partitionStatus is what the partition's owner says of it; else what another engine does, which may be loading it.
func partitionStatus(p int, answers []*engineView, err error) PartitionStatus {
	if v := answers[p]; v != nil && p < len(v.Partitions) {
		return v.Partitions[p]
	}
	for _, v := range answers {
		if v != nil && p < len(v.Partitions) && v.Partitions[p].Phase != subscribers.Away {
			return v.Partitions[p]
		}
	}
	s := PartitionStatus{Stats: subscribers.Stats{Partition: p, Phase: subscribers.Away}, Why: domain.ErrNoOwner.Error()}
	if err != nil && !errors.Is(err, domain.ErrNoOwner) && !errors.Is(err, subscribers.ErrNotOwner) {
		s.Why = err.Error()
	}
	return s
}
