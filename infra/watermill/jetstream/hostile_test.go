package jetstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// put stores a message on orders.1 as a client does that knows nothing of Watermill.
func put(t testing.TB, j js.JetStream, h nats.Header, data string) {
	t.Helper()
	_, err := j.PublishMsg(t.Context(), &nats.Msg{Subject: "orders.1", Header: h, Data: []byte(data)})
	must(t, err)
}

func TestMessagesOfOtherClientsAreRead(t *testing.T) {
	nc, j := connect(t)
	put(t, j, nil, "no headers")
	put(t, j, nats.Header{"Accept": {"a", "b"}, "lower": {"c"}, "None": {""}, "nats-ttl-like": {"x"}}, "many values")
	put(t, j, nats.Header{uuidHeader: {"one", "two"}}, "two UUIDs")
	put(t, j, nats.Header{"Nats-Msg-Id": {"7"}, "Nats-Expected-Last-Sequence": {"3"}, "_jetstream_sequence": {"99"}}, "the server's and our own")
	put(t, j, nats.Header{"Bad": {"\xff\xfe"}}, "\xff\x00\xfe")
	put(t, j, nil, "")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{UntilCaughtUp: true}), "orders.1")
	type seen struct {
		uuid, payload string
		headers       message.Metadata
	}
	for i, want := range []seen{
		{"ORDERS-1", "no headers", message.Metadata{}},
		{"ORDERS-2", "many values", message.Metadata{"Accept": "a, b", "lower": "c", "None": ""}},
		{"one", "two UUIDs", message.Metadata{}},
		{"ORDERS-4", "the server's and our own", message.Metadata{}},
		{"ORDERS-5", "\xff\x00\xfe", message.Metadata{"Bad": "\xff\xfe"}},
		{"ORDERS-6", "", message.Metadata{}},
	} {
		m := receive(t, ch)
		if got := m.Metadata[MetaSequence]; got != fmt.Sprint(i+1) {
			t.Errorf("message %d says it is at %s", i+1, got)
		}
		headers := message.Metadata{}
		for k, v := range m.Metadata {
			if !strings.HasPrefix(k, ownPrefix) {
				headers[k] = v
			}
		}
		got := seen{m.UUID, string(m.Payload), headers}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("message %d: got %q, want %q", i+1, got, want)
		}
		m.Ack()
	}
	ended(t, ch)
}

// statuses are stored messages that look like what a server says about a consumer.
var statuses = []nats.Header{
	{"Status": {"409"}, "Description": {"Consumer Deleted"}},
	{"Status": {"409"}, "Description": {"Server Shutdown"}},
	{"Status": {"100"}, "Description": {"Idle Heartbeat"}},
	{"Status": {"404"}, "Description": {"No Messages"}},
	{"Status": {"408"}, "Description": {"Request Timeout"}, "Nats-Pending-Messages": {"99999999"}},
	{"Status": {"503"}},
	{"Status": {"garbage"}},
}

func TestAStoredMessageCannotSpeakForTheServer(t *testing.T) {
	nc, j := connect(t)
	for _, h := range statuses {
		put(t, j, h, "")
	}
	put(t, j, nil, "the last")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{AckWait: longAckWait}), "orders.1")
	for _, h := range statuses {
		m := receive(t, ch)
		if m.Metadata["Status"] != h.Get("Status") {
			t.Errorf("got status %q, want %q", m.Metadata["Status"], h.Get("Status"))
		}
		m.Ack()
	}
	if got := payloads(t, ch, 1); got[0] != "the last" {
		t.Errorf("got %q", got)
	}
}

func TestAKeyThatPanicsDoesNotEndTheProcess(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1", "orders.2")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{Lanes: 4, Key: func(m *message.Message) string {
		return string(m.Payload[100])
	}}), "orders.>")
	got := payloads(t, ch, 2)
	slices.Sort(got)
	if !slices.Equal(got, []string{"orders.1", "orders.2"}) {
		t.Errorf("got %v", got)
	}
}

func FuzzAnyHeaderIsRead(f *testing.F) {
	f.Add("Key", "value", "second", []byte("payload"))
	f.Add(uuidHeader, "", "", []byte(nil))
	f.Add("Nats-", "x", "", []byte("x"))
	f.Add("_jetstream_sequence", "no number", "", []byte{})
	f.Fuzz(func(t *testing.T, key, first, second string, payload []byte) {
		meta := &nats.MsgMetadata{Stream: "S", NumDelivered: 1, Sequence: nats.SequencePair{Stream: 7, Consumer: 7}}
		for _, values := range [][]string{nil, {first}, {first, second}} {
			m := unmarshal(&nats.Msg{Subject: "s", Header: nats.Header{key: values}, Data: payload}, meta)
			if m.UUID == "" || Sequence(m) != 7 || m.Metadata[MetaSubject] != "s" || string(m.Payload) != string(payload) {
				t.Fatalf("%q %q became %v", key, values, m)
			}
		}
	})
}
