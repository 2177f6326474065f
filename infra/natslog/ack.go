package natslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

var (
	ackSequence = []byte(`"seq":`)
	ackError    = []byte(`"error":`)
)

// parseAck reads an acknowledgement of JetStream, {"stream":"X","seq":12}, without a JSON decoder: there is one per
// commit.
func parseAck(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 {
		if m.Header.Get(headerStatus) == statusNoResponders {
			return 0, fmt.Errorf("%w: no stream listens on the subject", domain.ErrUnavailable)
		}
		return 0, errors.New("an acknowledgement without content")
	}
	if bytes.Contains(m.Data, ackError) {
		return 0, ackFailure(m.Data)
	}
	i := bytes.Index(m.Data, ackSequence)
	if i < 0 {
		return 0, fmt.Errorf("an acknowledgement without a sequence: %.200q", m.Data)
	}
	digits := m.Data[i+len(ackSequence):]
	end := 0
	for end < len(digits) && digits[end] >= '0' && digits[end] <= '9' {
		end++
	}
	sequence, err := strconv.ParseUint(string(digits[:end]), 10, 64)
	if err != nil || sequence == 0 {
		return 0, fmt.Errorf("an acknowledgement without a sequence: %.200q", m.Data)
	}
	return sequence, nil
}

func ackFailure(data []byte) error {
	var a struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &a); err != nil || a.Error == nil {
		return fmt.Errorf("an acknowledgement that cannot be read: %.200q", data)
	}
	return a.Error
}

// notStored says whether an error proves that the message of this send is not stored and will not be. A replicated
// stream may refuse and store the same message later, after a change of its leader, so only a size counts there, which
// does not change. "Wrong last sequence" never counts (DESIGN 5).
func notStored(err error, replicas int) bool {
	switch {
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrHeadersNotSupported):
		return true // the client refused it before a byte was sent
	case isCode(err, codeMessageTooLarge), isCode(err, codeHeaderTooLarge):
		return true
	case isCode(err, codeNoStorage):
		return replicas == 1
	}
	return false
}
