package natslog

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
)

// kv implements domain.KV on a bucket. It is read through the stream's leader.
type kv struct {
	store  *Store
	bucket string
}

func (k kv) stream() string                { return "KV_" + k.bucket }
func (k kv) subject(key string) string     { return "$KV." + k.bucket + "." + encodeKey(key) }
func (k kv) doing(what, key string) string { return what + " key " + key + " of bucket " + k.bucket }

// Get implements domain.KV.
func (k kv) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if key == "" {
		return nil, 0, errEmptyKey
	}
	m, err := k.store.lastBySubject(ctx, k.stream(), k.subject(key))
	if err == nil {
		var gone bool
		if gone, err = isGone(m); gone {
			err = domain.ErrNoKey
		}
	} else if errors.Is(err, domain.ErrNoMessage) {
		err = domain.ErrNoKey
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", k.doing("reading", key), err)
	}
	return m.Data, m.Sequence, nil
}

// Put implements domain.KV.
func (k kv) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if key == "" {
		return 0, errEmptyKey
	}
	next, err := k.store.publishGuarded(ctx, k.subject(key), value, revision, nil)
	if isWrongSequence(err) && revision == 0 {
		// The key may have been deleted, which leaves a mark under it.
		m, lastErr := k.store.lastBySubject(ctx, k.stream(), k.subject(key))
		if lastErr == nil {
			if gone, goneErr := isGone(m); gone && goneErr == nil {
				next, err = k.store.publishGuarded(ctx, k.subject(key), value, m.Sequence, nil)
			}
		}
	}
	if isWrongSequence(err) {
		err = fmt.Errorf("%w: %w", domain.ErrConflict, err)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", k.doing("writing", key), err)
	}
	return next, nil
}

// Delete implements domain.KV. Deleting a key that does not exist does nothing.
func (k kv) Delete(ctx context.Context, key string) error {
	if key == "" {
		return errEmptyKey
	}
	_, err := k.store.publish(ctx, &nats.Msg{Subject: k.subject(key), Header: nats.Header{headerKVOperation: {"PURGE"}, headerRollup: {"sub"}}})
	if err != nil {
		return fmt.Errorf("%s: %w", k.doing("deleting", key), err)
	}
	return nil
}

// Keys implements domain.KV. They are sorted.
func (k kv) Keys(ctx context.Context) ([]string, error) {
	keys := []string{}
	prefix := "$KV." + k.bucket + "."
	err := k.store.lastOfEach(ctx, k.stream(), prefix+">", func(m *storedMessage) error {
		if gone, err := isGone(m); gone || err != nil {
			return err
		}
		key, err := decodeKey(strings.TrimPrefix(m.Subject, prefix))
		keys = append(keys, key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the keys of bucket %s: %w", k.bucket, err)
	}
	slices.Sort(keys)
	return keys, nil
}

var errEmptyKey = errors.New("a key must not be empty")

// encodeKey writes what cannot be part of a KV key as "=" and two hex digits: anything but letters, digits, "-", "_",
// "/", and "." where it would make an empty token.
func encodeKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
		if c == '.' {
			plain = i > 0 && i < len(key)-1 && key[i-1] != '.'
		}
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

func decodeKey(encoded string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(encoded); i++ {
		if encoded[i] != '=' {
			b.WriteByte(encoded[i])
			continue
		}
		if i+2 >= len(encoded) {
			return "", fmt.Errorf("key %q ends in the middle of an escape", encoded)
		}
		raw, err := hex.DecodeString(encoded[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("key %q: %w", encoded, err)
		}
		b.Write(raw)
		i += 2
	}
	return b.String(), nil
}
