package faultnet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/internal/faultnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMessagesToTheClientMeetTheirFates(t *testing.T) {
	srv := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen = "127.0.0.1:0" })
	proxy := faultnet.Start(t, strings.TrimPrefix(srv.URL(), "nats://"))
	nc, err := nats.Connect(proxy.URL(), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("x.*")
	if err != nil {
		t.Fatal(err)
	}
	proxy.Messages(func(m faultnet.Message) faultnet.Fate {
		switch m.Subject {
		case "x.drop":
			return faultnet.Fate{Drop: true}
		case "x.double":
			return faultnet.Fate{Double: true}
		case "x.delay":
			return faultnet.Fate{Delay: 100 * time.Millisecond}
		}
		return faultnet.Fate{}
	})
	send := func(subjects ...string) {
		for _, subject := range subjects {
			if err := nc.PublishMsg(&nats.Msg{Subject: subject, Data: []byte("d\r\nMSG x 1 3"), Header: nats.Header{"K": {"v"}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(subjects ...string) {
		t.Helper()
		for _, subject := range subjects {
			m, err := sub.NextMsg(10 * time.Second)
			if err != nil || m.Subject != subject || string(m.Data) != "d\r\nMSG x 1 3" || m.Header.Get("K") != "v" {
				t.Fatalf("want %s, got %v %v", subject, m, err)
			}
		}
	}
	send("x.1", "x.drop", "x.delay", "x.double", "x.2")
	want("x.1", "x.double", "x.double", "x.2", "x.delay")

	proxy.Cut()
	for !nc.IsReconnecting() && nc.Stats().Reconnects == 0 {
		time.Sleep(time.Millisecond) // a connection's end announces itself to nobody
	}
	for nc.Stats().Reconnects == 0 || !nc.IsConnected() {
		time.Sleep(time.Millisecond)
	}
	send("x.3")
	want("x.3")

	proxy.Freeze(faultnet.ToClient, true)
	send("x.4")
	if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
		t.Fatalf("frozen, but %s came", m.Subject)
	}
	proxy.Freeze(faultnet.ToClient, false)
	want("x.4")
}
