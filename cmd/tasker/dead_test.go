package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
)

// publish DIR SUBJECT BODY [HEADER=VALUE...]: what a plain NATS client does, on the server of a data directory.
func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: publish DIR SUBJECT BODY [HEADER=VALUE...]")
	}
	var s serving
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(servingPath(args[0]))), &s))
	nc, err := nats.Connect(s.URL, nats.Token(s.Token))
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	m := &nats.Msg{Subject: args[1], Data: []byte(args[2]), Header: nats.Header{}}
	for _, arg := range args[3:] {
		name, value, _ := strings.Cut(arg, "=")
		m.Header.Add(name, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err = js.PublishMsg(ctx, m)
	ts.Check(err)
}
