package tasker

import (
	"context"
	"fmt"
	"io"

	"github.com/tasker-go/tasker/domain"
)

// An export is a file of JSON lines that another log can be made of, or another program can read. Its lines are objects:
//
//	{"tasker":"export","version":1,"of":"log","log":"0190…","generation":1,"partitions":2,"at":"…","first":[1,1],"last":[40,38],"sum":"…"}
//
// begins the export of a whole log: its data id, and of every partition the first and the last message.
//
//	{"published":"default.order.1.0.0","value":{…},"sum":"…"}
//	{"blob":"sha256-…","value":{…},"sum":"…"}
//	{"snapshot":"00-17","commit":"3c653ba7-9","format":2,"size":1234,"more":true,"bytes":"…","sum":"…"}
//	{"message":"00-18","commit":"3c653ba7-10","stored":"…","value":{"v":1,…},"sum":"…"}
//
// are a definition that submitters find, a payload that is too large for an event, a part of a snapshot (only where the log
// has been trimmed), and a message: of which partition, under which sequence, the commit as docs/wire.md has it. A payload
// comes before the message that refers to it. A message that is no commit has no "commit", and what is not JSON in one line
// stands in base64 in "bytes" instead of "value".
//
//	{"tasker":"export","version":1,"of":"task","log":"0190…","generation":1,"partitions":2,"at":"…","task":"…","sum":"…"}
//	{"definition":"65ae…","value":{…},"sum":"…"}
//	{"event":"00-18-3","type":"step.completed","v":1,"at":"…","step":"one","attempt":1,"by":"handler","value":{…},"sum":"…"}
//
// is the export of one task: what it is made of, and its events as readers see them, with their data in "value".
//
//	{"end":true,"lines":123,"sum":"…"}
//
// is the last line. "sum" is the last member of every line: the CRC-32C of the line up to the comma before it, begun with the
// sum of the line before, in eight hexadecimal digits. So what was edited, doubled, left out or put in another place by
// accident is found at its line. Readers pass over members that they do not know, and refuse other kinds of lines and later
// versions.

// ExportVersion is the version of the format that Export writes, and the newest one that Import reads.
const ExportVersion = 1

// ExportOptions say what is exported. The zero value is the whole log.
type ExportOptions struct {
	Task TaskID // only this task
}

// ExportReport says what was exported.
type ExportReport struct {
	Messages  int // of the log, those that are no commits included; 0 for the export of a task
	Events    int // of the task; 0 for the export of a log
	Blobs     int // payloads of more than 128 KiB
	Snapshots int // one for each partition whose beginning has been trimmed
}

// Export writes what is stored now: the log, or the history of one task, with everything that is needed to fold it to the
// same state (Import). It only reads, and may run beside engines. What they store meanwhile is not part of it; a partition is
// exported up to the same message as when the export began. Cursors of subscribers, dead letters and leases are left out.
//
// Errors: ErrTaskNotFound; *HistoryTrimmedError when the beginning of the task is not in the log any more; a trimmed
// partition of which no snapshot can be used; those of the store and of w. What has been written then has no end, and
// Import refuses it.
func (r *router) Export(ctx context.Context, w io.Writer, o ExportOptions) (ExportReport, error) {
	x := &exporter{router: r, out: newLineWriter(w), blobs: map[string]bool{}}
	var err error
	if o.Task.IsZero() {
		err = x.log(ctx)
	} else {
		err = x.task(ctx, o.Task)
	}
	if err == nil {
		err = x.out.end()
	}
	if err != nil {
		return x.report, fmt.Errorf("export: %w", err)
	}
	return x.report, nil
}

// HistoryTrimmedError: the beginning of a task has been removed from the log (retention, tasker prune).
type HistoryTrimmedError struct {
	Task  TaskID   `json:"task"`
	First Position `json:"first"` // of the oldest event that is there
}

func (e *HistoryTrimmedError) Error() string {
	return fmt.Sprintf("the history of task %s begins with event %s: what was before has been trimmed", e.Task, e.First)
}

type exporter struct {
	router *router
	out    *lineWriter
	blobs  map[string]bool // by digest, those that were written
	report ExportReport
}

// header is what the first line says in any case.
func (x *exporter) header(of string) lineObject {
	data := x.router.store.Data()
	return newLine().text("tasker", "export").number("version", ExportVersion).text("of", of).text("log", data.ID).
		number("generation", uint64(data.Generation)).number("partitions", uint64(data.Partitions)). // #nosec G115 -- small
		text("at", domain.InstantOf(x.router.clock()).String())
}

// blob writes a payload, once.
func (x *exporter) blob(ctx context.Context, p domain.Payload, of string) error {
	if p.Blob == "" || x.blobs[p.Blob] {
		return nil
	}
	content, err := x.router.store.Blobs().Get(ctx, p.Blob)
	if err != nil {
		return fmt.Errorf("a payload of %s: %w", of, err)
	}
	x.blobs[p.Blob] = true
	x.report.Blobs++
	return x.out.line(newLine().text("blob", p.Blob).content(content))
}
