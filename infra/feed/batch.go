package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Limits of a batch. The server takes at most 1,000 messages. Below leastBatch its files cost more than the syncs that it
// saves.
const (
	leastBatch = 16
	mostBatch  = Lanes
	batchBytes = 8 << 20
)

// batches gathers what many goroutines want to publish while the batch before is on its way. A server that syncs the disk
// before each acknowledgement does so once per batch, and the engine's commits need the disk, too.
type batches struct {
	feed *Feed

	running sync.WaitGroup
	mu      sync.Mutex
	waiting []*wanted
	working bool // a goroutine publishes, and looks again when it is done
}

// wanted is a message that somebody waits for.
type wanted struct {
	msg  *nats.Msg
	done chan error // has room for one
}

// publish returns when the message is stored, or when ctx ends.
func (b *batches) publish(ctx context.Context, msg *nats.Msg) error {
	w := &wanted{msg, make(chan error, 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, w)
	if !b.working {
		b.working = true
		b.running.Go(b.work)
	}
	b.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work publishes until nobody waits. It ends by itself: every publish is limited in time.
func (b *batches) work() {
	for {
		b.mu.Lock()
		n, size := 0, 0
		for n < len(b.waiting) && n < mostBatch && size < batchBytes {
			size += len(b.waiting[n].msg.Data)
			n++
		}
		now := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		if n == 0 {
			b.waiting, b.working = nil, false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.store(now)
	}
}

// store publishes as one batch. What is refused for whatever reason, for instance because one of the messages is there
// already, is published one by one.
func (b *batches) store(all []*wanted) {
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	if len(all) >= leastBatch && b.storeBatch(ctx, all) == nil {
		for _, w := range all {
			w.done <- nil
		}
		return
	}
	futures := make([]jetstream.PubAckFuture, len(all))
	for i, w := range all {
		future, err := b.feed.js.PublishMsgAsync(w.msg)
		if err != nil {
			w.done <- err
			continue
		}
		futures[i] = future
	}
	for i, future := range futures {
		if future == nil {
			continue
		}
		select {
		case <-future.Ok():
			all[i].done <- nil
		case err := <-future.Err():
			all[i].done <- err
		}
	}
}

// storeBatch is an atomic batch (NATS ADR-50): the last message commits it.
func (b *batches) storeBatch(ctx context.Context, all []*wanted) error {
	id := []string{nuid.Next()}
	for i, w := range all {
		msg := &nats.Msg{Subject: w.msg.Subject, Header: make(nats.Header, len(w.msg.Header)+3), Data: w.msg.Data}
		for k, v := range w.msg.Header {
			msg.Header[k] = v
		}
		msg.Header["Nats-Batch-Id"] = id
		msg.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		if i < len(all)-1 {
			if err := b.feed.nc.PublishMsg(msg); err != nil {
				return err
			}
			continue
		}
		msg.Header["Nats-Batch-Commit"] = []string{"1"}
		answer, err := b.feed.nc.RequestMsgWithContext(ctx, msg)
		if err != nil {
			return err
		}
		return committed(answer.Data, len(all))
	}
	return nil
}

func committed(answer []byte, messages int) error {
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Count int                 `json:"count"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return err
	}
	if ack.Error != nil {
		return ack.Error
	}
	if ack.Count != messages {
		return fmt.Errorf("%w: %d messages of %d", errNotAll, ack.Count, messages)
	}
	return nil
}

var errNotAll = errors.New("the server took a part of the batch")
