package natslog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tasker-go/tasker/domain"
)

// objects writes and reads an object store in the form of NATS ADR-20, which `nats object` understands. nats.go's own
// writer sends the description without knowing that all of the content arrived; this one waits.
type objects struct {
	store  *Store
	bucket string
}

const (
	chunkBytes   = 128 << 10
	chunksFlight = 64 // chunks sent ahead of their acknowledgements
)

func (o objects) stream() string            { return "OBJ_" + o.bucket }
func (o objects) chunks(nuid string) string { return "$O." + o.bucket + ".C." + nuid }
func (o objects) meta(name string) string {
	return "$O." + o.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// put stores content under a name that nobody used, and returns its description. domain.ErrConflict and the existing
// description when somebody did. id begins the subject of the chunks, which nobody can see before the description is
// stored, last.
func (o objects) put(ctx context.Context, id string, m jetstream.ObjectMeta, content io.Reader) (*jetstream.ObjectInfo, error) {
	info := &jetstream.ObjectInfo{ObjectMeta: m, Bucket: o.bucket, NUID: id + "-" + nuid.Next()}
	info.Opts = &jetstream.ObjectMetaOptions{ChunkSize: chunkBytes}
	existing, last, err := o.info(ctx, m.Name)
	if err == nil {
		return existing, domain.ErrConflict
	}
	if !errors.Is(err, domain.ErrNoKey) {
		return nil, err
	}
	err = o.upload(ctx, info, content)
	if err == nil {
		info.ModTime = time.Now().UTC()
		err = o.describe(ctx, info, last)
	}
	if err == nil {
		return info, nil
	}
	// What was uploaded is of no use, and is only removed to save space.
	clean, cancel := bounded(context.WithoutCancel(ctx))
	defer cancel()
	if isWrongSequence(err) {
		_ = o.store.purge(clean, o.stream(), 0, o.chunks(info.NUID))
		if existing, _, infoErr := o.info(ctx, m.Name); infoErr == nil {
			return existing, domain.ErrConflict
		}
		return nil, domain.ErrConflict
	}
	if !errors.Is(err, domain.ErrUnavailable) {
		_ = o.store.purge(clean, o.stream(), 0, o.chunks(info.NUID))
	}
	return nil, err
}

// upload sends the chunks, and returns when all of them are stored.
func (o objects) upload(ctx context.Context, info *jetstream.ObjectInfo, content io.Reader) error {
	var (
		digest  = sha256.New()
		subject = o.chunks(info.NUID)
		flight  []jetstream.PubAckFuture
	)
	for last := false; !last; {
		chunk := make([]byte, chunkBytes) // nats.go keeps it until it is acknowledged
		n, err := io.ReadFull(content, chunk)
		last = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("reading the content: %w", err)
		}
		if n > 0 {
			digest.Write(chunk[:n])
			info.Size += uint64(n) // #nosec G115 -- never negative
			info.Chunks++
			f, err := o.store.js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: chunk[:n]})
			if err != nil {
				return unavailable(err)
			}
			flight = append(flight, f)
		}
		for len(flight) >= chunksFlight || last && len(flight) > 0 {
			if err := stored(ctx, flight[0]); err != nil {
				return err
			}
			flight = flight[1:]
		}
	}
	info.Digest = digestHeader(digest)
	return nil
}

func stored(ctx context.Context, f jetstream.PubAckFuture) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return unavailable(err)
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

func (o objects) describe(ctx context.Context, info *jetstream.ObjectInfo, last uint64) error {
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	_, err = o.store.publishGuarded(ctx, o.meta(info.Name), data, last, nats.Header{headerRollup: {"sub"}})
	return err
}

// info returns the description of an object and its sequence. domain.ErrNoKey when there is none, with the sequence of
// the mark that a deletion by other tools left, or 0.
func (o objects) info(ctx context.Context, name string) (*jetstream.ObjectInfo, uint64, error) {
	m, err := o.store.lastBySubject(ctx, o.stream(), o.meta(name))
	if errors.Is(err, domain.ErrNoMessage) {
		return nil, 0, domain.ErrNoKey
	}
	if err != nil {
		return nil, 0, err
	}
	var info jetstream.ObjectInfo
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return nil, 0, fmt.Errorf("the description of object %s: %w", name, err)
	}
	if info.Deleted {
		return nil, m.Sequence, domain.ErrNoKey
	}
	return &info, m.Sequence, nil
}

// get returns the content of an object and verifies it.
func (o objects) get(ctx context.Context, name string) ([]byte, error) {
	info, _, err := o.info(ctx, name)
	if err != nil {
		return nil, err
	}
	var (
		digest  = sha256.New()
		content = bytes.NewBuffer(make([]byte, 0, info.Size))
		left    = info.Chunks
	)
	r := &reader{store: o.store, stream: o.stream(), filter: o.chunks(info.NUID), patience: answerTimeout}
	r.each = func(d delivery) error {
		if uint64(content.Len()+len(d.msg.Data)) > info.Size {
			return fmt.Errorf("object %s is larger than the %d bytes described", name, info.Size)
		}
		digest.Write(d.msg.Data)
		content.Write(d.msg.Data)
		if left--; left == 0 {
			return errEnough
		}
		return nil
	}
	r.idle = func(ctx context.Context) (bool, error) {
		// The consumer may read a replica that is behind: only the leader knows that a chunk is missing.
		chunks, err := o.store.subjects(ctx, o.stream(), r.filter)
		if have := chunks[r.filter]; err == nil && have < uint64(info.Chunks) {
			err = fmt.Errorf("object %s is incomplete: it has %d of %d chunks", name, have, info.Chunks)
		}
		return false, err
	}
	if left > 0 {
		if err := r.run(ctx); err != nil {
			return nil, err
		}
	}
	if have := digestHeader(digest); have != info.Digest {
		return nil, fmt.Errorf("object %s is damaged: its digest is %s, not %s", name, have, info.Digest)
	}
	return content.Bytes(), nil
}

// list returns the descriptions of all objects.
func (o objects) list(ctx context.Context) ([]*jetstream.ObjectInfo, error) {
	var infos []*jetstream.ObjectInfo
	err := o.store.lastOfEach(ctx, o.stream(), "$O."+o.bucket+".M.>", func(m *storedMessage) error {
		var info jetstream.ObjectInfo
		if err := json.Unmarshal(m.Data, &info); err != nil {
			return fmt.Errorf("the description of object %s: %w", m.Subject, err)
		}
		if !info.Deleted {
			infos = append(infos, &info)
		}
		return nil
	})
	return infos, err
}

// remove makes an object invisible first, so that a crash in between leaves only space lost.
func (o objects) remove(ctx context.Context, name string) error {
	info, _, err := o.info(ctx, name)
	if errors.Is(err, domain.ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := o.store.purge(ctx, o.stream(), 0, o.meta(name)); err != nil {
		return err
	}
	return o.store.purge(ctx, o.stream(), 0, o.chunks(info.NUID))
}

// digestHeader is the form of a digest in ADR-20, digestText ours.
func digestHeader(h hash.Hash) string {
	return "SHA-256=" + base64.URLEncoding.EncodeToString(h.Sum(nil))
}

func digestText(header string) string {
	raw, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(header, "SHA-256="))
	if err != nil {
		return header
	}
	return "sha256-" + hex.EncodeToString(raw)
}
