package tasker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// importCheck reads an export, folds it, and refuses what no engine would have stored. It changes nothing.
type importCheck struct {
	file   string
	header importLine
	report ImportReport
	lines  *lineReader

	parts     []*importPart
	blobs     map[string]bool
	published map[string]bool
	decoder   domain.Decoder
	prev      map[TaskID]uint64 // of the tasks in one message
	snapshot  []byte            // of which more is to come
	of        string            // which snapshot
}

// importPart is what is known of one partition so far.
type importPart struct {
	number      int
	first, last uint64
	next        uint64
	begun       bool
	state       *projections.Partition // nil until its snapshot has come, where there must be one
	commit      string                 // of the snapshot
	unreadable  map[uint64]int         // sequence -> line of what an operator must have skipped
}

func newImportCheck(file string) *importCheck {
	return &importCheck{file: file, blobs: map[string]bool{}, published: map[string]bool{}, prev: map[TaskID]uint64{}}
}

// run reads everything.
func (c *importCheck) run(ctx context.Context, file io.Reader) error {
	c.lines = newLineReader(c.file, file)
	if err := c.lines.next(&c.header); err != nil {
		return err
	}
	if err := c.begin(); err != nil {
		return c.lines.fail(err)
	}
	var line importLine
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.lines.next(&line); err != nil {
			return err
		}
		if line.End {
			break
		}
		if err := c.line(&line); err != nil {
			return c.lines.fail(err)
		}
	}
	if err := c.end(&line); err != nil {
		return c.lines.fail(err)
	}
	return c.lines.rest()
}

// begin checks the header.
func (c *importCheck) begin() error {
	h := &c.header
	switch {
	case h.Of != "log" || h.Version < 1:
		return fmt.Errorf("version %d of %q is no export that this program knows", h.Version, h.Of)
	case h.Log == "":
		return errors.New(`"log" is missing: the data id`)
	case h.Generation < 1:
		return fmt.Errorf("generation %d", h.Generation)
	case h.Partitions < 1 || h.Partitions > domain.MaxPartitions:
		return fmt.Errorf("%d partitions: it must be 1 to %d", h.Partitions, domain.MaxPartitions)
	case len(h.First) != h.Partitions || len(h.Last) != h.Partitions:
		return fmt.Errorf(`"first" and "last" have %d and %d numbers for %d partitions`, len(h.First), len(h.Last), h.Partitions)
	}
	for p := range h.Partitions {
		first, last := h.First[p], h.Last[p]
		if first < 1 || last > 1<<62 || last+1 < first {
			return fmt.Errorf("partition %02d has messages %d to %d", p, first, last)
		}
		part := &importPart{number: p, first: first, last: last, next: first, unreadable: map[uint64]int{}}
		if first == 1 {
			part.state = projections.NewPartition(p)
		}
		c.parts = append(c.parts, part)
	}
	c.report.From, c.report.Partitions = h.Log, h.Partitions
	return nil
}

func (c *importCheck) line(l *importLine) error {
	kinds := 0
	for _, kind := range []string{l.Tasker, l.Published, l.Blob, l.Snapshot, l.Message} {
		if kind != "" {
			kinds++
		}
	}
	if kinds != 1 || l.Tasker != "" {
		return errors.New("a line of this kind is not known: was the file written by a newer version?")
	}
	content, err := l.content()
	if err != nil {
		return err
	}
	if c.of != "" && l.Snapshot != c.of {
		return fmt.Errorf("snapshot %s has no end", c.of)
	}
	switch {
	case l.Published != "":
		return c.publishedLine(l, content)
	case l.Blob != "":
		return c.blobLine(l, content)
	case l.Snapshot != "":
		return c.snapshotLine(l, content)
	}
	return c.messageLine(l, content)
}

func (c *importCheck) publishedLine(l *importLine, content []byte) error {
	def, err := parseEntry(content)
	if err != nil {
		return fmt.Errorf("definition %s: %w", l.Published, err)
	}
	if key := definitionKey(def); key != l.Published || c.published[key] {
		return fmt.Errorf("definition %s stands where %s should", key, l.Published)
	}
	c.published[l.Published] = true
	return nil
}

func (c *importCheck) blobLine(l *importLine, content []byte) error {
	sum := sha256.Sum256(content)
	if digest := "sha256-" + hex.EncodeToString(sum[:]); digest != l.Blob {
		return fmt.Errorf("the payload has the digest %s, not %s", digest, l.Blob)
	}
	if !c.blobs[l.Blob] {
		c.blobs[l.Blob] = true
		c.report.Blobs++
	}
	return nil
}

func (c *importCheck) snapshotLine(l *importLine, content []byte) error {
	p, sequence, err := l.position(l.Snapshot, c.header.Partitions)
	if err != nil {
		return err
	}
	part := c.parts[p]
	if part.state != nil || part.begun {
		return fmt.Errorf("partition %02d needs no other snapshot", p)
	}
	c.of = l.Snapshot
	c.snapshot = append(c.snapshot, content...)
	if l.More {
		if len(content) == 0 || uint64(len(c.snapshot)) > l.Size {
			return fmt.Errorf("snapshot %s is longer than the %d bytes that it should have", l.Snapshot, l.Size)
		}
		return nil
	}
	whole := c.snapshot
	c.of, c.snapshot = "", nil
	if uint64(len(whole)) != l.Size {
		return fmt.Errorf("snapshot %s has %d bytes and should have %d", l.Snapshot, len(whole), l.Size)
	}
	if sequence+1 < part.first || sequence > part.last {
		return fmt.Errorf("the snapshot at %d does not reach messages %d to %d", sequence, part.first, part.last)
	}
	state, err := checkSnapshot(whole, p, sequence)
	if err != nil {
		return err
	}
	if state.CommitID != l.Commit {
		return fmt.Errorf("the snapshot is of commit %q, not %q", state.CommitID, l.Commit)
	}
	for id, payloads := range snapshotPayloads(state) {
		for _, payload := range payloads {
			if !c.blobs[payload.Blob] {
				return fmt.Errorf("payload %s of task %s is missing before it", payload.Blob, id)
			}
		}
	}
	part.state, part.commit = state, l.Commit
	c.report.Snapshots++
	return nil
}

// end checks that all of it has come.
func (c *importCheck) end(l *importLine) error {
	if c.of != "" {
		return fmt.Errorf("snapshot %s has no end", c.of)
	}
	if l.Lines != uint64(c.lines.number) { // #nosec G115 -- not negative
		return fmt.Errorf("this is line %d, and should be line %d", c.lines.number, l.Lines)
	}
	for p, part := range c.parts {
		if part.state == nil {
			return fmt.Errorf("partition %02d begins at message %d, and the snapshot that stands for what was before is missing", p, part.first)
		}
		if part.next != part.last+1 {
			return fmt.Errorf("partition %02d ends with message %d and should reach %d", p, part.next-1, part.last)
		}
		for sequence, line := range part.unreadable {
			if !part.state.Skipped(sequence) {
				return &ImportError{File: c.file, Line: line, Err: fmt.Errorf("message %s cannot be read, and no operator has said to pass over it: no engine would open the log",
					messageName(p, sequence))}
			}
		}
		for e := range part.state.Tasks() {
			if e.Task.State.Live() {
				c.report.Live++
			}
		}
		c.report.Failed += part.state.FailedCount()
	}
	return nil
}
