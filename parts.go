package tasker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tasker-go/tasker/subscribers"
)

// An answer that is larger than a message of NATS (a task of 10,000 steps, a result of 16 MiB) is kept by the one who
// answers, and fetched in parts.
const (
	largestAnswer = 1<<20 - 4<<10 // bytes; the server's limit is 1 MiB
	partSize      = 512 << 10     // in JSON a third more
	partsKept     = 64 << 20      // of all answers together
	partsPatience = 30 * time.Second
)

// partsView says how to fetch an answer.
type partsView struct {
	Token string `json:"token"`
	Count int    `json:"count"`
}

type partRequest struct {
	Token string `json:"token"`
	Index int    `json:"index"`
}

// parts are the answers that are being fetched.
type parts struct {
	mu    sync.Mutex
	kept  map[string]keptAnswer
	order []string // the oldest first; some are gone already
	bytes int
}

type keptAnswer struct {
	data  []byte
	until time.Time
}

// keep holds an answer until its last part is taken, for half a minute at most. Older ones make room.
func (p *parts) keep(data []byte) (*partsView, error) {
	if len(data) > partsKept {
		return nil, fmt.Errorf("the answer has %d bytes; at most %d are possible: read the log (History, Replay)", len(data), partsKept)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.order) > 0 && (p.bytes+len(data) > partsKept || !now.Before(p.kept[p.order[0]].until)) {
		p.drop(p.order[0])
		p.order = p.order[1:]
	}
	if p.kept == nil {
		p.kept = map[string]keptAnswer{}
	}
	token := rand.Text()
	p.kept[token] = keptAnswer{data, now.Add(partsPatience)}
	p.order = append(p.order, token)
	p.bytes += len(data)
	return &partsView{token, (len(data) + partSize - 1) / partSize}, nil
}

func (p *parts) drop(token string) {
	p.bytes -= len(p.kept[token].data)
	delete(p.kept, token)
}

// take gives one part. subscribers.ErrNotOwner when it is not here: whoever asks begins again.
func (p *parts) take(r *partRequest) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	data := p.kept[r.Token].data
	from := r.Index * partSize
	if r.Index < 0 || from >= len(data) {
		return nil, subscribers.ErrNotOwner
	}
	if end := from + partSize; end < len(data) {
		return data[from:end], nil
	}
	p.drop(r.Token)
	return data[from:], nil
}

// gather fetches an answer in parts.
func gather(ctx context.Context, from commander, partition int, view *partsView) (*response, error) {
	var all []byte
	for i := range view.Count {
		text, err := json.Marshal(request{Op: opPart, Part: &partRequest{view.Token, i}})
		if err != nil {
			return nil, err
		}
		try, cancel := context.WithTimeout(ctx, patience)
		answer, err := from.Request(try, partition, text)
		cancel()
		if err != nil {
			return nil, err
		}
		part, err := readAnswer(answer, partition)
		if err == nil {
			err = part.Error.err()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, part.Part...)
	}
	return readAnswer(all, partition)
}

func readAnswer(text []byte, partition int) (*response, error) {
	var resp response
	if err := json.Unmarshal(text, &resp); err != nil {
		return nil, fmt.Errorf("the answer of partition %02d's owner cannot be read: %w", partition, err)
	}
	return &resp, nil
}

// fit is an answer as it travels: what is too large for a message is kept and announced.
func (p *parts) fit(out []byte, err error) []byte {
	var view *partsView
	if err == nil && len(out) > largestAnswer {
		view, err = p.keep(out)
	}
	if err != nil || view != nil {
		out, _ = json.Marshal(response{Parts: view, Error: toWire(err)})
	}
	return out
}
