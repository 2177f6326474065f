package domain

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// CommitVersion is the version of the wire format that this package writes, and the newest one that it reads.
const CommitVersion = 1

// headRoom is what the encoder keeps free in front of the tasks for the head of the commit: 59 bytes and the id.
const headRoom = 128

// Encoder writes a commit in the wire format (DESIGN 6), record by record into one buffer, so that the open commit
// grows as events happen and closing it costs nothing:
//
//	{"v":1,"id":"…","at":"…","tasks":[{"task":"…","prev":123,"events":[{"type":"step.completed","step":"…",
//	 "attempt":2,"us":345,"by":"…","cause":"…","data":{…}}]}]}
//
// Begin, Add for every record, Finish. Left out: prev when 0, attempt when 1, us (microseconds after the commit's
// time) when 0, by when it is DefaultActor, cause when "", data when it is {}, the version "v" of an event when 1.
// Consecutive records of a task share a group; the order of the records is the order of the groups.
//
// An encoder belongs to one goroutine. With a buffer that has grown it allocates nothing. JSON inside of events is
// copied as it is: it has gone through CompactJSON before.
type Encoder struct {
	buf   []byte // headRoom bytes, then the groups
	at    Instant
	count int
	task  TaskID // of the open group
	prev  uint64
}

// Begin starts a commit whose time is at, and drops what the encoder holds.
func (e *Encoder) Begin(at Instant) {
	e.Reset()
	e.at = at
}

// Reset drops what the encoder holds and keeps the buffer.
func (e *Encoder) Reset() {
	if cap(e.buf) < headRoom {
		e.buf = make([]byte, headRoom, 16<<10)
	}
	e.buf, e.at, e.count = e.buf[:headRoom], 0, 0
}

// Len is the size of the message so far, rounded up for the head: an id of 64 bytes is accounted for.
func (e *Encoder) Len() int { return max(len(e.buf), headRoom) + len("]}]}") }

// Count is the number of records since Begin.
func (e *Encoder) Count() int { return e.count }

// Finish ends the commit and returns the message, which is valid until the next Begin or Reset. Nothing may be added
// after it.
func (e *Encoder) Finish(id string) []byte {
	if e.count > 0 {
		e.buf = append(e.buf, "]}"...)
	}
	e.buf = append(e.buf, "]}"...)

	var room [headRoom]byte
	head := append(room[:0], `{"v":1,"id":`...)
	head = appendText(head, id)
	head = append(head, `,"at":"`...)
	head = e.at.Append(head)
	head = append(head, `","tasks":[`...)
	if len(head) > headRoom {
		return append([]byte(string(head)), e.buf[headRoom:]...)
	}
	start := headRoom - len(head)
	copy(e.buf[start:], head)
	return e.buf[start:]
}

// EncodeCommit is the commit in the wire format. Of a payload it writes what it is, never the position at which state
// keeps it.
func EncodeCommit(c Commit) []byte {
	var e Encoder
	e.Begin(c.At)
	for _, r := range c.Records {
		e.Add(r)
	}
	return e.Finish(c.ID)
}

// Add appends a record. Its position is not written: it is the message's.
func (e *Encoder) Add(r Record) {
	b := e.group(r.Task, r.Prev)
	b = append(b, `{"type":`...)
	typ := r.Event.Type()
	b = appendText(b, string(typ))
	b = appendStep(b, r.Event)
	if us := r.At - e.at; us != 0 {
		b = append(b, `,"us":`...)
		b = strconv.AppendInt(b, int64(us), 10)
	}
	if r.By != "" && r.By != DefaultActor(typ) {
		b = append(b, `,"by":`...)
		b = appendText(b, string(r.By))
	}
	if r.Cause != "" {
		b = append(b, `,"cause":`...)
		b = appendText(b, r.Cause)
	}
	if u, ok := r.Event.(Unknown); ok {
		if u.Data != nil {
			b = append(b, `,"data":`...)
			b = append(b, u.Data...)
		}
	} else {
		mark := len(b)
		b = append(b, `,"data":{`...)
		empty := len(b)
		b = appendData(object(b), r.Event)
		if len(b) == empty {
			b = b[:mark]
		} else {
			b = append(b, '}')
		}
	}
	b = append(b, '}')
	e.buf = b
	e.count++
}

// group makes room for the next record of the task: it goes on with the open group or begins another one.
func (e *Encoder) group(task TaskID, prev uint64) []byte {
	if cap(e.buf) < headRoom {
		e.Reset()
	}
	b := e.buf
	if e.count > 0 {
		if task == e.task && prev == e.prev {
			return append(b, ',')
		}
		b = append(b, "]},"...)
	}
	e.task, e.prev = task, prev
	b = append(b, '{')
	if !task.IsZero() {
		b = append(b, `"task":"`...)
		b = task.Append(b)
		b = append(b, `",`...)
	}
	if prev != 0 {
		b = append(b, `"prev":`...)
		b = strconv.AppendUint(b, prev, 10)
		b = append(b, ',')
	}
	return append(b, `"events":[`...)
}

// appendStep appends what stands between type and time: the version, the step, the attempt.
func appendStep(b []byte, ev Event) []byte {
	attempt := 1
	step := ""
	switch ev := ev.(type) {
	case StepInherited:
		step = ev.Step
	case StepExecutionRequested:
		step, attempt = ev.Step, ev.Attempt
	case StepCompleted:
		step, attempt = ev.Step, ev.Attempt
	case StepFailed:
		step, attempt = ev.Step, ev.Attempt
	case StepRetryRequested:
		step = ev.Step
	case StepCancelled:
		step = ev.Step
	case StepResolvedManually:
		step = ev.Step
	case StepSkipped:
		step = ev.Step
	case StepCheckpointed:
		step, attempt = ev.Step, ev.Attempt
	case StepProgressed:
		step, attempt = ev.Step, ev.Attempt
	case StepLogAppended:
		step, attempt = ev.Step, ev.Attempt
	case Custom:
		step, attempt = ev.Step, ev.Attempt
	case Unknown:
		return appendUnknown(b, ev)
	case PartitionOpened, PartitionSkipped, DefinitionAdopted, TaskCreated, TaskStartRequested, TaskReenqueued,
		TaskDelayed, TaskCompleted, TaskFailed, TaskRetryRequested, TaskCancelled, TaskResolvedManually, TaskPaused,
		TaskResumed, TaskAnnotated, TaskExpired, Signal:
		return b
	}
	b = append(b, `,"step":`...)
	b = appendText(b, step)
	if attempt != 1 {
		b = append(b, `,"attempt":`...)
		b = strconv.AppendInt(b, int64(attempt), 10)
	}
	return b
}

func appendUnknown(b []byte, u Unknown) []byte {
	if u.Version != 1 {
		b = append(b, `,"v":`...)
		b = strconv.AppendInt(b, int64(u.Version), 10)
	}
	if u.Step != "" {
		b = append(b, `,"step":`...)
		b = appendText(b, u.Step)
	}
	if u.Attempt != 0 {
		b = append(b, `,"attempt":`...)
		b = strconv.AppendInt(b, int64(u.Attempt), 10)
	}
	return b
}

// appendData appends the fields of an event, in the order of their declaration and by their json tags.
func appendData(o object, ev Event) []byte {
	switch ev := ev.(type) {
	case PartitionOpened:
		o = o.text("writer", ev.Writer).text("engine", ev.Engine).numberIf("least_reader", int64(ev.LeastReader))
	case PartitionSkipped:
		o = o.unsigned("sequence", ev.Sequence).text("reason", ev.Reason)
	case DefinitionAdopted:
		o = o.text("hash", ev.Hash).rawIf("body", ev.Body).bytesIf("packed", ev.Packed)
	case TaskCreated:
		o = o.textIf("namespace", ev.Namespace).text("name", ev.Name).text("version", ev.Version).
			text("definition", ev.Definition).payload("context", ev.Context).textIf("initiator", ev.Initiator).
			textIf("source_system", ev.SourceSystem).textIf("reason", ev.Reason).textsIf("tags", ev.Tags).
			textsIf("bypass_steps", ev.BypassSteps).textIf("correlation", ev.Correlation).
			textIf("traceparent", ev.Traceparent).
			instantIf("deadline", ev.Deadline).numberIf("input", int64(ev.InputHash)).forkedIf("forked", ev.Forked)
	case TaskStartRequested:
		o = o.flagIf("again", ev.Again)
	case TaskReenqueued:
		o = o.text("reason", string(ev.Reason))
	case TaskDelayed:
		o = o.text("reason", string(ev.Reason)).instant("until", ev.Until)
	case TaskCompleted:
		o = o.payload("result", ev.Result).textsIf("from", ev.From)
	case TaskFailed:
		o = o.text("reason", string(ev.Reason)).textsIf("steps", ev.Steps)
	case TaskRetryRequested:
		o = o.textIf("reason", ev.Reason).instantIf("deadline", ev.Deadline)
	case TaskCancelled:
		o = o.textIf("reason", ev.Reason)
	case TaskResolvedManually:
		o = o.textIf("reason", ev.Reason)
	case TaskPaused:
		o = o.textIf("reason", ev.Reason)
	case TaskResumed:
		o = o.textIf("reason", ev.Reason)
	case TaskAnnotated:
		o = o.text("kind", ev.Kind).textIf("step", ev.Step).numberIf("round", int64(ev.Round)).
			raw("annotation", ev.Annotation)
	case StepInherited:
		o = o.payload("result", ev.Result).flagIf("skipped", ev.Skipped).flagIf("resolved", ev.Resolved).
			positionIf("from", ev.From)
	case StepExecutionRequested:
		o = o.instantIf("until", ev.Until)
	case StepCompleted:
		o = o.payload("result", ev.Result).textIf("reason", ev.Reason)
	case StepFailed:
		o = o.failure("error", &ev.Error).instantIf("retry_at", ev.RetryAt)
	case StepRetryRequested:
		o = o.flagIf("new_round", ev.NewRound).numberIf("retry_limit", int64(ev.RetryLimit)).
			rawIf("inputs", ev.Inputs).textIf("reason", ev.Reason)
	case StepCancelled:
		o = o.textIf("reason", ev.Reason)
	case StepResolvedManually:
		o = o.payload("result", ev.Result).textIf("reason", ev.Reason)
	case StepSkipped:
		o = o.textIf("reason", ev.Reason)
	case StepCheckpointed:
		o = o.raw("cursor", ev.Cursor)
	case StepProgressed:
		o = o.numberIf("done", int64(ev.Done)).numberIf("total", int64(ev.Total)).textIf("message", ev.Message)
	case StepLogAppended:
		o = o.textsIf("lines", ev.Lines).numberIf("dropped", int64(ev.Dropped))
	case Custom:
		o = o.rawIf("data", ev.Data)
	case Signal: // for readers; the log never holds one
		o = ev.fields(o)
	case TaskExpired, Unknown:
	}
	return o
}

// object is a buffer that ends inside of a JSON object. Its methods append a member; those whose name ends in If leave
// the zero value out, as omitempty and omitzero do.
type object []byte

func (o object) key(name string) object {
	if o[len(o)-1] != '{' {
		o = append(o, ',')
	}
	o = append(o, '"')
	o = append(o, name...)
	return append(o, '"', ':')
}

func (o object) open(name string) object { return append(o.key(name), '{') }

func (o object) close() object { return append(o, '}') }

func (o object) failure(name string, e *StepError) object {
	return o.open(name).text("message", e.Message).text("kind", string(e.Kind)).
		textIf("code", e.Code).textsIf("frames", e.Frames).close()
}

func (o object) text(name, s string) object { return appendText(o.key(name), s) }

func (o object) textIf(name, s string) object {
	if s == "" {
		return o
	}
	return o.text(name, s)
}

func (o object) textsIf(name string, list []string) object {
	if len(list) == 0 {
		return o
	}
	o = append(o.key(name), '[')
	for i, s := range list {
		if i > 0 {
			o = append(o, ',')
		}
		o = appendText(o, s)
	}
	return append(o, ']')
}

func (o object) unsigned(name string, n uint64) object { return strconv.AppendUint(o.key(name), n, 10) }

func (o object) numberIf(name string, n int64) object {
	if n == 0 {
		return o
	}
	return strconv.AppendInt(o.key(name), n, 10)
}

func (o object) flagIf(name string, set bool) object {
	if !set {
		return o
	}
	return append(o.key(name), "true"...)
}

func (o object) instant(name string, i Instant) object {
	return append(i.Append(append(o.key(name), '"')), '"')
}

func (o object) instantIf(name string, i Instant) object {
	if i == 0 {
		return o
	}
	return o.instant(name, i)
}

func (o object) raw(name string, text json.RawMessage) object {
	if len(text) == 0 {
		return append(o.key(name), "null"...)
	}
	return append(o.key(name), text...)
}

func (o object) rawIf(name string, text json.RawMessage) object {
	if len(text) == 0 {
		return o
	}
	return o.raw(name, text)
}

func (o object) bytesIf(name string, data []byte) object {
	if len(data) == 0 {
		return o
	}
	return append(base64.StdEncoding.AppendEncode(append(o.key(name), '"'), data), '"')
}

// payload appends the value itself, or a reference under the name with the suffix _ref, or nothing.
func (o object) payload(name string, p Payload) object {
	if p.Blob == "" {
		return o.rawIf(name, p.JSON)
	}
	if o[len(o)-1] != '{' {
		o = append(o, ',')
	}
	o = append(o, '"')
	o = append(o, name...)
	o = append(o, `_ref":{`...)
	o = o.text("blob", p.Blob)
	return append(strconv.AppendInt(o.key("size"), int64(p.Size), 10), '}')
}
