package tasker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// payloads reads and writes what is too large for state and events. What was read lately is kept: the steps of a task
// ask for the same context one after the other, and those of other tasks in the same commit for its neighbours.
type payloads struct {
	from  domain.Store
	cache *payloadCache
}

// Limits of the cache, per process.
const (
	cachedPayloads = 16 << 10
	cachedBytes    = 16 << 20
)

// payloadCache drops the oldest when it is full.
type payloadCache struct {
	mu      sync.Mutex
	texts   map[cacheKey]json.RawMessage
	order   []cacheKey
	bytes   int
	reading map[domain.Position]chan struct{} // commits that somebody reads; closed when they have been read
}

// cacheKey is what a payload refers to: an event, or a blob.
type cacheKey struct {
	at   domain.Position
	blob string
}

func (c *payloadCache) get(at domain.Position, blob string) (json.RawMessage, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, ok := c.texts[cacheKey{at, blob}]
	return text, ok
}

func (c *payloadCache) put(at domain.Position, blob string, text json.RawMessage) {
	if len(text) > cachedBytes/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := cacheKey{at, blob}
	if _, ok := c.texts[key]; ok {
		return
	}
	c.texts[key] = text
	c.order = append(c.order, key)
	c.bytes += len(text)
	for len(c.order) > cachedPayloads || c.bytes > cachedBytes {
		c.bytes -= len(c.texts[c.order[0]])
		delete(c.texts, c.order[0])
		c.order = c.order[1:]
	}
}

// read waits for the reader of the commit, if there is one, and reports false; or makes the caller the reader.
func (c *payloadCache) read(ctx context.Context, commit domain.Position) (first bool, done func(), err error) {
	c.mu.Lock()
	other := c.reading[commit]
	if other == nil {
		mine := make(chan struct{})
		c.reading[commit] = mine
		c.mu.Unlock()
		return true, func() {
			c.mu.Lock()
			delete(c.reading, commit)
			c.mu.Unlock()
			close(mine)
		}, nil
	}
	c.mu.Unlock()
	select {
	case <-other:
		return false, nil, nil
	case <-ctx.Done():
		return false, nil, ctx.Err()
	}
}

func newPayloads(store domain.Store) payloads {
	return payloads{store, &payloadCache{texts: map[cacheKey]json.RawMessage{}, reading: map[domain.Position]chan struct{}{}}}
}

// load returns a payload's JSON, wherever it is. nil for none.
func (p payloads) load(ctx context.Context, x domain.Payload) (json.RawMessage, error) {
	if x.JSON != nil || x.IsZero() {
		return x.JSON, nil
	}
	if text, ok := p.cache.get(x.Pos, x.Blob); ok {
		return text, nil
	}
	if x.Blob == "" {
		return p.fromLog(ctx, x.Pos)
	}
	text, err := p.from.Blobs().Get(ctx, x.Blob)
	if err != nil {
		return nil, fmt.Errorf("payload %s: %w", x.Blob, err)
	}
	p.cache.put(x.Pos, x.Blob, text)
	return text, nil
}

// fromLog reads the event that holds the payload. A commit may hold the payloads of hundreds of tasks, and is half a
// megabyte then: it is read once for all that ask, and all its payloads are kept.
func (p payloads) fromLog(ctx context.Context, at domain.Position) (json.RawMessage, error) {
	first, done, err := p.cache.read(ctx, domain.Position{Partition: at.Partition, Sequence: at.Sequence})
	if err != nil {
		return nil, fmt.Errorf("payload of event %s: %w", at, err)
	}
	if first {
		defer done()
	}
	if text, ok := p.cache.get(at, ""); ok {
		return text, nil
	}
	msg, err := p.from.Log(at.Partition).Read(ctx, at.Sequence)
	if err != nil {
		return nil, fmt.Errorf("payload of event %s: %w", at, err)
	}
	commit, err := domain.DecodeCommit(msg.Data, at.Partition, at.Sequence)
	if err != nil {
		return nil, fmt.Errorf("payload of event %s: %w", at, err)
	}
	if at.Index >= len(commit.Records) {
		return nil, fmt.Errorf("payload of event %s: the commit has %d events", at, len(commit.Records))
	}
	for i, r := range commit.Records {
		if x := domain.PayloadOf(r.Event); len(x.JSON) > domain.InlineState && i != at.Index {
			at := domain.Position{Partition: at.Partition, Sequence: at.Sequence, Index: i}
			p.cache.put(at, "", bytes.Clone(x.JSON)) // or it would keep the whole message
		}
	}
	wanted := domain.PayloadOf(commit.Records[at.Index].Event)
	if wanted.JSON == nil {
		return p.load(ctx, wanted)
	}
	text := bytes.Clone(wanted.JSON)
	p.cache.put(at, "", text)
	return text, nil
}

// store makes a payload of JSON text that is valid and compact.
func (p payloads) store(ctx context.Context, text json.RawMessage) (domain.Payload, error) {
	if len(text) <= domain.InlineLog {
		return domain.Inline(text), nil
	}
	if len(text) > domain.MaxPayload {
		return domain.Payload{}, fmt.Errorf("%d bytes are more than a context or result may have (%d): store it elsewhere and hand over a reference",
			len(text), domain.MaxPayload)
	}
	digest, err := p.from.Blobs().Put(ctx, text)
	if err != nil {
		return domain.Payload{}, err
	}
	return domain.Payload{Blob: digest, Size: len(text)}, nil
}
