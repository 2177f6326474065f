package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// heard is one message of a stream.
type heard struct {
	id, event string
	data      EventData
	text      string
}

// follow opens a stream; the messages come in the channel, which is closed at its end.
func (w *world) follow(query string, headers ...string) (messages chan heard, hangUp func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+"/api/v1/events"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") || resp.Header.Get("Content-Encoding") != "" {
		text, _ := io.ReadAll(resp.Body)
		cancel()
		w.t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
	messages = make(chan heard)
	var reads sync.WaitGroup
	reads.Go(func() {
		defer close(messages)
		defer resp.Body.Close()
		parse(ctx, resp.Body, messages)
	})
	hangUp = func() {
		cancel()
		reads.Wait()
	}
	w.t.Cleanup(hangUp)
	return messages, hangUp
}

// parse reads the stream as a browser does: an id without data is remembered, and told with event "".
func parse(ctx context.Context, from io.Reader, to chan<- heard) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 32<<20)
	var m heard
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			select {
			case to <- m:
			case <-ctx.Done():
				return
			}
			m = heard{id: m.id}
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.text = value
			_ = json.Unmarshal([]byte(value), &m.data)
		}
	}
}

// next is the next event, comments left out.
func next(t testing.TB, from chan heard) heard {
	t.Helper()
	end := time.After(15 * time.Second)
	for {
		select {
		case m, ok := <-from:
			if !ok {
				t.Fatal("the stream has ended")
			}
			if m.event != "" {
				return m
			}
		case <-end:
			t.Fatal("nothing comes")
		}
	}
}

// connected waits until the stream tells everything from now on.
func connected(t testing.TB, from chan heard) heard {
	t.Helper()
	select {
	case m := <-from:
		if m.event != "" || m.id == "" {
			t.Fatalf("the first message is %+v", m)
		}
		return m
	case <-time.After(15 * time.Second):
		t.Fatal("not connected")
	}
	return heard{}
}

// tryEvents follows what happens.
func tryEvents(t *testing.T, w *world) {
	all, hangUp := w.follow("")
	connected(t, all)
	mine, hangUpMine := w.as("shop").follow("?type=task.*")
	connected(t, mine)
	w.submit("echo", "", nil) // not for mine
	receipt, _ := w.submit("order", "shop", map[string]any{"total": 1})
	first := next(t, mine)
	if first.event != string(domain.TaskCreatedType) || first.data.Task != receipt.ID.String() || first.data.Namespace != "shop" || first.data.Name != "order" ||
		first.data.ID == "" || first.data.Actor == "" || first.data.At == 0 || len(first.data.Data) == 0 {
		t.Errorf("%+v", first)
	}
	for seen := 0; seen < 2; { // both tasks end
		if m := next(t, all); m.event == string(domain.TaskCompletedType) {
			seen++
		} else if m.event == string(domain.StepCompletedType) && (m.data.Step == "" || m.data.Attempt != 1) {
			t.Errorf("%+v", m)
		}
	}
	hangUp()
	hangUpMine()
	only, hangUp := w.follow("?from=beginning&task=" + receipt.ID.String() + "&type=task.completed&type=" + string(domain.SignalTaskStarted))
	defer hangUp()
	if m := next(t, only); m.event != string(domain.SignalTaskStarted) {
		t.Errorf("%+v", m)
	}
	if m := next(t, only); m.event != string(domain.TaskCompletedType) || m.data.Task != receipt.ID.String() {
		t.Errorf("%+v", m)
	}
	for query, code := range map[string]Code{
		"?type=task.created.twice": CodeInvalid, "?type=step.handle": CodeInvalid, "?task=x": CodeInvalid, "?after=x": CodeInvalid, "?from=then": CodeInvalid,
		"?name=a@1": CodeInvalid, "?after=other:00=1": CodeOtherLog, "?task=" + nobody: "",
	} {
		r := w.as("shop").do("HEAD", "/api/v1/events"+query, nil)
		if code == "" { // a task that is not there is none of the token's
			code = CodeTaskNotFound
		}
		if want := statuses[code]; r.Status != want {
			t.Errorf("%s: %d, want %d", query, r.Status, want)
		}
	}
}

// A reader that goes on where it was, from any id, loses nothing and is told nothing twice.
func TestAStreamGoesOnWhereItWas(t *testing.T) {
	w := serve(t, start(t), Options{})
	live, hangUp := w.follow("")
	connected(t, live)
	const tasks = 6
	for range tasks {
		w.submit("echo", "", nil)
	}
	var want []heard
	for ended := 0; ended < tasks; {
		m := next(t, live)
		if want = append(want, m); m.event == string(domain.TaskCompletedType) {
			ended++
		}
	}
	hangUp()
	whole := map[string]string{}
	for _, m := range want {
		if whole[m.data.ID] != "" {
			t.Errorf("%s came twice", m.data.ID)
		}
		whole[m.data.ID] = m.text
	}
	for i := 0; i < len(want)-1; i += 3 {
		seen := map[string]bool{}
		for _, m := range want[:i+1] {
			seen[m.data.ID] = true
		}
		how := "?after=" + want[i].id
		var headers []string
		if i%2 == 0 {
			how, headers = "?from=beginning", []string{"Last-Event-ID: " + want[i].id}
		}
		rest, hangUp := w.follow(how, headers...)
		for len(seen) < len(whole) {
			m := next(t, rest)
			if seen[m.data.ID] || whole[m.data.ID] != m.text {
				t.Fatalf("after event %d: %+v", i, m)
			}
			seen[m.data.ID] = true
		}
		hangUp()
	}
}

// Handing over from what is stored to what happens leaves no gap while tasks are made all the time.
func TestAStreamFromTheBeginningBecomesLive(t *testing.T) {
	w := serve(t, start(t), Options{StreamBuffer: 8}) // so small that catching up has to begin anew
	const tasks = 150
	var submits sync.WaitGroup
	submits.Go(func() {
		for i := range tasks {
			if _, err := w.engine.Submit(context.Background(), "echo", map[string]int{"i": i}); err != nil {
				t.Error(err)
			}
		}
	})
	defer submits.Wait()
	created, at := map[string]bool{}, ""
	for len(created) < tasks {
		query := "?from=beginning&type=task.created"
		if at != "" {
			query = "?type=task.created&after=" + at
		}
		messages, hangUp := w.follow(query)
		for m := range messages {
			switch m.event {
			case string(domain.TaskCreatedType):
				if at = m.id; created[m.data.Task] {
					t.Fatalf("%s came twice", m.data.Task)
				}
				created[m.data.Task] = true
			case "error":
				if !strings.Contains(m.text, string(CodeSlowClient)) {
					t.Fatal(m.text)
				}
			}
			if len(created) == tasks {
				break
			}
		}
		hangUp()
	}
}

func TestAStreamSaysThatItIsAlive(t *testing.T) {
	w := serve(t, start(t), Options{Heartbeat: 5 * time.Millisecond})
	quietOne, _ := w.follow("?type=task.paused")
	began := connected(t, quietOne)
	w.submit("echo", "", nil)
	end := time.After(15 * time.Second)
	for {
		select {
		case m := <-quietOne:
			if m.event != "" {
				t.Fatalf("%+v", m)
			}
			if m.id != began.id { // what it does not tell is behind it all the same
				return
			}
		case <-end:
			t.Fatal("the place stays where it was")
		}
	}
}

func TestStreamsAreLimitedAndEndWithTheServer(t *testing.T) {
	done := make(chan struct{})
	w := serve(t, start(t), Options{MaxStreams: 2, Done: done})
	a, _ := w.follow("")
	connected(t, a)
	_, hangUp := w.follow("")
	p := w.do("GET", "/api/v1/events", nil).problem(t)
	if p.Code != CodeTooManyStreams || p.Status != 429 {
		t.Errorf("%+v", p)
	}
	hangUp()
	for end := time.Now().Add(10 * time.Second); ; {
		r, err := w.try("HEAD", "/api/v1/me", nil)
		if err != nil || r.Status != 200 {
			t.Fatal(r, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+"/api/v1/events", nil)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		cancel()
		if err == nil && resp.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a place does not become free")
		}
	}
	waiting := make(chan reply, 1)
	_, path := w.submit("hangs", "", nil)
	go func() {
		r, _ := w.try("GET", path+"/wait?timeout=20s", nil)
		waiting <- r
	}()
	for m := next(t, a); m.data.Type != domain.StepExecutionRequestedType; m = next(t, a) {
		continue
	}
	close(done)
	for m := next(t, a); ; m = next(t, a) {
		if m.event == "error" {
			if !strings.Contains(m.text, string(CodeStopping)) {
				t.Error(m.text)
			}
			break
		}
	}
	if _, more := <-a; more {
		t.Error("the stream goes on")
	}
	if got := read[Waited](t, <-waiting, 200); got.Done {
		t.Errorf("%+v", got)
	}
}

// A reader that takes nothing is cut off, and the others go on.
func TestASlowReaderIsCutOff(t *testing.T) {
	w := serve(t, start(t), Options{StreamBuffer: 4, WriteTimeout: 50 * time.Millisecond})
	fast, _ := w.follow("?type=task.completed")
	connected(t, fast)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+"/api/v1/events?from=now", nil)
	slow, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	text := strings.Repeat("x", 100<<10)
	var ids []tasker.TaskID
	for range 35 { // of three such texts each: far more than the buffers of a connection
		receipt, err := w.engine.Submit(t.Context(), "order", map[string]any{"total": 1, "text": text}, tasker.InNamespace("shop"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, receipt.ID)
		if m := next(t, fast); m.data.Task != receipt.ID.String() {
			t.Fatalf("%+v, want %s", m.data, receipt.ID)
		}
	}
	last := ids[len(ids)-1].String()
	got, err := io.ReadAll(slow.Body)
	if strings.Contains(string(got), last) && err == nil {
		t.Errorf("the slow reader got all %d bytes", len(got))
	}
}

// One reader of the log serves all streams, and ends with the last of them.
func TestStreamsShareOneReaderOfTheLog(t *testing.T) {
	counted := &counting{running: start(t)}
	w := serve(t, counted, Options{})
	var hangUps []func()
	for i := range 20 {
		messages, hangUp := w.follow(fmt.Sprintf("?type=task.created&name=%s", []string{"echo", "order"}[i%2]))
		connected(t, messages)
		hangUps = append(hangUps, hangUp)
		if i == 19 {
			w.submit("order", "shop", map[string]any{"total": 1})
			next(t, messages)
		}
	}
	if got := counted.replays(); got != 1 {
		t.Errorf("%d readers", got)
	}
	for _, hangUp := range hangUps {
		hangUp()
	}
	for end := time.Now().Add(10 * time.Second); counted.open() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d readers stay", counted.open())
		}
	}
}

// The id of an event names everything before it, whatever partition it is in.
func TestAPlaceKnowsWhatWasRead(t *testing.T) {
	at := func(p int, sequence uint64, i int) tasker.Position {
		return tasker.Position{Partition: p, Sequence: sequence, Index: i}
	}
	p := place{cursor: domain.Cursor{DataID: "d", Sequences: map[int]uint64{1: 4}}}
	for _, e := range []tasker.Position{at(0, 3, 0), at(0, 3, 1), at(1, 5, 2)} {
		if p.has(e, false) {
			t.Errorf("%s has %s", &p, e)
		}
		p.reached(e)
	}
	if got := p.String(); got != "d:00=3,01=4~01-5-2" {
		t.Error(got)
	}
	read, err := parsePlace(p.String())
	if err != nil || read.String() != p.String() {
		t.Errorf("%v %v", &read, err)
	}
	for e, want := range map[tasker.Position]bool{at(0, 3, 9): true, at(1, 5, 2): true, at(1, 5, 1): true, at(1, 5, 3): false, at(0, 4, 0): false, at(1, 4, 7): true, at(2, 1, 0): false} {
		if p.has(e, false) != want {
			t.Errorf("has %s: %v", e, !want)
		}
	}
	read.reached(at(0, 4, 1)) // comes before the rest of the commit that was left
	if got := read.String(); got != "d:00=3,01=4~01-5-2~00-4-1" || read.has(at(1, 5, 3), false) || !read.has(at(1, 5, 2), false) {
		t.Error(got)
	}
	if again, err := parsePlace(read.String()); err != nil || again.has(at(1, 5, 3), false) || again.has(at(0, 4, 2), false) || !again.has(at(0, 4, 1), false) {
		t.Errorf("%+v %v", again, err)
	}
	if p.has(at(1, 5, 2), true) || !p.has(at(1, 5, 1), true) {
		t.Error("signals at the last position come again")
	}
	for _, text := range []string{"", "d", "d:~", "d:00=1~x", ":00=1", "d:00=1~00-1"} {
		if _, err := parsePlace(text); err == nil {
			t.Errorf("%q is a place", text)
		}
	}
}
