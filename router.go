package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// patience is how long a request waits for a partition to get an owner, and for the log to come back, when its context
// gives no earlier end.
const patience = 5 * time.Second

// answerPatience is how long a caller waits for an answer while the log cannot be reached. The coordinator knows after
// three seconds that it cannot, and callers are to know within five.
const answerPatience = 4 * time.Second

// commander is a store that carries requests between processes.
type commander interface {
	ServeCommands(partition int, handle func(ctx context.Context, request []byte, reply func([]byte))) (stop func(), err error)
	Request(ctx context.Context, partition int, request []byte) ([]byte, error)
}

// router is what engines and clients have in common: it brings every request to the owner of its partition, in this
// process or in another, and waits while there is none.
type router struct {
	store       domain.Store
	definitions *definitions
	payloads    payloads
	logger      *slog.Logger
	clock       func() time.Time
	// local answers a request in this process; nil in a client. subscribers.ErrNotOwner sends it elsewhere.
	local func(ctx context.Context, partition int, r *request) (*response, error)
	// near is where an index has the newest commit of a task, 0 when it has none; nil without an index.
	near func(ctx context.Context, id TaskID) uint64
}

// nearest is near, also without an index.
func (r *router) nearest(ctx context.Context, id TaskID) uint64 {
	if r.near == nil {
		return 0
	}
	return r.near(ctx, id)
}

func newRouter(store domain.Store, c *Config) router {
	return router{
		store: store, definitions: newDefinitions(store.Definitions()), payloads: newPayloads(store),
		logger: c.Logger, clock: c.Clock,
	}
}

// call brings a request to the owner of the partition. It is sent again only while nothing can have come of it.
func (r *router) call(ctx context.Context, partition int, req *request) (*response, error) {
	deadline, alone := time.Now().Add(patience), false
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		resp, err := r.once(ctx, partition, req)
		again := errors.Is(err, subscribers.ErrNotOwner) || errors.Is(err, domain.ErrNoOwner)
		if !again && err != nil && alone && ctx.Err() != nil {
			return nil, fmt.Errorf("partition %02d: %w", partition, &unansweredError{ctx.Err()}) // that try was cut short
		}
		if !again {
			return resp, err
		}
		alone = true
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("partition %02d: %w", partition, ErrNoOwner)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("partition %02d: %w", partition, &unansweredError{ctx.Err()})
		case <-time.After(pause):
		}
	}
}

// unansweredError: the caller's time was over before an owner was there. It is ErrNoOwner, which says more, and the end of
// the context.
type unansweredError struct{ end error }

func (e *unansweredError) Error() string   { return ErrNoOwner.Error() }
func (e *unansweredError) Unwrap() []error { return []error{ErrNoOwner, e.end} }

func (r *router) once(ctx context.Context, partition int, req *request) (*response, error) {
	if r.local != nil {
		resp, err := r.local(ctx, partition, req)
		if !errors.Is(err, subscribers.ErrNotOwner) {
			return resp, err
		}
	}
	return r.elsewhere(ctx, partition, req)
}

// elsewhere asks the owner of the partition over NATS, even if that is this process.
func (r *router) elsewhere(ctx context.Context, partition int, req *request) (*response, error) {
	remote, ok := r.store.(commander)
	if !ok {
		return nil, domain.ErrNoOwner
	}
	req, err := r.travel(ctx, req)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	reads := req.Op == opTask || req.Op == opExplain || req.Op == opStuck || req.Op == opTasks || req.Op == opWait || req.Op == opStatus ||
		req.Op == opIndex || req.Op == opStand || req.Op == opTaskAt
	try := ctx
	if reads { // a request that got lost, for instance with its owner, must not cost all of the caller's time
		var cancel context.CancelFunc
		try, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	answer, err := remote.Request(try, partition, text)
	if err != nil {
		if errors.Is(err, domain.ErrUnavailable) && !reads {
			err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		return nil, err
	}
	resp, err := readAnswer(answer, partition)
	if err == nil && resp.Parts != nil {
		resp, err = gather(ctx, remote, partition, resp.Parts)
	}
	if err != nil {
		return nil, err
	}
	return resp, resp.Error.err()
}

// largestRequest is how large a context or result may be that travels in a request itself; NATS carries 1 MiB.
const largestRequest = 256 << 10

// travel is the request as it goes to another process: what is large goes through the blob store.
func (r *router) travel(ctx context.Context, req *request) (*request, error) {
	if req.Verb != nil {
		other := *req
		var err error
		other.Verb, err = req.Verb.travel(ctx, r.store.Blobs())
		return &other, err
	}
	s := req.Submission
	if s == nil || len(s.Context) <= largestRequest {
		return req, nil
	}
	text, err := domain.CompactJSON(s.Context)
	if err != nil {
		return nil, fmt.Errorf("the input of %q: %w", s.Name, err)
	}
	digest, err := r.store.Blobs().Put(ctx, text)
	if err != nil {
		return nil, err
	}
	light, other := *s, *req
	light.Context, light.ContextBlob = nil, digest
	other.Submission = &light
	return &other, nil
}

func (r *router) partition(id domain.TaskID) int { return id.Partition(r.store.Data().Partitions) }
