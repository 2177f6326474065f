package domain

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNotACommit is the error of DecodeCommit for a message that is no commit of any version known here. A message that
// claims to be one keeps its partition closed until an operator skips it (tasker log skip).
var ErrNotACommit = errors.New("not a commit")

// CommitVersionError is the error of DecodeCommit for a commit of a later format: it is intact, and needs a newer
// engine.
type CommitVersionError struct {
	Version int // of the commit
	Newest  int // that this program reads
}

func (e *CommitVersionError) Error() string {
	return fmt.Sprintf("the commit has format version %d, this program reads versions up to %d: use a newer one",
		e.Version, e.Newest)
}

// Unknown is a fact that this version cannot read; it freezes its task: no handler, no timer. It stands in a commit
// where an event of an unknown type, or of a later version of a known one, was found, and is never appended by the
// engine. Encoded again it is what it was.
type Unknown struct {
	TypeName EventType
	Version  int
	Step     string // "" when it is about none
	Attempt  int    // 0 when none is given
	Data     json.RawMessage
}

// Type is the name on the wire.
func (u Unknown) Type() EventType { return u.TypeName }
func (Unknown) event()            {}

// UnknownEventError says which event cannot be read. See Record.Unreadable.
type UnknownEventError struct {
	Type     EventType
	Version  int
	Task     TaskID // zero for a fact without a task
	Position Position
}

func (e *UnknownEventError) Error() string {
	about := "the partition"
	if !e.Task.IsZero() {
		about = "task " + e.Task.String()
	}
	return fmt.Sprintf("event %s of %s is a %s of version %d, which this program cannot read: use a newer one",
		e.Position, about, e.Type, e.Version)
}

// Unreadable is a *UnknownEventError when the event is an Unknown, else nil.
func (r Record) Unreadable() error {
	u, ok := r.Event.(Unknown)
	if !ok {
		return nil
	}
	return &UnknownEventError{Type: u.TypeName, Version: u.Version, Task: r.Task, Position: r.Position}
}

// DecodeCommit reads a commit that stands at the sequence of the partition's stream. Keys may come in any order, keys
// that it does not know are passed over, and an event that it does not know becomes an Unknown. By stays "" for the
// default actor; Record.Actor gives it. The commit shares no memory with data. Who reads many uses a Decoder.
//
// Errors: *CommitVersionError, else ErrNotACommit with what is wrong at which byte.
func DecodeCommit(data []byte, partition int, sequence uint64) (Commit, error) {
	var d Decoder
	return d.Decode(data, partition, sequence)
}

// Decoder reads one commit after another, keeps its buffers in between, and gives equal names of steps and definitions
// the same memory. The zero Decoder is ready. It belongs to one goroutine.
type Decoder struct{ decoder }

// Decode is DecodeCommit.
func (d *Decoder) Decode(data []byte, partition int, sequence uint64) (Commit, error) {
	d.begin(data)
	defer d.end()
	c := d.commit()
	if d.err != nil {
		return Commit{}, fmt.Errorf("message %d of partition %d: %w", sequence, partition, d.refusal())
	}
	c.Partition, c.Sequence = partition, sequence
	c.Records = make([]Record, len(d.records))
	copy(c.Records, d.records)
	for i := range c.Records {
		c.Records[i].At += c.At
		c.Records[i].Position = Position{Partition: partition, Sequence: sequence, Index: i}
	}
	return c, nil
}

// decoder is a parser with the records found so far; their At is what they are later than the commit.
type decoder struct {
	parser
	records []Record
	names   [128]string // recent short strings
}

const (
	skipDepth  = 9_000   // of what is passed over; encoding/json allows 10,000 in all
	eventBytes = 128     // about what an event takes, with its share of the group
	keepSpace  = 1 << 16 // records and bytes that a decoder keeps room for between two commits
	maxAttempt = 1<<31 - 1
)

func (d *decoder) begin(data []byte) {
	d.rewind(data)
	if d.records == nil {
		d.records = make([]Record, 0, len(data)/eventBytes+1)
	}
}

func (d *decoder) rewind(data []byte) {
	d.data, d.pos, d.depth, d.maxDepth, d.err = data, 0, 0, skipDepth, nil
}

// end lets go of the message and of everything that was made of it.
func (d *decoder) end() {
	clear(d.records)
	d.data, d.err, d.records, d.scratch = nil, nil, d.records[:0], d.scratch[:0]
	if cap(d.records) > keepSpace {
		d.records = nil
	}
	if cap(d.scratch) > keepSpace {
		d.scratch = nil
	}
}

// refusal is the error for a message that could not be read: its version, which may stand anywhere in it, explains a
// shape that is not known here.
func (d *decoder) refusal() error {
	err := d.err
	d.rewind(d.data)
	version := 0
	for more := d.enter('{'); more; more = d.another('}') {
		if string(d.key()) == "v" {
			version = int(d.number(32))
		} else {
			d.value()
		}
	}
	if d.finish(); d.err == nil && version > CommitVersion {
		return &CommitVersionError{Version: version, Newest: CommitVersion}
	}
	return fmt.Errorf("%w: %w", ErrNotACommit, err)
}

func (d *decoder) commit() Commit {
	var c Commit
	version := 0
	var at, tasks bool
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "v":
			version = int(d.number(32))
			if version > CommitVersion {
				d.fail(d.pos, "version %d", version)
			}
		case "id":
			c.ID = d.str()
		case "at":
			c.At, at = d.instant(), true
		case "tasks":
			if tasks {
				d.fail(d.pos, `a second "tasks"`)
			}
			tasks = true
			for more := d.enter('['); more; more = d.another(']') {
				d.group()
			}
		default:
			d.value()
		}
	}
	d.finish()
	switch {
	case version < 1:
		d.fail(d.pos, `no version "v"`)
	case c.ID == "":
		d.fail(d.pos, `no "id"`)
	case !at:
		d.fail(d.pos, `no time "at"`)
	case !tasks:
		d.fail(d.pos, `no "tasks"`)
	}
	return c
}

func (d *decoder) group() {
	var task TaskID
	var prev uint64
	first := len(d.records)
	events := false
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "task":
			task = d.task()
		case "prev":
			prev = d.unsigned(64)
		case "events":
			if events {
				d.fail(d.pos, `a second "events"`)
			}
			events = true
			for more := d.enter('['); more; more = d.another(']') {
				d.record()
			}
		default:
			d.value()
		}
	}
	for i := first; i < len(d.records); i++ {
		d.records[i].Task, d.records[i].Prev = task, prev
	}
}

func (d *decoder) task() TaskID {
	if d.null() {
		return TaskID{}
	}
	start := d.pos
	if d.next() != '"' {
		d.unexpected("a task id")
		return TaskID{}
	}
	text := d.text()
	if d.err != nil {
		return TaskID{}
	}
	id, ok := parseCanonicalID(text)
	if !ok {
		var err error
		if id, err = ParseTaskID(string(text)); err != nil {
			d.fail(start, "%v", err)
		}
	}
	return id
}

// parseCanonicalID reads the form that Append writes, and leaves every other one to ParseTaskID.
func parseCanonicalID(text []byte) (id TaskID, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	at := 0
	for i := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			at++
		}
		hi, lo := nibble(text[at]), nibble(text[at+1])
		if hi|lo > 15 {
			return TaskID{}, false
		}
		id[i] = hi<<4 | lo
		at += 2
	}
	return id, true
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// envelope is what stands around the data of an event.
type envelope struct {
	typ     EventType
	version int
	step    string
	attempt int // -1 when absent
}

// record reads one event. Its data is read as soon as it comes, which is last in what the encoder writes; when
// something follows that its meaning depends on, it is read again.
func (d *decoder) record() {
	var r Record
	env := envelope{version: 1, attempt: -1}
	data, again := -1, false
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "type":
			env.typ, again = EventType(d.name()), data >= 0
		case "v":
			env.version, again = int(d.number(32)), data >= 0
		case "step":
			env.step, again = d.name(), data >= 0
		case "attempt":
			env.attempt, again = d.attempt(), data >= 0
		case "us":
			r.At = Instant(d.number(64))
		case "by":
			r.By = Actor(d.name())
		case "cause":
			r.Cause = d.str()
		case "data":
			d.next()
			data, again = d.pos, false
			if r.Event = d.fact(env); d.err != nil { // perhaps it is another version's
				d.err, d.pos, d.depth, again = nil, data, 0, true
				d.value()
			}
		default:
			d.value()
		}
	}
	if d.err != nil {
		return
	}
	if env.typ == "" {
		d.fail(d.pos, `an event without "type"`)
		return
	}
	if data < 0 {
		r.Event = d.bare(env)
	} else if again {
		end := d.pos
		d.pos = data
		if r.Event = d.fact(env); d.err == nil {
			d.pos = end
		}
	}
	if r.By == DefaultActor(env.typ) {
		r.By = ""
	}
	d.records = append(d.records, r)
}

var noData = []byte("{}")

// bare makes the event that has no data on the wire.
func (d *decoder) bare(env envelope) Event {
	data, pos := d.data, d.pos
	d.data, d.pos = noData, 0
	ev := d.fact(env)
	d.data, d.pos = data, pos
	if u, ok := ev.(Unknown); ok {
		u.Data = nil
		return u
	}
	return ev
}

// name takes a string that is likely to come again: equal ones share their memory.
func (d *decoder) name() string {
	if d.null() {
		return ""
	}
	if d.next() != '"' {
		d.unexpected("a string")
		return ""
	}
	text := d.text()
	if len(text) > 64 {
		return string(text)
	}
	h := uint32(2166136261)
	for _, c := range text {
		h = (h ^ uint32(c)) * 16777619
	}
	known := &d.names[(h^h>>16)%uint32(len(d.names))]
	if *known != string(text) {
		*known = string(text)
	}
	return *known
}

func (d *decoder) list() []string {
	var list []string
	for more := d.enter('['); more; more = d.another(']') {
		list = append(list, d.name())
	}
	return list
}

func (d *decoder) attempt() int {
	start := d.pos
	n := d.number(64)
	if n < 0 || n > maxAttempt {
		d.fail(start, "attempt %d", n)
	}
	return int(n)
}
