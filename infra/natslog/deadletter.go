package natslog

import (
	"context"
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

const (
	headerReason    = "Tasker-Reason"
	headerTruncated = "Tasker-Truncated"
)

type deadLetters struct{ store *Store }

// Put implements domain.DeadLetters. Its subject is tasker.dead.<kind>.<name>; what cannot be part of a subject becomes
// "_". A body that is too large for a message is cut, and the header Tasker-Truncated says how large it was.
func (d deadLetters) Put(ctx context.Context, letter domain.DeadLetter) error {
	m := &nats.Msg{
		Subject: d.store.names.subject + ".dead." + subjectToken(letter.Kind) + "." + subjectToken(letter.Name),
		Header:  nats.Header{},
		Data:    letter.Data,
	}
	size := 0
	for k, v := range letter.Headers {
		k = subjectToken(k)
		if size += len(k) + len(v) + 4; size > deadHeaders {
			m.Header[headerTruncated] = []string{"headers"}
			break
		}
		m.Header[k] = []string{oneLine(v)}
	}
	// Last, so that original headers do not replace it.
	m.Header[headerReason] = []string{oneLine(letter.Reason[:min(len(letter.Reason), deadReason)])}
	if room := int(d.store.nc.MaxPayload()) - min(size, deadHeaders) - deadReason - deadSpare; len(m.Data) > room {
		m.Header[headerTruncated] = []string{strconv.Itoa(len(m.Data))}
		m.Data = m.Data[:max(0, room)]
	}
	if _, err := d.store.publish(ctx, m); err != nil {
		return fmt.Errorf("storing a dead letter under %s: %w", m.Subject, err)
	}
	return nil
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
