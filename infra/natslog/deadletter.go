package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
)

// Limits of a dead letter. What is longer is cut: a letter that can not be stored is lost.
const (
	deadToken   = 64       // bytes of a token of its subject
	deadReason  = 4 << 10  // bytes of the reason
	deadHeaders = 32 << 10 // bytes of all other headers; the server's limit is 64 KiB for all
	deadSpare   = 4 << 10  // bytes of the largest message that are left for what is added here
)

// Headers of a dead letter. Original headers are JSON in one of them: as headers of their own they would mean something to
// NATS, such as to expire or to replace the other letters.
const (
	headerReason    = "Tasker-Reason"
	headerTruncated = "Tasker-Truncated"
	headerName      = "Tasker-Name"
	headerSubject   = "Tasker-Subject"
	headerOriginal  = "Tasker-Headers"
	headerMessageID = "Nats-Msg-Id"
	headerSize      = "Nats-Msg-Size" // of a message whose body was left out
)

const truncatedHeaders = "headers"

type deadLetters struct{ store *Store }

func (d deadLetters) subject(kind string) string {
	return d.store.names.subject + ".dead." + subjectToken(kind)
}

// Put implements domain.DeadLetters. Its subject is tasker.dead.<kind>.<name>; what cannot be part of a subject becomes
// "_". A body that is too large for a message is cut, and the header Tasker-Truncated says how large it was.
func (d deadLetters) Put(ctx context.Context, letter domain.DeadLetter) error {
	m := &nats.Msg{
		Subject: d.subject(letter.Kind) + "." + subjectToken(letter.Name),
		Header:  nats.Header{},
		Data:    letter.Data,
	}
	size := 0
	set := func(k, v string) {
		if n := len(k) + len(v) + 4; size+n > deadHeaders {
			m.Header[headerTruncated] = []string{truncatedHeaders}
		} else {
			size += n
			m.Header[k] = []string{v}
		}
	}
	for k, v := range letter.Headers {
		set(subjectToken(k), oneLine(v))
	}
	if letter.Subject != "" {
		set(headerSubject, oneLine(letter.Subject))
	}
	if len(letter.Original) > 0 {
		text, err := json.Marshal(letter.Original)
		if err != nil {
			return fmt.Errorf("storing a dead letter under %s: %w", m.Subject, err)
		}
		set(headerOriginal, string(text))
	}
	// Last, so that other headers do not replace them.
	delete(m.Header, headerMessageID)
	set(headerName, oneLine(letter.Name))
	if letter.Once != "" {
		m.Header[headerMessageID] = []string{oneLine(letter.Once[:min(len(letter.Once), deadReason)])}
	}
	m.Header[headerReason] = []string{oneLine(strings.ToValidUTF8(letter.Reason[:min(len(letter.Reason), deadReason)], ""))}
	if room := int(d.store.nc.MaxPayload()) - size - 2*deadReason - deadSpare; len(m.Data) > room {
		m.Header[headerTruncated] = []string{strconv.Itoa(len(m.Data))}
		m.Data = m.Data[:max(0, room)]
	}
	if _, err := d.store.publish(ctx, m); err != nil {
		return fmt.Errorf("storing a dead letter under %s: %w", m.Subject, err)
	}
	return nil
}

// List implements domain.DeadLetters.
func (d deadLetters) List(ctx context.Context, filter domain.LetterFilter) ([]domain.StoredLetter, error) {
	subject := d.store.names.subject + ".dead.>"
	if filter.Kind != "" {
		subject = d.subject(filter.Kind) + ".>"
	}
	info, err := d.store.streamInfo(ctx, d.store.names.dead())
	if err != nil {
		return nil, fmt.Errorf("listing the dead letters: %w", err)
	}
	last := info.State.LastSeq
	var letters []domain.StoredLetter
	if info.State.Msgs == 0 || filter.After >= last {
		return letters, nil
	}
	r := &reader{
		store: d.store, stream: d.store.names.dead(), filter: subject, headersOnly: true, next: filter.After + 1, patience: answerTimeout,
		each: func(m delivery) error {
			if m.sequence > last {
				return errEnough
			}
			letter, err := storedLetter(m.msg.Subject, m.msg.Header)
			if err != nil {
				return err
			}
			letter.Sequence, letter.Time = m.sequence, m.time
			letters = append(letters, letter)
			if m.sequence == last || len(letters) == filter.Limit {
				return errEnough
			}
			return nil
		},
	}
	// The consumer may read a replica that is behind, so the leader says whether that was all.
	r.idle = func(ctx context.Context) (bool, error) {
		m, err := d.store.getMessage(ctx, r.stream, getRequest{Sequence: r.next, NextBySubj: subject, OmitHeaders: true})
		if errors.Is(err, domain.ErrNoMessage) {
			return true, nil
		}
		return err == nil && m.Sequence > last, err
	}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("listing the dead letters: %w", err)
	}
	return letters, nil
}

// Get implements domain.DeadLetters.
func (d deadLetters) Get(ctx context.Context, sequence uint64) (domain.StoredLetter, error) {
	fail := func(err error) (domain.StoredLetter, error) {
		return domain.StoredLetter{}, fmt.Errorf("reading dead letter %d: %w", sequence, err)
	}
	if sequence == 0 {
		return fail(domain.ErrNoMessage)
	}
	m, err := d.store.getMessage(ctx, d.store.names.dead(), getRequest{Sequence: sequence})
	if err != nil {
		return fail(err)
	}
	header, err := m.headers()
	if err != nil {
		return fail(err)
	}
	letter, err := storedLetter(m.Subject, header)
	if err != nil {
		return fail(err)
	}
	letter.Sequence, letter.Time, letter.Data, letter.Size = sequence, m.Time, m.Data, len(m.Data)
	return letter, nil
}

// storedLetter reads what stands in subject and headers.
func storedLetter(subject string, header nats.Header) (domain.StoredLetter, error) {
	tokens := strings.Split(subject, ".")
	letter := domain.StoredLetter{Truncated: header.Get(headerTruncated)}
	if len(tokens) < 3 {
		return letter, fmt.Errorf("a message with the subject %q is no dead letter", subject)
	}
	letter.Kind, letter.Name = tokens[2], strings.Join(tokens[3:], ".")
	letter.Headers = map[string]string{}
	for k, values := range header {
		value := strings.Join(values, ", ")
		switch k {
		case headerName:
			letter.Name = value
		case headerReason:
			letter.Reason = value
		case headerSubject:
			letter.Subject = value
		case headerMessageID:
			letter.Once = value
		case headerSize:
			letter.Size, _ = strconv.Atoi(value)
		case headerOriginal:
			if err := json.Unmarshal([]byte(value), &letter.Original); err != nil {
				letter.Truncated = truncatedHeaders // somebody else's letter: what it was cannot be told
			}
		case headerTruncated:
		default:
			letter.Headers[k] = value
		}
	}
	return letter, nil
}

// Delete implements domain.DeadLetters.
func (d deadLetters) Delete(ctx context.Context, sequence uint64) error {
	q := struct {
		Sequence uint64 `json:"seq"`
		NoErase  bool   `json:"no_erase"` // overwriting what was deleted costs more than it is worth
	}{sequence, true}
	var a struct{}
	err := d.store.ask(ctx, "STREAM.MSG.DELETE."+d.store.names.dead(), q, &a)
	if isCode(err, codeNoMessage) || isCode(err, codeSequenceNotFound) || isCode(err, codeDeleteFailed) {
		if _, gone := d.Get(ctx, sequence); errors.Is(gone, domain.ErrNoMessage) {
			err = domain.ErrNoMessage
		}
	}
	if err != nil {
		return fmt.Errorf("deleting dead letter %d: %w", sequence, err)
	}
	return nil
}

// DeleteAll implements domain.DeadLetters.
func (d deadLetters) DeleteAll(ctx context.Context, kind string) (uint64, error) {
	q := struct {
		Filter string `json:"filter,omitempty"`
	}{}
	if kind != "" {
		q.Filter = d.subject(kind) + ".>"
	}
	var a struct {
		Purged uint64 `json:"purged"`
	}
	if err := d.store.ask(ctx, "STREAM.PURGE."+d.store.names.dead(), q, &a); err != nil {
		return 0, fmt.Errorf("deleting the dead letters: %w", err)
	}
	return a.Purged, nil
}

// subjectToken replaces what has a meaning in subjects, and what a terminal may not like.
func subjectToken(s string) string {
	if s == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s[:min(len(s), deadToken)])
}

func oneLine(s string) string {
	return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(s)
}
