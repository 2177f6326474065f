package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Me is who calls, as the server knows it.
type Me struct {
	Name       string   `json:"name"`
	Scopes     []Scope  `json:"scopes" enum:"read,submit,operate,admin"`
	Namespaces []string `json:"namespaces" doc:"that it is limited to; none: all"`
	Auth       AuthKind `json:"auth" enum:"off,token,oidc"`
	Version    string   `json:"version" doc:"of the server"`
}

func (*server) me(ctx context.Context, _ *struct{}) (*respond[Me], error) {
	who := caller(ctx)
	return &respond[Me]{Me{
		Name: who.Name, Scopes: append([]Scope{}, who.Scopes...), Namespaces: append([]string{}, who.Namespaces...), Auth: who.Kind,
		Version: tasker.Version(),
	}}, nil
}

// SubscriberRow is a durable subscriber.
type SubscriberRow struct {
	Name       string             `json:"name"`
	Partitions []SubscriberCursor `json:"partitions" doc:"that it has reached"`
	Lag        uint64             `json:"lag" doc:"commits that it has yet to read"`
}

// SubscriberCursor is how far a subscriber has come in a partition.
type SubscriberCursor struct {
	Partition int             `json:"partition"`
	Next      tasker.Position `json:"next" doc:"the oldest event that it has not finished"`
	At        time.Time       `json:"at" doc:"when that was written"`
	Lag       uint64          `json:"lag" doc:"commits from there on"`
}

// Subscribers lists them by name.
type Subscribers struct {
	Subscribers []SubscriberRow `json:"subscribers"`
}

func (s *server) subscribers(ctx context.Context, _ *struct{}) (*respond[Subscribers], error) {
	list, err := s.service.Subscribers(ctx)
	if err != nil {
		return nil, err
	}
	out := Subscribers{Subscribers: []SubscriberRow{}}
	for _, one := range list {
		row := SubscriberRow{Name: one.Name, Partitions: []SubscriberCursor{}}
		for _, c := range one.Partitions {
			row.Lag += c.Lag
			row.Partitions = append(row.Partitions, SubscriberCursor{Partition: c.Next.Partition, Next: c.Next, At: c.At, Lag: c.Lag})
		}
		out.Subscribers = append(out.Subscribers, row)
	}
	return &respond[Subscribers]{out}, nil
}

// SubscriberPath names a durable subscriber.
type SubscriberPath struct {
	Name string `path:"name" maxLength:"128"`
}

func (s *server) forget(ctx context.Context, in *SubscriberPath) (*Nothing, error) {
	return &Nothing{}, s.service.ForgetSubscriber(ctx, in.Name)
}

func (s *server) status(ctx context.Context, _ *struct{}) (*respond[*Status], error) {
	st, err := s.service.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := statusOf(st)
	if len(caller(ctx).Namespaces) > 0 { // the names of handlers are made of those of definitions
		for i := range out.Engines {
			out.Engines[i].Handlers = []string{}
			out.Engines[i].Executor.Handlers = []HandlerSlots{}
		}
	}
	return &respond[*Status]{out}, nil
}

// reasons say why partitions are not owned, in the words of explain.
func reasons(partitions []tasker.PartitionStatus) []StatusReason {
	out := []StatusReason{}
	for i := range partitions {
		p := &partitions[i]
		hold := domain.Hold{Why: p.Why}
		switch string(p.Phase) {
		case "owning":
			continue
		case "loading":
			hold.Reason = domain.ReasonLoading
		case "closed":
			hold.Reason = domain.ReasonClosed
		default:
			hold.Reason = domain.ReasonNoOwner
		}
		x := domain.ExplainHeld(tasker.TaskID{}, domain.Circumstances{Partition: p.Partition, Held: hold})
		fix := x.Fix
		if fix == "" {
			fix = x.Hint
		}
		out = append(out, StatusReason{Partition: p.Partition, Reason: x.Reason, Text: strings.TrimSuffix(x.Text, ", which the task is in"), Fix: fix})
	}
	return out
}

// IndexState says how the index is doing.
type IndexState struct {
	Lag index.Lag `json:"lag"`
}

func (s *server) index(ctx context.Context, _ *struct{}) (*respond[IndexState], error) {
	lag, err := s.service.IndexLag(ctx)
	return answer(IndexState{lag}, err)
}

// Streamed is an answer that writes itself.
type Streamed struct{ Body func(huma.Context) }

func (s *server) metrics(_ context.Context, _ *struct{}) (*Streamed, error) {
	if s.Metrics == nil {
		return nil, newProblem(http.StatusNotFound, CodeNotFound, "this server has no metrics", "start it with --metrics HOST:PORT, or set Options.Metrics")
	}
	return &Streamed{func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		s.Metrics.ServeHTTP(w, r)
	}}, nil
}

func (s *server) registerSystem() {
	read := []Scope{ScopeRead}
	add(s, action{id: "getMe", method: http.MethodGet, path: "/me", tag: "system",
		summary: "Say who calls", text: "And what it may do. Needs no scope."}, s.me)
	add(s, action{id: "getStatus", method: http.MethodGet, path: "/status", tag: "system", scopes: read,
		summary: "Say how the log and the engines are doing", text: "What is wrong with a partition stands in `reasons`, with what to do."}, s.status)
	add(s, action{id: "getIndex", method: http.MethodGet, path: "/index", tag: "system", scopes: read,
		summary: "Say how the index is doing", text: "How far it is behind the log.", codes: []Code{CodeNoIndex}}, s.index)
	add(s, action{id: "getMetrics", method: http.MethodGet, path: "/metrics", tag: "system", scopes: read, unlimited: true, anyAnswer: true,
		summary: "Read the metrics", text: "In the text format of Prometheus.", codes: []Code{CodeNotFound}}, s.metrics)
	add(s, action{id: "listSubscribers", method: http.MethodGet, path: "/subscribers", tag: "subscribers", scopes: read,
		summary: "List durable subscribers", text: "With what each of them has yet to read."}, s.subscribers)
	add(s, action{id: "forgetSubscriber", method: http.MethodDelete, path: "/subscribers/{name}", tag: "subscribers", scopes: []Scope{ScopeAdmin}, unlimited: true,
		summary: "Forget a subscriber", text: "Removes the cursors of one that nobody runs any more: they keep the log from being trimmed.",
		codes: []Code{CodeSubNotFound, CodeSubscriberRuns}}, s.forget)
}
