package natslog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

// Keys of a snapshot's metadata.
const (
	metaCommit = "tasker-commit"
	metaFormat = "tasker-format"
)

// snapshots implements domain.Snapshots: objects named <generation>/<partition>/<sequence>.
type snapshots struct{ store *Store }

func (s snapshots) objects() objects { return objects{s.store, s.store.names.bucket("SNAPSHOTS")} }

func (s snapshots) name(partition int, sequence uint64) string {
	return fmt.Sprintf("%d/%02d/%d", s.store.data.Generation, partition, sequence)
}

// chunkID lets the chunks of an upload that never ended be found.
func (s snapshots) chunkID(partition int, sequence uint64) string {
	return fmt.Sprintf("%d-%02d-%d", s.store.data.Generation, partition, sequence)
}

// Put implements domain.Snapshots. When the very same snapshot exists, it is returned; another one under the same
// sequence is a domain.ErrConflict.
func (s snapshots) Put(ctx context.Context, info domain.SnapshotInfo, content io.Reader) (domain.SnapshotInfo, error) {
	name := s.name(info.Partition, info.Sequence)
	meta := jetstream.ObjectMeta{
		Name:     name,
		Metadata: map[string]string{metaCommit: info.CommitID, metaFormat: strconv.Itoa(info.Format)},
	}
	digest := sha256.New()
	object, err := s.objects().put(ctx, s.chunkID(info.Partition, info.Sequence), meta, io.TeeReader(content, digest))
	if errors.Is(err, domain.ErrConflict) && object != nil {
		if _, copyErr := io.Copy(digest, content); copyErr == nil && object.Digest == digestHeader(digest) && object.Metadata[metaCommit] == info.CommitID {
			err = nil
		}
	}
	if err != nil {
		return domain.SnapshotInfo{}, fmt.Errorf("storing snapshot %s: %w", name, err)
	}
	return s.describe(object)
}

// describe reads a snapshot's description from its object's.
func (s snapshots) describe(o *jetstream.ObjectInfo) (domain.SnapshotInfo, error) {
	fail := func(err error) (domain.SnapshotInfo, error) {
		return domain.SnapshotInfo{}, fmt.Errorf("the description of snapshot %s: %w", o.Name, err)
	}
	tokens := strings.Split(o.Name, "/")
	if len(tokens) != 3 {
		return fail(errors.New("its name is not <generation>/<partition>/<sequence>"))
	}
	partition, err := strconv.Atoi(tokens[1])
	if err != nil {
		return fail(err)
	}
	sequence, err := strconv.ParseUint(tokens[2], 10, 64)
	if err != nil {
		return fail(err)
	}
	format, err := strconv.Atoi(o.Metadata[metaFormat])
	if err != nil {
		return fail(err)
	}
	return domain.SnapshotInfo{
		Partition: partition, Sequence: sequence, CommitID: o.Metadata[metaCommit], Format: format,
		Digest: digestText(o.Digest), Size: int64(o.Size), // #nosec G115 -- written by Put
	}, nil
}

// List implements domain.Snapshots. An object that is not a snapshot's is reported and passed over.
func (s snapshots) List(ctx context.Context, partition int) ([]domain.SnapshotInfo, error) {
	all, err := s.objects().list(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the snapshots of partition %02d: %w", partition, err)
	}
	prefix := s.name(partition, 0)
	prefix = prefix[:len(prefix)-1]
	infos := []domain.SnapshotInfo{}
	for _, o := range all {
		if !strings.HasPrefix(o.Name, prefix) {
			continue
		}
		info, err := s.describe(o)
		if err != nil {
			s.store.opts.Logger.Error("passing over a snapshot", "error", err)
			continue
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b domain.SnapshotInfo) int {
		if a.Sequence > b.Sequence {
			return -1
		}
		return 1
	})
	return infos, nil
}

// Get implements domain.Snapshots.
func (s snapshots) Get(ctx context.Context, info domain.SnapshotInfo) ([]byte, error) {
	name := s.name(info.Partition, info.Sequence)
	content, err := s.objects().get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading snapshot %s: %w", name, err)
	}
	if sum := sha256.Sum256(content); info.Digest != "" && info.Digest != "sha256-"+hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("reading snapshot %s: it is not the one with digest %s", name, info.Digest)
	}
	return content, nil
}

// Delete implements domain.Snapshots. Deleting one that does not exist does nothing. It also removes what uploads of the
// same partition that never ended have left behind, below the deleted one.
func (s snapshots) Delete(ctx context.Context, info domain.SnapshotInfo) error {
	name := s.name(info.Partition, info.Sequence)
	if err := s.objects().remove(ctx, name); err != nil {
		return fmt.Errorf("deleting snapshot %s: %w", name, err)
	}
	if err := s.sweep(ctx, info); err != nil {
		return fmt.Errorf("removing the rests of snapshots below %s: %w", name, err)
	}
	return nil
}

// sweep removes chunks below a deleted snapshot that no description names. Nobody uploads there any more: a newer one
// exists, or there would be no reason to delete this one.
func (s snapshots) sweep(ctx context.Context, deleted domain.SnapshotInfo) error {
	o := s.objects()
	chunks, err := s.store.subjects(ctx, o.stream(), o.chunks("*"))
	if err != nil || len(chunks) == 0 {
		return err
	}
	objects, err := o.list(ctx)
	if err != nil {
		return err
	}
	for _, object := range objects {
		delete(chunks, o.chunks(object.NUID))
	}
	prefix := o.chunks(fmt.Sprintf("%d-%02d-", s.store.data.Generation, deleted.Partition))
	for subject := range chunks {
		rest, ok := strings.CutPrefix(subject, prefix)
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, "-")
		if sequence, err := strconv.ParseUint(number, 10, 64); err != nil || sequence > deleted.Sequence {
			continue
		}
		if err := s.store.purge(ctx, o.stream(), 0, subject); err != nil {
			return err
		}
	}
	return nil
}

// blobs implements domain.Blobs: objects named by their digest.
type blobs struct{ store *Store }

func (b blobs) objects() objects { return objects{b.store, b.store.names.bucket("BLOBS")} }

// Put implements domain.Blobs.
func (b blobs) Put(ctx context.Context, content []byte) (string, error) {
	sum := sha256.Sum256(content)
	digest := "sha256-" + hex.EncodeToString(sum[:])
	_, err := b.objects().put(ctx, digest, jetstream.ObjectMeta{Name: digest}, bytes.NewReader(content))
	if err != nil && !errors.Is(err, domain.ErrConflict) {
		return "", fmt.Errorf("storing blob %s: %w", digest, err)
	}
	return digest, nil
}

// Get implements domain.Blobs.
func (b blobs) Get(ctx context.Context, digest string) ([]byte, error) {
	content, err := b.objects().get(ctx, digest)
	if err == nil {
		if sum := sha256.Sum256(content); digest != "sha256-"+hex.EncodeToString(sum[:]) {
			err = errors.New("its content has another digest")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading blob %s: %w", digest, err)
	}
	return content, nil
}
