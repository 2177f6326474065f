package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// A process that runs nothing itself serves the same over NATS: errors keep their codes on the way.
func TestAClientIsServedLikeAnEngine(t *testing.T) {
	server := natsservertest.Single(t)
	connect := func(o ...nats.Option) (*nats.Conn, error) { return server.Connect(o...) }
	start(t, func(c *tasker.Config) { c.Store, c.Connect = nil, connect })
	client, err := tasker.NewClient(t.Context(), tasker.Config{Connect: connect, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := serve(t, client, Options{})
	events, hangUp := w.follow("?type=task.failed")
	connected(t, events)
	receipt, path := w.submit("fails", "", map[string]any{"text": strings.Repeat("x", 300<<10)})
	if m := next(t, events); m.data.Task != receipt.ID.String() {
		t.Errorf("%+v", m.data)
	}
	hangUp()
	w.until(path, domain.Error)
	r := w.do("POST", path+"/steps/pay/resolve", map[string]any{"result": json.RawMessage(`"` + strings.Repeat("y", 400<<10) + `"`)})
	read[tasker.VerbReceipt](t, r, 200)
	task := w.until(path, domain.Complete)
	if len(task.Steps[0].Result) != 400<<10+2 {
		t.Errorf("a result of %d bytes", len(task.Steps[0].Result))
	}
	for what, c := range map[string]struct {
		reply reply
		code  Code
	}{
		"a transition":  {w.do("POST", path+"/cancel", nil), CodeRefused},
		"a step":        {w.do("POST", path+"/steps/no/retry", nil), CodeStepNotFound},
		"a task":        {w.do("GET", tasksPath+"/"+nobody, nil), CodeTaskNotFound},
		"a fork":        {w.do("POST", path+"/fork", map[string]any{"at": "00-9999-0"}), CodeEventNotFound},
		"a context":     {w.do("POST", tasksPath, map[string]any{"name": "order", "namespace": "shop"}), CodeInvalid},
		"id and key":    {w.do("POST", tasksPath, map[string]any{"name": "echo", "id": nobody, "key": "k"}), CodeInvalid},
		"a definition":  {w.do("POST", tasksPath, map[string]any{"name": "no"}), CodeDefNotFound},
		"no index":      {w.do("GET", tasksPath, nil), CodeNoIndex},
		"a stuck query": {w.do("GET", "/api/v1/stuck?after=x", nil), CodeInvalid},
		"a letter":      {w.do("GET", "/api/v1/dead-letters/7", nil), CodeLetterNotFound},
	} {
		if p := c.reply.problem(t); p.Code != c.code {
			t.Errorf("%s: %+v", what, p)
		}
	}
}
