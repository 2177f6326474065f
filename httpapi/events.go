package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// EventsInput chooses what a stream tells of.
type EventsInput struct {
	Task      string   `query:"task" maxLength:"36" doc:"only of this task"`
	Namespace string   `query:"namespace" maxLength:"128" doc:"only of tasks of this namespace"`
	Name      string   `query:"name" maxLength:"128" doc:"only of tasks of the definitions of this name"`
	Type      []string `query:"type,explode" maxItems:"100" doc:"facts, signals, custom.NAME, and families such as step.*; repeated; default: every fact"`
	After     string   `query:"after" maxLength:"4096" doc:"go on after this id of an event of a stream, or after this cursor"`
	LastID    string   `header:"Last-Event-ID" maxLength:"4096" doc:"as after, which it comes before: browsers send it when they connect again"`
	From      string   `query:"from" enum:"now,beginning,oldest" default:"now" doc:"where to begin without a position: oldest is what is still there"`
}

// stream is one answer of GET /events.
type stream struct {
	*server
	who   *Identity
	in    *EventsInput
	task  tasker.TaskID
	types domain.EventSet
	tail  *tail

	w       http.ResponseWriter
	control *http.ResponseController
	out     *bufio.Writer
	begun   bool
	at      place
	oldest  bool // it may begin with what is still there
	broken  bool // the reader takes no more
}

func (s *server) events(ctx context.Context, in *EventsInput) (*Streamed, error) {
	x := &stream{server: s, who: caller(ctx), in: in, tail: s.streams.facts}
	if err := x.prepare(ctx); err != nil {
		return nil, err
	}
	return &Streamed{func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		x.serve(ctx, w, r)
	}}, nil
}

// prepare finds everything that is wrong with the request.
func (x *stream) prepare(ctx context.Context) error {
	var err error
	if x.in.Task != "" {
		if x.task, err = tasker.ParseTaskID(x.in.Task); err != nil {
			return newProblem(http.StatusUnprocessableEntity, CodeInvalid, "query.task: "+err.Error(), "take the id as an answer has it").at("query.task", "no task id")
		}
		if err := x.see(ctx, x.task); err != nil {
			return err
		}
	}
	if _, err := within(ctx, x.in.Namespace); err != nil {
		return err
	}
	if strings.Contains(x.in.Name, "@") {
		return newProblem(http.StatusUnprocessableEntity, CodeInvalid, "query.name: it is the name of a definition, without a version", "leave the version out").
			at("query.name", "it has a version")
	}
	if x.types, err = domain.NewEventSet(types(x.in.Type)); err != nil {
		return err
	}
	if live := x.types.NamedLive(); len(live) > 0 {
		return &tasker.LiveOnlyError{Type: live[0]}
	}
	if x.types.Derives() {
		x.tail = x.streams.signals
	}
	id := x.service.Info().ID
	x.at.cursor = domain.Cursor{DataID: id, Sequences: map[int]uint64{}}
	x.oldest = x.in.From == "oldest"
	for _, after := range []string{x.in.LastID, x.in.After} {
		if after == "" {
			continue
		}
		if x.at, err = parsePlace(after); err != nil {
			return err
		}
		if x.at.cursor.DataID != id {
			return newProblem(http.StatusConflict, CodeOtherLog, "the position is of data "+shown(x.at.cursor.DataID).(string)+"; this log is "+id, "begin anew, without it")
		}
		x.in.From, x.oldest = "", false
		break
	}
	return nil
}

func (x *stream) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	x.w, x.control, x.out = w, http.NewResponseController(w), bufio.NewWriterSize(w, 32<<10)
	if r.Method == http.MethodHead {
		x.begin()
		return
	}
	if p := x.streams.enter(); p != nil {
		p.write(w, r)
		return
	}
	defer x.streams.leave()
	ctx, stop := x.until(ctx)
	defer stop()
	err := x.run(ctx)
	var p *Problem
	if errors.As(context.Cause(ctx), &p) { // the server stops
		err = p
	}
	if err == nil || x.broken || gone(ctx, err) && p == nil {
		return
	}
	if !errors.As(x.problemOf(ctx, err), &p) {
		return
	}
	if !x.begun {
		p.write(w, r)
		return
	}
	text, _ := json.Marshal(p)
	_ = x.write(fmt.Sprintf("event: error\ndata: %s\n\n", text)) // the last word; perhaps nobody hears it
	_ = x.flush()
}

// run tells what was stored before, if that is asked for, and then what comes.
func (x *stream) run(ctx context.Context) error {
	for {
		l, now, err := x.tail.listen(ctx, x.wants)
		if err != nil {
			return err
		}
		caught, err := x.catchUp(ctx, l, now)
		if err == nil && caught {
			err = x.live(ctx, l)
		}
		x.tail.leave(l)
		if err != nil || caught {
			return err
		}
	}
}

// catchUp tells what lies between where the reader is and where the tail is. false: meanwhile more has happened than fits.
func (x *stream) catchUp(ctx context.Context, l *listener, now place) (bool, error) {
	if x.in.From == "now" {
		x.at, x.in.From = now, ""
	}
	o := tasker.ReplayOptions{
		Types: types(x.in.Type), Task: x.task, Namespace: x.in.Namespace, Definition: x.in.Name,
		From: domain.FromPosition(x.at.cursor.String()), Until: domain.UntilPosition(now.until().String()),
	}
	if x.oldest {
		o.From = domain.FromOldest
	}
	if o.Namespace == "" && len(x.who.Namespaces) == 1 {
		o.Namespace = x.who.Namespaces[0]
	}
	if !covers(x.at.cursor, now.until()) {
		x.at.resume()
		n := 0
		for e, err := range x.service.Replay(ctx, o) {
			if err != nil {
				return false, err
			}
			if x.at.has(e.Position, x.types.Derives()) {
				continue
			}
			x.at.reached(e.Position)
			if err := x.event(ctx, x.message(&e, &x.at)); err != nil {
				return false, err
			}
			if n++; n%256 == 0 {
				if err := x.flush(); err != nil {
					return false, err
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		x.at.cover(now.until())
	}
	x.oldest = false
	select {
	case <-l.behind:
		return l.failed != nil, failure(l.failed)
	default:
	}
	x.begin()
	return true, errors.Join(x.write("id: "+x.at.String()+"\n: connected\n\n"), x.flush())
}

func failure(p *Problem) error {
	if p == nil {
		return nil
	}
	return p
}

// covers reports whether a has all that b has.
func covers(a, b domain.Cursor) bool {
	for p, sequence := range b.Sequences {
		if !a.Covers(tasker.Position{Partition: p, Sequence: sequence}) {
			return false
		}
	}
	return true
}

func types(names []string) []tasker.EventType {
	var list []tasker.EventType
	for _, name := range names {
		list = append(list, tasker.EventType(name))
	}
	return list
}

// live tells what comes, until the reader goes or does not keep up.
func (x *stream) live(ctx context.Context, l *listener) error {
	heartbeat := time.NewTicker(x.Heartbeat)
	defer heartbeat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-l.queue:
			err = x.tellAll(ctx, l, m)
		case <-l.behind:
			if l.failed != nil {
				return l.failed
			}
			return newProblem(http.StatusServiceUnavailable, CodeSlowClient, "the reader did not keep up: events wait in the log",
				"connect again with the last id; read faster, or ask for less (task, namespace, type)")
		case <-heartbeat.C:
			text := ": alive\n\n"
			if at, all := x.tail.place(l); all {
				text = "id: " + at.String() + "\n" + text
			}
			err = errors.Join(x.write(text), x.flush())
		}
		if err != nil {
			return err
		}
	}
}

// tellAll tells the message, and what else waits.
func (x *stream) tellAll(ctx context.Context, l *listener, m *message) error {
	for {
		l.bytes.Add(-int64(len(m.text)))
		if !x.at.has(m.at, x.types.Derives()) {
			if err := x.event(ctx, m); err != nil {
				return err
			}
		}
		select {
		case m = <-l.queue:
		default:
			return x.flush()
		}
	}
}

// wants is the part of the filter that needs nothing but the event.
func (x *stream) wants(e *tasker.Event) bool {
	return x.types.Has(e.Event) && (x.task.IsZero() || e.Task == x.task)
}

// event writes an event, if it is of a task that is asked for and may be seen.
func (x *stream) event(ctx context.Context, m *message) error {
	if x.in.Namespace != "" || x.in.Name != "" || len(x.who.Namespaces) > 0 {
		if m.task.IsZero() {
			return nil
		}
		of, err := x.owners.of(ctx, m.task)
		switch {
		case errors.Is(err, tasker.ErrTaskNotFound):
			return nil
		case err != nil:
			return err
		case !x.who.Sees(of.namespace), x.in.Namespace != "" && of.namespace != x.in.Namespace, x.in.Name != "" && of.name != x.in.Name:
			return nil
		}
	}
	x.begin()
	if err := x.write("id: " + m.place + "\nevent: " + string(m.kind) + "\ndata: "); err != nil {
		return err
	}
	return errors.Join(x.write(string(m.text)), x.write("\n\n"))
}

// begin sends the headers, once.
func (x *stream) begin() {
	if x.begun {
		return
	}
	x.begun = true
	x.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	x.w.Header().Set("Cache-Control", "no-store")
	x.w.Header().Set("X-Accel-Buffering", "no") // for proxies that would gather events
	x.w.WriteHeader(http.StatusOK)
}

func (x *stream) write(text string) error {
	if x.out.Available() < len(text) {
		_ = x.control.SetWriteDeadline(time.Now().Add(x.WriteTimeout)) // writing to the connection begins
	}
	_, err := x.out.WriteString(text)
	x.broken = x.broken || err != nil
	return err
}

func (x *stream) flush() error {
	_ = x.control.SetWriteDeadline(time.Now().Add(x.WriteTimeout))
	err := x.out.Flush()
	if err == nil {
		err = x.control.Flush()
	}
	x.broken = x.broken || err != nil
	return err
}

func (s *server) registerEvents() {
	add(s, action{id: "streamEvents", method: http.MethodGet, path: "/events", tag: "events", scopes: []Scope{ScopeRead}, patient: true, anyAnswer: true,
		summary: "Follow events", codes: []Code{CodeTaskNotFound, CodeTooManyStreams, CodeTrimmed, CodeOtherLog, CodeStopping},
		text: "Server-sent events, each with an id after which a later request goes on: nothing is lost, and facts are not repeated. A comment every 15 s " +
			"says that the stream is alive. A reader that does not keep up is cut off; the last message of a stream that the server ends is `event: error` " +
			"with a problem in it.\n\nOrdered per task; between tasks the order is approximate."}, s.events)
}
