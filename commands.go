package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// waitSlice is how long a remote Wait is held before it is answered "pending" and asked again, so that a lost answer
// costs a moment and not the whole wait.
const waitSlice = 2 * time.Second

// commandServers answer the requests of other processes, for the partitions that this one owns.
type commandServers struct {
	mu    sync.Mutex
	stops map[int]func()
	parts parts
	wg    sync.WaitGroup
}

func (s *commandServers) start(e *Engine, partition int) error {
	remote, ok := e.store.(commander)
	if !ok {
		return nil
	}
	stop, err := remote.ServeCommands(partition, func(ctx context.Context, text []byte, reply func([]byte)) {
		s.wg.Go(func() { reply(e.answer(ctx, partition, text)) })
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stops == nil {
		s.stops = map[int]func(){}
	}
	if old := s.stops[partition]; old != nil {
		old()
	}
	s.stops[partition] = stop
	return nil
}

func (s *commandServers) stop(partition int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop := s.stops[partition]; stop != nil {
		stop()
		delete(s.stops, partition)
	}
}

func (s *commandServers) stopAll() {
	s.mu.Lock()
	for p, stop := range s.stops {
		stop()
		delete(s.stops, p)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// answer serves one request from outside.
func (e *Engine) answer(ctx context.Context, partition int, text []byte) []byte {
	var r request
	resp, err := &response{}, json.Unmarshal(text, &r)
	if err != nil {
		err = fmt.Errorf("the request cannot be read: %w", err)
	} else {
		resp, err = e.answerSafely(ctx, partition, &r)
	}
	if resp == nil {
		resp = &response{}
	}
	resp.Error = toWire(err)
	return e.commands.parts.fit(json.Marshal(resp))
}

// answerSafely holds a panic to the request that led to it.
func (e *Engine) answerSafely(ctx context.Context, partition int, r *request) (resp *response, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.config.Logger.Error("a request of another process made the engine panic", "operation", r.Op, "panic", p, "stack", string(debug.Stack()))
			resp, err = nil, fmt.Errorf("%w: the request made the engine panic (%v); please report this", ErrOutcomeUnknown, p)
		}
	}()
	return e.answerRequest(ctx, partition, r)
}

func (e *Engine) answerRequest(ctx context.Context, partition int, r *request) (*response, error) {
	if r.Op == opSubmit {
		if r.Submission == nil {
			return nil, errors.New("a submission is missing")
		}
		if err := r.Submission.identify(); err != nil {
			return nil, err
		}
		if e.partition(r.Submission.ID) != partition {
			return nil, fmt.Errorf("task %s belongs to partition %02d", r.Submission.ID, e.partition(r.Submission.ID))
		}
	}
	if r.Op == opFork {
		if r.Submission == nil || r.Fork == nil || e.partition(r.Submission.ID) != partition {
			return nil, fmt.Errorf("the parameters of %q are missing, or meant for another partition than %02d", r.Op, partition)
		}
	}
	switch {
	case r.Op == opPart && r.Part != nil:
		part, err := e.commands.parts.take(r.Part)
		return &response{Part: part}, err
	case r.Op == opVerb && r.Verb == nil, r.Op == opPrune && r.Prune == nil, r.Op == opSkip && r.Skip == nil, r.Op == opStuck && r.Stuck == nil:
		return nil, fmt.Errorf("the parameters of %q are missing", r.Op)
	case r.Op != opWait:
		return e.serveLocal(ctx, partition, r)
	}
	ctx, cancel := context.WithTimeout(ctx, waitSlice)
	defer cancel()
	resp, err := e.serveLocal(ctx, partition, r)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		// The slice is over, or this process gives the partition up: the one who waits asks again, its next owner perhaps.
		return &response{Result: &Result{ID: r.Task, Pending: true}}, nil
	}
	return resp, err
}

// localApply registers a definition that somebody sent. It is stored for all engines to find.
func (e *Engine) localApply(ctx context.Context, _ *subscribers.Coordinator, r *request) (*response, error) {
	def, err := domain.ParseDefinition(r.Definition)
	if err != nil {
		return nil, err
	}
	if e.definitions.accept != nil {
		if err := e.definitions.accept(def); err != nil {
			return nil, err
		}
	}
	return &response{}, e.definitions.apply(ctx, def, r.Replace)
}

// AcceptDefinitions sets a check for definitions that reach this engine over NATS, from the Apply of another process; an
// error refuses them. Call it before Run. Default: all are accepted.
func (e *Engine) AcceptDefinitions(check func(*Definition) error) { e.definitions.accept = check }
