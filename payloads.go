package tasker

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// payloads reads and writes what is too large for state and events.
type payloads struct{ from domain.Store }

// load returns a payload's JSON, wherever it is. nil for none.
func (p payloads) load(ctx context.Context, x domain.Payload) (json.RawMessage, error) {
	switch {
	case x.JSON != nil:
		return x.JSON, nil
	case x.Blob != "":
		text, err := p.from.Blobs().Get(ctx, x.Blob)
		if err != nil {
			return nil, fmt.Errorf("payload %s: %w", x.Blob, err)
		}
		return text, nil
	case x.Pos.Sequence != 0:
		return p.fromLog(ctx, x.Pos)
	}
	return nil, nil
}

// fromLog reads the event that holds the payload.
func (p payloads) fromLog(ctx context.Context, at domain.Position) (json.RawMessage, error) {
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
	return p.load(ctx, domain.PayloadOf(commit.Records[at.Index].Event))
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
