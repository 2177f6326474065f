package memlog

import (
	"context"
	"fmt"
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// server hands requests to one handler, one after the other, on a goroutine that ends when there are none left: a test
// in a synctest bubble must not wait for it.
type server struct {
	ctx    context.Context
	handle func(context.Context, []byte, func([]byte))

	mu    sync.Mutex
	busy  bool
	queue []func()
}

// ServeCommands implements domain.Commands.
func (s *Store) ServeCommands(partition int, handle func(ctx context.Context, request []byte, reply func([]byte))) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	v := &server{ctx: ctx, handle: handle}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers[partition] == nil {
		s.servers[partition] = map[*server]struct{}{}
	}
	s.servers[partition][v] = struct{}{}
	return func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.servers[partition], v)
	}, nil
}

// Request implements domain.Commands.
func (s *Store) Request(ctx context.Context, partition int, request []byte) ([]byte, error) {
	answers := make(chan []byte, 1)
	s.mu.Lock()
	servers := make([]*server, 0, len(s.servers[partition]))
	for v := range s.servers[partition] {
		servers = append(servers, v)
	}
	s.mu.Unlock()
	if len(servers) == 0 {
		return nil, fmt.Errorf("sending a request to partition %02d: %w", partition, domain.ErrNoOwner)
	}
	for _, v := range servers {
		data := append([]byte(nil), request...)
		v.do(func() {
			v.handle(v.ctx, data, func(answer []byte) {
				select {
				case answers <- append([]byte(nil), answer...):
				default: // the first answer counts
				}
			})
		})
	}
	select {
	case answer := <-answers:
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("sending a request to partition %02d: %w: %w", partition, domain.ErrUnavailable, ctx.Err())
	}
}

func (v *server) do(f func()) {
	v.mu.Lock()
	v.queue = append(v.queue, f)
	if v.busy {
		v.mu.Unlock()
		return
	}
	v.busy = true
	v.mu.Unlock()
	go v.run()
}

func (v *server) run() {
	for {
		v.mu.Lock()
		if len(v.queue) == 0 || v.ctx.Err() != nil {
			v.busy = false
			v.mu.Unlock()
			return
		}
		f := v.queue[0]
		v.queue = v.queue[1:]
		v.mu.Unlock()
		f()
	}
}
