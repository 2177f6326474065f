package jetstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// Metadata that a Subscriber adds and a Publisher fills in once the message is stored. They say where a message is, so they
// are not sent as headers when it is published again.
const (
	// MetaSubject is the subject that the message was published to.
	MetaSubject = "_jetstream_subject"
	// MetaStream is the name of the stream that holds the message. The publisher sets it, too.
	MetaStream = "_jetstream_stream"
	// MetaSequence is the message's sequence in its stream, decimal, from 1. The publisher sets it, too.
	MetaSequence = "_jetstream_sequence"
	// MetaTime is when the server stored the message: RFC 3339 with nanoseconds, UTC.
	MetaTime = "_jetstream_time"
	// MetaDelivered says how often the server delivered the message to this consumer, this time included: from 1. It counts
	// deliveries that never reached a handler, too: one per shutdown while the message waited in memory.
	MetaDelivered = "_jetstream_delivered"
	// MetaDuplicate is "true" when the server had stored a message with the same Nats-Msg-Id before, so did not store this
	// one; MetaSequence is that one's. Set by the publisher only.
	MetaDuplicate = "_jetstream_duplicate"
)

// Metadata that a Publisher sends to the server as it is. These are the server's own headers: the stock publisher sends them, too.
const (
	// MetaMessageID has the server drop a message that it stored under the same id within the stream's duplicate window.
	MetaMessageID = "Nats-Msg-Id"
	// MetaExpectSequence is the sequence that the stream's last message must have: decimal, 0 for an empty stream. Otherwise
	// Publish fails with a *ConflictError.
	MetaExpectSequence = "Nats-Expected-Last-Sequence"
	// MetaExpectSubjectSequence is the sequence that the last message of the same subject must have, 0 for none.
	MetaExpectSubjectSequence = "Nats-Expected-Last-Subject-Sequence"
	// MetaExpectSubject lets MetaExpectSubjectSequence speak of the last message of this subject, which may have wildcards.
	MetaExpectSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
)

const (
	uuidHeader   = "_watermill_message_uuid"
	ownPrefix    = "_jetstream_"
	serverPrefix = "nats-" // compared without case
)

func isServerHeader(key string) bool {
	return len(key) >= len(serverPrefix) && strings.EqualFold(key[:len(serverPrefix)], serverPrefix)
}

// Marshal is a message as it goes over the wire. It fails for metadata keys that cannot be headers. Line breaks in a value become
// spaces on the way: headers have none.
func Marshal(topic string, m *message.Message) (*nats.Msg, error) {
	h := make(nats.Header, len(m.Metadata)+1)
	if m.UUID != "" {
		h[uuidHeader] = []string{m.UUID}
	}
	for k, v := range m.Metadata {
		if strings.HasPrefix(k, ownPrefix) || k == uuidHeader {
			continue
		}
		if !validHeader(k) {
			return nil, fmt.Errorf("metadata key %q cannot be a NATS header: use printable ASCII without spaces and colons", k)
		}
		h[k] = []string{v}
	}
	return &nats.Msg{Subject: topic, Header: h, Data: m.Payload}, nil
}

func validHeader(key string) bool {
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return key != ""
}

// Unmarshal is a message that a consumer delivered, whoever published it; it fails only for one that no consumer did. A
// header with several values becomes one, joined by ", ". A message without a UUID gets its stream and sequence for one, which
// is the same at every delivery. The server's own headers are left out.
func Unmarshal(raw *nats.Msg) (*message.Message, error) {
	meta, err := raw.Metadata()
	if err != nil {
		return nil, fmt.Errorf("a message on %s is not from a stream's consumer: %w", raw.Subject, err)
	}
	return unmarshal(raw, meta), nil
}

func unmarshal(raw *nats.Msg, meta *nats.MsgMetadata) *message.Message {
	sequence := strconv.FormatUint(meta.Sequence.Stream, 10)
	m := message.NewMessage("", raw.Data)
	md := make(message.Metadata, len(raw.Header)+5)
	for k, vs := range raw.Header {
		switch {
		case k == uuidHeader && len(vs) > 0:
			m.UUID = vs[0]
		case isServerHeader(k):
		case len(vs) == 1:
			md[k] = vs[0]
		default:
			md[k] = strings.Join(vs, ", ")
		}
	}
	if m.UUID == "" {
		m.UUID = meta.Stream + "-" + sequence
	}
	md[MetaSubject] = raw.Subject
	md[MetaStream] = meta.Stream
	md[MetaSequence] = sequence
	md[MetaTime] = meta.Timestamp.UTC().Format(time.RFC3339Nano)
	md[MetaDelivered] = strconv.FormatUint(meta.NumDelivered, 10)
	m.Metadata = md
	return m
}

// Sequence is the sequence of a message that came from a Subscriber or was stored by a Publisher, 0 for any other.
func Sequence(m *message.Message) uint64 {
	n, err := strconv.ParseUint(m.Metadata.Get(MetaSequence), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
