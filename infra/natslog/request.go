package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

const apiPrefix = "$JS.API."

// Codes of the JetStream API that are acted on. `nats errors lookup CODE` explains them.
const (
	codeClusterNotAvailable = 10008
	codeNoStorage           = 10023
	codeNoMemory            = 10028
	codeNoMessage           = 10037
	codeSequenceNotFound    = 10043
	codeStorageExceeded     = 10047
	codeStoreNotMade        = 10049
	codeMessageTooLarge     = 10054
	codeDeleteFailed        = 10057
	codeStreamNotFound      = 10059
	codeWrongSequence       = 10071
	codeStoreFailed         = 10077
	codeHeaderTooLarge      = 10097
	codeInFlight            = 10164
)

const (
	headerStatus         = "Status"
	headerExpectSequence = "Nats-Expected-Last-Sequence"
	headerExpectSubject  = "Nats-Expected-Last-Subject-Sequence"
	headerRollup         = "Nats-Rollup"
	headerTTL            = "Nats-TTL"
	headerMarkerReason   = "Nats-Marker-Reason"
	headerKVOperation    = "KV-Operation"
	headerCommit         = "Tasker-Commit"
	headerStream         = "Nats-Stream" // set by the server in the answer to a direct read
	statusNoResponders   = "503"
)

// bounded gives an answer of NATS at most answerTimeout.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerTimeout)
}

// unavailable marks the errors that mean "no answer", so that callers can tell them from refusals.
func unavailable(err error) error {
	if err == nil || errors.Is(err, domain.ErrUnavailable) {
		return err
	}
	for _, e := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed,
		nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrConnectionDraining,
		nats.ErrNoServers, nats.ErrStaleConnection, jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled,
	} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", domain.ErrUnavailable, err)
		}
	}
	if isCode(err, codeClusterNotAvailable) {
		return fmt.Errorf("%w: %w", domain.ErrUnavailable, err)
	}
	return err
}

// isCode matches both of nats.go's error types.
func isCode(err error, code uint16) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return uint16(api.ErrorCode) == code
	}
	var js jetstream.JetStreamError
	if errors.As(err, &js) && js.APIError() != nil {
		return uint16(js.APIError().ErrorCode) == code
	}
	return false
}

func isWrongSequence(err error) bool {
	return isCode(err, codeWrongSequence) || isCode(err, codeInFlight)
}

// ask sends a question to the JetStream API that may be asked again, and does so until it is answered: while a
// connection reconnects or a stream elects a leader, nobody answers.
func (s *Store) ask(ctx context.Context, subject string, question, answer any) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	for {
		err := s.askOnce(ctx, subject, body, answer)
		if err == nil || !errors.Is(err, domain.ErrUnavailable) || errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(reconnectWait):
		}
	}
}

func (s *Store) askOnce(ctx context.Context, subject string, body []byte, answer any) error {
	try, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	msg, err := s.nc.RequestWithContext(try, apiPrefix+subject, body)
	if err != nil {
		return unavailable(err)
	}
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &failed); err != nil {
		return fmt.Errorf("the answer to %s is not JSON: %w", subject, err)
	}
	if failed.Error != nil {
		return unavailable(failed.Error)
	}
	return json.Unmarshal(msg.Data, answer)
}

// streamInfo asks the stream's leader.
func (s *Store) streamInfo(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	var info jetstream.StreamInfo
	if err := s.ask(ctx, "STREAM.INFO."+stream, struct{}{}, &info); err != nil {
		return nil, err
	}
	return &info, nil
}

type getRequest struct {
	Sequence    uint64     `json:"seq,omitempty"`
	LastBySubj  string     `json:"last_by_subj,omitempty"`
	NextBySubj  string     `json:"next_by_subj,omitempty"`
	StartTime   *time.Time `json:"start_time,omitempty"`
	OmitHeaders bool       `json:"no_hdr,omitempty"`
}

type storedMessage struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

func (m *storedMessage) headers() (nats.Header, error) {
	if len(m.Header) == 0 {
		return nil, nil
	}
	return nats.DecodeHeadersMsg(m.Header)
}

// getMessage reads one message through the stream's leader. A direct read is faster, but a replica may be behind.
func (s *Store) getMessage(ctx context.Context, stream string, q getRequest) (*storedMessage, error) {
	var a struct {
		Message *storedMessage `json:"message"`
	}
	err := s.ask(ctx, "STREAM.MSG.GET."+stream, q, &a)
	if isCode(err, codeNoMessage) || err == nil && a.Message == nil {
		return nil, domain.ErrNoMessage
	}
	if err != nil {
		return nil, err
	}
	return a.Message, nil
}

func (s *Store) lastBySubject(ctx context.Context, stream, subject string) (*storedMessage, error) {
	return s.getMessage(ctx, stream, getRequest{LastBySubj: subject})
}

// subjects returns the subjects of a stream that match filter, with the number of their messages, as the leader has
// them: at most 100,000, which is what the server puts into one answer.
func (s *Store) subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	var info struct {
		State struct {
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
	}
	err := s.ask(ctx, "STREAM.INFO."+stream, map[string]string{"subjects_filter": filter}, &info)
	return info.State.Subjects, err
}

// lastOfEach calls each with the last message under every subject that matches filter, as the leader has it, in the order
// of subjects. (A consumer would be faster, but may read a replica that is behind.)
func (s *Store) lastOfEach(ctx context.Context, stream, filter string, each func(*storedMessage) error) error {
	subjects, err := s.subjects(ctx, stream, filter)
	if err != nil {
		return err
	}
	for _, subject := range slices.Sorted(maps.Keys(subjects)) {
		m, err := s.lastBySubject(ctx, stream, subject)
		if errors.Is(err, domain.ErrNoMessage) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// publishGuarded stores data under subject if last is still the subject's last sequence (0 = it has none), and returns
// the new one. isWrongSequence tells that it is not. It is sent once: without an answer the outcome is unknown.
func (s *Store) publishGuarded(ctx context.Context, subject string, data []byte, last uint64, header nats.Header) (uint64, error) {
	if header == nil {
		header = nats.Header{}
	}
	header[headerExpectSubject] = []string{strconv.FormatUint(last, 10)}
	return s.publish(ctx, &nats.Msg{Subject: subject, Data: data, Header: header})
}

// publish sends once and waits for the acknowledgement. Only when nobody listens, which proves that nothing is stored,
// it sends again: a cluster takes a moment to make the subjects of a new stream known, or those of a new leader.
func (s *Store) publish(ctx context.Context, msg *nats.Msg) (uint64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for {
		sequence, err := s.publishOnce(ctx, msg)
		if !errors.Is(err, nats.ErrNoResponders) {
			return sequence, err
		}
		select {
		case <-ctx.Done():
			return 0, unavailable(err)
		case <-time.After(reconnectWait):
		}
	}
}

// publishOnce sends once and waits for the acknowledgement. nats.ErrNoResponders proves that nothing is stored.
func (s *Store) publishOnce(ctx context.Context, msg *nats.Msg) (uint64, error) {
	answer, err := s.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return 0, unavailable(err)
	}
	sequence, err := parseAck(answer)
	return sequence, unavailable(err)
}

// purge removes messages of a stream: those below sequence, or those of a subject. It may be repeated.
func (s *Store) purge(ctx context.Context, stream string, sequence uint64, subject string) error {
	if sequence == 0 && subject == "" {
		return fmt.Errorf("refused to purge all of stream %s", stream)
	}
	q := struct {
		Sequence uint64 `json:"seq,omitempty"`
		Subject  string `json:"filter,omitempty"`
	}{sequence, subject}
	var a struct{}
	return s.ask(ctx, "STREAM.PURGE."+stream, q, &a)
}
