package check

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	face "github.com/tasker-go/tasker"
)

// door tries what a user may do. The server answers in order, so that what was refused can be told from what was not by
// one more try that is always refused.
type door struct {
	t    *testing.T
	nc   *nats.Conn
	errs chan error
}

const always = "refused.always"

func openDoor(t *testing.T, url string, env map[string]string, role string) *door {
	t.Helper()
	d := &door{t: t, errs: make(chan error, 100)}
	d.nc = connect(t, url, append(access(role, env), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { d.errs <- err }))...)
	return d
}

// refused reports whether the server refuses what try does.
func (d *door) refused(try func() error) bool {
	d.t.Helper()
	err := try()
	if err == nil {
		err = d.nc.Publish(always, nil)
	}
	if err == nil {
		err = d.nc.Flush()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	first := (<-d.errs).Error()
	if strings.Contains(first, always) {
		return false
	}
	if !strings.Contains(strings.ToLower(first), "permissions violation") {
		d.t.Fatalf("another error: %s", first)
	}
	_ = <-d.errs // of the second one
	return true
}

func (d *door) check(verb string, subjects []string, refused bool, try func(subject string) error) {
	d.t.Helper()
	for _, s := range subjects {
		if have := d.refused(func() error { return try(s) }); have != refused {
			d.t.Errorf("%s %s: refused is %t", verb, s, have)
		}
	}
}

func (d *door) publish(subject string) error { return d.nc.Publish(subject, []byte("{}")) }

func (d *door) subscribe(subject string) error {
	sub, err := d.nc.SubscribeSync(subject)
	if err == nil {
		d.t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
	return err
}

// dangers are what nobody but the engine may publish to: the truth, what decides who owns it, and what ends it.
var dangers = []string{
	"tasker.log.1.00", "tasker.log.x", "tasker.events.default.t.task_created",
	"$KV.TASKER_META.data", "$KV.TASKER_LEASES.00", "$KV.TASKER_DEFINITIONS.x", "$KV.TASKER_CURSORS.x", "$KV.TASKER_TOKENS.x", "$O.TASKER_SNAPSHOTS.C.x",
	"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.UPDATE.TASKER_LOG_1_00", "$JS.API.STREAM.DELETE.TASKER_LOG_1_00",
	"$JS.API.STREAM.PURGE.TASKER_LOG_1_00", "$JS.API.STREAM.MSG.DELETE.TASKER_LOG_1_00", "$JS.API.STREAM.SNAPSHOT.TASKER_LOG_1_00",
	"$JS.API.STREAM.RESTORE.TASKER_LOG_1_00", "$JS.API.CONSUMER.DURABLE.CREATE.TASKER_INBOX.x",
	"$JS.API.CONSUMER.CREATE.TASKER_INBOX", "$JS.API.CONSUMER.CREATE.TASKER_WORK",
	"$JS.API.CONSUMER.CREATE.TASKER_INBOX.x", "$JS.API.CONSUMER.DELETE.TASKER_INBOX.x", "$JS.API.CONSUMER.MSG.NEXT.TASKER_INBOX.x",
	"$JS.API.CONSUMER.CREATE.TASKER_WORK.x.tasker.work.>", "$JS.API.CONSUMER.DELETE.TASKER_WORK.x", "$JS.API.CONSUMER.PAUSE.TASKER_LOG_1_00.x",
	"$JS.ACK.TASKER_INBOX.x.1.1.1.1.0", "$SYS.REQ.SERVER.PING", "_INBOX.engine.x", "_INBOX.x", "anything.else",
}

func TestRolesOpenTheirOwnDoorsOnly(t *testing.T) {
	url, env := startRoles(t)
	eavesdrop := []string{">", "tasker.>", "tasker.cmd.*", "tasker.log.>", "tasker.submit.>", "_INBOX.>", "_INBOX.engine.>", "$JS.API.>", "$KV.>"}
	reads := []string{
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.TASKER_LOG_1_00", "$JS.API.STREAM.MSG.GET.KV_TASKER_META",
		"$JS.API.CONSUMER.CREATE.TASKER_LOG_1_00.x", "$JS.API.CONSUMER.CREATE.OBJ_TASKER_BLOBS.x.$O.TASKER_BLOBS.C.y",
		"$JS.API.CONSUMER.MSG.NEXT.TASKER_LOG_1_00.x", "$JS.API.CONSUMER.DELETE.TASKER_LOG_1_00.x",
	}
	tokens := []string{
		"$JS.API.STREAM.MSG.GET.KV_TASKER_TOKENS", "$JS.API.DIRECT.GET.KV_TASKER_TOKENS", "$JS.API.DIRECT.GET.KV_TASKER_TOKENS.$KV.TASKER_TOKENS.x",
		"$JS.API.CONSUMER.CREATE.KV_TASKER_TOKENS", "$JS.API.CONSUMER.CREATE.KV_TASKER_TOKENS.x.$KV.TASKER_TOKENS.>", "$JS.API.CONSUMER.MSG.NEXT.KV_TASKER_TOKENS.x",
	}
	for role, is := range map[string]struct{ may, mayNot, hears, mayNotHear []string }{
		"engine": {
			may:        append(dangersExcept("$SYS.REQ.SERVER.PING", "anything.else"), "tasker.cmd.00", "tasker.dead.a.b", "$JS.ACK.TASKER_INBOX.x.1.1.1.1.0"),
			mayNot:     []string{"anything.else", "$SYS.REQ.SERVER.PING"},
			hears:      []string{"_INBOX.engine.x.*", "tasker.cmd.00", "tasker.submit.request", "tasker.submit.request.default.order"},
			mayNotHear: []string{">", "_INBOX.>", "_INBOX.operator.>", "$KV.>"},
		},
		"admin": {
			may:        append(append(reads, "tasker.cmd.00", "$KV.TASKER_TOKENS.x", "$JS.API.STREAM.MSG.DELETE.TASKER_DEAD"), tokens...),
			mayNot:     append(dangersExcept("$KV.TASKER_TOKENS.x"), "tasker.dead.a.b"),
			hears:      []string{"_INBOX.admin.x.*"},
			mayNotHear: append(eavesdrop, "_INBOX.operator.>", "$KV.TASKER_TOKENS.>"),
		},
		"operator": {
			may:        append(reads, "tasker.cmd.00", "tasker.submit.task.default.order", "$O.TASKER_BLOBS.C.x", "$JS.API.STREAM.MSG.DELETE.TASKER_DEAD"),
			mayNot:     append(append(dangers, "tasker.dead.a.b"), tokens...),
			hears:      []string{"_INBOX.operator.x.*"},
			mayNotHear: append(eavesdrop, "_INBOX.reader.>"),
		},
		"submitter": {
			may:        []string{"tasker.submit.task.default.order", "tasker.submit.request", "tasker.submit.request.default.order"},
			mayNot:     append(append(append(reads, dangers...), tokens...), "tasker.cmd.00", "tasker.dead.a.b", "$O.TASKER_BLOBS.C.x"),
			hears:      []string{"_INBOX.submitter.x.*"},
			mayNotHear: append(eavesdrop, "_INBOX.operator.>", "tasker.events.>"),
		},
		"reader": {
			may: append(reads, "$JS.ACK.TASKER_EVENTS.x.1.1.1.1.0"),
			mayNot: append(append(dangers, "tasker.cmd.00", "tasker.submit.task.default.order", "tasker.submit.request", "tasker.dead.a.b",
				"$O.TASKER_BLOBS.C.x", "$JS.API.CONSUMER.CREATE.TASKER_DEAD", "$JS.API.CONSUMER.CREATE.TASKER_DEAD.x"), tokens...),
			hears:      []string{"_INBOX.reader.x.*", "tasker.events.default.>"},
			mayNotHear: append(eavesdrop, "_INBOX.submitter.>"),
		},
	} {
		t.Run(role, func(t *testing.T) {
			d := openDoor(t, url, env, role)
			d.check("publish to", is.may, false, d.publish)
			d.check("publish to", is.mayNot, true, d.publish)
			d.check("listen to", is.hears, false, d.subscribe)
			d.check("listen to", is.mayNotHear, true, d.subscribe)
		})
	}
	t.Run("nobody else", func(t *testing.T) {
		for what, opts := range map[string][]nats.Option{
			"no user": nil, "an unknown user": {nats.UserInfo("admin", "admin")}, "a wrong password": {nats.UserInfo("engine", "engine")},
		} {
			if nc, err := nats.Connect(url, opts...); err == nil {
				nc.Close()
				t.Errorf("%s: gets in", what)
			}
		}
	})
}

func dangersExcept(subjects ...string) []string {
	return slices.DeleteFunc(slices.Clone(dangers), func(s string) bool { return slices.Contains(subjects, s) })
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) violations() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(strings.ToLower(line), "violation") {
			found = append(found, line)
		}
	}
	return found
}

func TestAnEngineNeedsNoMoreThanItsRole(t *testing.T) {
	url, env := startRoles(t)
	logged := &lines{}
	logger := slog.New(slog.NewTextHandler(logged, nil))
	config := face.Config{URL: url, NATSOptions: access("engine", env), Logger: logger}
	runDummy(t, config, func(*face.Engine) {
		t.Run("the operator commands", func(t *testing.T) { operate(t, url, env) })
		t.Run("the admin makes tokens", func(t *testing.T) { administer(t, url, env) })
		t.Run("the submitter submits", func(t *testing.T) { submit(t, url, env) })
		t.Run("the reader reads", func(t *testing.T) { readLog(t, url, env) })
		t.Run("the reader has the server write, and nobody believes it", func(t *testing.T) {
			forge(t, url, env)
			operate(t, url, env)
		})
	})
	runDummy(t, config, nil) // on what is there now
	if v := logged.violations(); len(v) > 0 {
		t.Errorf("the engine was refused something:\n%s", strings.Join(v, ""))
	}
}

func client(t *testing.T, url, role string, env map[string]string) (*face.Client, *lines) {
	t.Helper()
	logged := &lines{}
	c, err := face.NewClient(t.Context(), face.Config{URL: url, NATSOptions: access(role, env), Logger: slog.New(slog.NewTextHandler(logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, logged
}

func operate(t *testing.T, url string, env map[string]string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, logged := client(t, url, "operator", env)
	large := strings.Repeat("x", 300<<10) // goes through the object store
	receipt, err := c.Submit(ctx, "dummy_task", map[string]any{"dummy": true, "large": large})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(ctx, receipt.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Annotate(ctx, receipt.ID, face.Annotation{Kind: "note", Value: json.RawMessage(`"seen"`)}, "ann"); err != nil {
		t.Error(err)
	}
	if tasks, err := c.Tasks(ctx, face.Filter{}); err != nil || len(tasks) == 0 {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
	if h, err := c.History(ctx, receipt.ID); err != nil || len(h.Events) == 0 {
		t.Errorf("history: %v", err)
	}
	if s, err := c.Status(ctx); err != nil || len(s.Engines) != 1 {
		t.Errorf("status: %+v %v", s, err)
	}
	lookAfterDeadLetters(ctx, t, c, connect(t, url, access("operator", env)...))
	if v := logged.violations(); len(v) > 0 {
		t.Errorf("the operator was refused something:\n%s", strings.Join(v, ""))
	}
}

// administer makes and revokes a token, which the operator may not.
func administer(t *testing.T, url string, env map[string]string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, logged := client(t, url, "admin", env)
	if _, _, err := c.CreateToken(ctx, face.TokenSpec{Name: "ci", Scopes: []face.Scope{face.ScopeRead}}, "ann"); err != nil {
		t.Fatal(err)
	}
	if tokens, err := c.Tokens(ctx); err != nil || len(tokens) != 1 {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
	if _, err := c.RevokeToken(ctx, "ci", "ann"); err != nil {
		t.Error(err)
	}
	if v := logged.violations(); len(v) > 0 {
		t.Errorf("the admin was refused something:\n%s", strings.Join(v, ""))
	}
	short, stop := context.WithTimeout(ctx, patience/60)
	defer stop()
	o, _ := client(t, url, "operator", env)
	if _, _, err := o.CreateToken(short, face.TokenSpec{Name: "mine", Scopes: []face.Scope{face.ScopeAdmin}}, "bob"); err == nil {
		t.Error("the operator makes tokens")
	}
}

func readLog(t *testing.T, url string, env map[string]string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, logged := client(t, url, "reader", env)
	var id face.TaskID
	for e, err := range c.Replay(ctx, face.ReplayOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		id = e.Task
	}
	if id.IsZero() {
		t.Error("the log is empty")
	}
	if v := logged.violations(); len(v) > 0 {
		t.Errorf("the reader was refused something:\n%s", strings.Join(v, ""))
	}
	short, stop := context.WithTimeout(ctx, patience/60)
	defer stop()
	if _, err := c.Submit(short, "dummy_task", map[string]bool{"dummy": true}); err == nil {
		t.Error("the reader submits tasks")
	}
}

// submit asks for tasks as a program without our SDK does: by JetStream, and by request and reply.
func submit(t *testing.T, url string, env map[string]string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nc := connect(t, url, access("submitter", env)...)
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := nc.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: "tasker.submit.task.default.dummy_task", Data: []byte(`{"context": {"dummy": true}}`), Header: nats.Header{"Tasker-Reply-To": {inbox}},
	})
	if err != nil || !strings.Contains(string(stored.Data), `"stream":"TASKER_INBOX"`) {
		t.Fatalf("the request is not stored: %v %v", stored, err)
	}
	answer, err := answers.NextMsgWithContext(ctx)
	if err != nil || !strings.Contains(string(answer.Data), `"created":true`) {
		t.Fatalf("the answer is %v, %v", answer, err)
	}
	answer, err = nc.RequestWithContext(ctx, "tasker.submit.request.default.dummy_task", []byte(`{"context": {"dummy": true}}`))
	if err != nil || !strings.Contains(string(answer.Data), `"created":true`) {
		t.Fatalf("the answer is %v, %v", answer, err)
	}
}

// forge has the server copy one partition into the other, which whoever may create consumers can.
func forge(t *testing.T, url string, env map[string]string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nc := connect(t, url, access("reader", env)...)
	for _, c := range [][2]string{{"00", "01"}, {"01", "00"}} {
		stream := "TASKER_LOG_1_" + c[0]
		body := `{"stream_name":"` + stream + `","config":{"name":"forger","deliver_subject":"tasker.log.1.` + c[1] + `","deliver_policy":"all","ack_policy":"none","mem_storage":true}}`
		answer, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE."+stream+".forger", []byte(body))
		if err != nil || strings.Contains(string(answer.Data), `"error"`) {
			t.Fatalf("the test has to be made anew: %v %v", answer, err)
		}
	}
}

// lookAfterDeadLetters sends two requests that no engine can take, mends one and drops the other.
func lookAfterDeadLetters(ctx context.Context, t *testing.T, c *face.Client, nc *nats.Conn) {
	t.Helper()
	for range 2 {
		if _, err := nc.RequestWithContext(ctx, "tasker.submit.task.default.dummy_task", []byte("garbage")); err != nil {
			t.Fatal(err)
		}
	}
	var letters []face.DeadLetter
	await(t, "two dead letters", func() bool {
		var err error
		if letters, err = c.DeadLetters(ctx, face.DeadLetterFilter{}); err != nil {
			t.Fatal(err)
		}
		return len(letters) == 2
	})
	if err := c.Requeue(ctx, letters[0].Sequence, map[string]bool{"dummy": true}); err != nil {
		t.Error(err)
	}
	if n, err := c.DropDeadLetters(ctx, ""); err != nil || n != 1 {
		t.Errorf("%d dead letters dropped, %v", n, err)
	}
}
