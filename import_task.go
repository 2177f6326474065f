package tasker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// taskLog makes the export of a log of the export of one task: a log that holds the definition and the task, and nothing
// else. The task gets other positions, because nothing of what was between its commits is there; the rest is as it was.
type taskLog struct {
	lines      *lineReader
	header     importLine
	id         TaskID
	partition  int
	definition *Definition
	blobs      []importLine
	events     []domain.Record
	ids        map[string]string // of events: there -> here
}

// isTaskExport looks at the first line, and goes back to the beginning.
func isTaskExport(name string, file io.ReadSeeker) (bool, error) {
	var header importLine
	err := newLineReader(name, file).next(&header)
	if _, seekErr := file.Seek(0, io.SeekStart); seekErr != nil {
		return false, seekErr
	}
	return err == nil && header.Of == "task", nil // what is wrong with it, the reader of logs says
}

// logOfTask reads the export of a task and returns that of a log.
func logOfTask(name string, file io.Reader) (io.ReadSeeker, error) {
	t := &taskLog{lines: newLineReader(name, file), ids: map[string]string{}}
	if err := t.lines.next(&t.header); err != nil {
		return nil, err
	}
	if err := t.begin(); err != nil {
		return nil, t.lines.fail(err)
	}
	for {
		var line importLine
		if err := t.lines.next(&line); err != nil {
			return nil, err
		}
		line.Value, line.Bytes = bytes.Clone(line.Value), bytes.Clone(line.Bytes)
		if line.End {
			if line.Lines != uint64(t.lines.number) { // #nosec G115 -- from 1
				return nil, t.lines.fail(fmt.Errorf("the file should have %d lines", line.Lines))
			}
			break
		}
		if err := t.line(&line); err != nil {
			return nil, t.lines.fail(err)
		}
	}
	if t.definition == nil || len(t.events) == 0 {
		return nil, t.lines.fail(errors.New("it has no definition, or no events"))
	}
	if err := t.lines.rest(); err != nil {
		return nil, err
	}
	return t.write()
}

func (t *taskLog) begin() error {
	h := &t.header
	if h.Version < 1 || h.Log == "" || h.Generation < 1 || h.Partitions < 1 || h.Partitions > domain.MaxPartitions {
		return fmt.Errorf("version %d, log %q, generation %d, %d partitions: that is no header", h.Version, h.Log, h.Generation, h.Partitions)
	}
	id, err := ParseTaskID(h.Task)
	if err != nil {
		return err
	}
	t.id, t.partition = id, id.Partition(h.Partitions)
	return nil
}

func (t *taskLog) line(l *importLine) error {
	content, err := l.content()
	if err != nil {
		return err
	}
	switch {
	case l.Definition != "" && t.definition == nil:
		def, err := domain.ParseDefinition(content)
		if err != nil {
			return fmt.Errorf("the definition: %w", err)
		}
		t.definition = def.Under(l.Definition)
		return nil
	case l.Blob != "":
		t.blobs = append(t.blobs, *l)
		return nil
	case l.Event != "" && t.definition != nil:
		return t.event(l, content)
	}
	return errors.New("a line of this kind is not known, or stands in another place than it should")
}

// event reads one event as if it were alone in a commit.
func (t *taskLog) event(l *importLine, data []byte) error {
	at, err := domain.ParsePosition(l.Event)
	if err != nil {
		return err
	}
	if n := len(t.events); at.Partition != t.partition || n > 0 && !t.events[n-1].Position.Less(at) {
		return fmt.Errorf("event %s does not follow what is before it", l.Event)
	}
	if !json.Valid(data) {
		return fmt.Errorf("the data of event %s is not JSON", l.Event)
	}
	text := newLine().number("v", 1).text("id", "x").text("at", l.At)
	o := newLine().text("type", l.Type)
	if l.V != 1 {
		o = o.number("v", l.V)
	}
	o = o.textIf("step", l.Step)
	if l.Attempt != 0 {
		o = o.number("attempt", l.Attempt)
	}
	o = append(o.textIf("by", l.By).textIf("cause", l.Cause).raw("data", data), '}')
	group := append(newLine().text("task", t.id.String()).key("events"), '[')
	group = append(append(group, o...), ']', '}')
	text = append(append(append(text.key("tasks"), '['), group...), ']', '}')
	c, err := domain.DecodeCommit(text, at.Partition, at.Sequence)
	if err != nil {
		return fmt.Errorf("event %s cannot be read: %w", l.Event, err)
	}
	if len(c.Records) != 1 {
		return fmt.Errorf("event %s cannot be read: its line has %d events", l.Event, len(c.Records))
	}
	r := c.Records[0]
	r.Position = at
	t.events = append(t.events, r)
	return nil
}

// write puts the commits into the new log, as many as there were.
func (t *taskLog) write() (io.ReadSeeker, error) {
	var file bytes.Buffer
	out := newLineWriter(&file)
	adopt := domain.Commit{
		ID: t.id.String() + "-adopt", At: t.events[0].At,
		Records: []domain.Record{{At: t.events[0].At, Event: domain.AdoptDefinition(t.definition)}},
	}
	commits := []domain.Commit{adopt}
	old := uint64(0)
	for _, r := range t.events {
		if r.Position.Sequence != old {
			old = r.Position.Sequence
			commits = append(commits, domain.Commit{ID: fmt.Sprintf("%s-%d", t.id, old), At: r.At})
		}
		c := &commits[len(commits)-1]
		here := domain.Position{Partition: t.partition, Sequence: uint64(len(commits)), Index: len(c.Records)}
		t.ids[r.ID()] = here.String()
		if to, ours := t.ids[r.Cause]; ours {
			r.Cause = to
		}
		if r.Prev = uint64(len(commits)) - 1; r.Prev == 1 {
			r.Prev = 0 // the definition is not the task's
		}
		c.Records = append(c.Records, r)
	}
	first, last := make([]uint64, t.header.Partitions), make([]uint64, t.header.Partitions)
	for p := range first {
		first[p] = 1
	}
	last[t.partition] = uint64(len(commits))
	err := out.line(newLine().text("tasker", "export").number("version", ExportVersion).text("of", "log").text("log", t.header.Log).
		number("generation", uint64(t.header.Generation)).number("partitions", uint64(t.header.Partitions)). // #nosec G115 -- checked
		numbers("first", first).numbers("last", last))
	for i := range t.blobs {
		if content, contentErr := t.blobs[i].content(); err == nil && contentErr == nil {
			err = out.line(newLine().text("blob", t.blobs[i].Blob).content(content))
		}
	}
	for i, c := range commits {
		if err == nil {
			err = out.line(newLine().text("message", messageName(t.partition, uint64(i+1))).text("commit", c.ID). // #nosec G115 -- from 0
																text("stored", c.At.Time().Format(time.RFC3339Nano)).content(domain.EncodeCommit(c)))
		}
	}
	if err == nil {
		err = out.end()
	}
	return bytes.NewReader(file.Bytes()), err
}
