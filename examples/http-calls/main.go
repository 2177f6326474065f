// Command http-calls runs a workflow of HTTP requests against a service that does not behave.
//
//	go run ./examples/http-calls
//	go run ./examples/http-calls -serve localhost:8089    # the service alone, for the command line
package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the definition
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/examples/internal/local"
	"github.com/tasker-go/tasker/infra/handlerconfig"
	"github.com/tasker-go/tasker/infra/httphandler"
	"github.com/tasker-go/tasker/infra/loghandler"
	"github.com/tasker-go/tasker/infra/yamldef"
)

//go:embed delivery.yaml
var definition []byte

func main() {
	serve := flag.String("serve", "", "run only the service, on this address")
	secret := flag.String("token", token, "what ${secret.CARRIER_TOKEN} is")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *serve, *secret)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run runs the service, and unless it is to be alone, the workflow.
func run(ctx context.Context, out io.Writer, serve, secret string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cmp.Or(serve, "localhost:0"))
	if err != nil {
		return err
	}
	s := newService(nil)
	if serve != "" {
		s.log = out
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	switch {
	case serve != "":
		_, _ = fmt.Fprintln(out, "listening on", listener.Addr())
		<-ctx.Done()
	default:
		err = deliver(ctx, out, "http://"+listener.Addr().String(), secret)
	}
	err = errors.Join(err, server.Close())
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// deliver runs the workflow on an engine of its own.
func deliver(ctx context.Context, out io.Writer, url, secret string) error {
	calls := httphandler.New(httphandler.Options{Logger: tasker.Logger, Secret: secretOf(secret)})
	defer calls.Close()
	register := func(engine *tasker.Engine) error {
		d, err := yamldef.Load("delivery.yaml", definition)
		if err != nil {
			return err
		}
		return errors.Join(engine.Register(d), engine.Handler("http", calls),
			engine.Handler("log", loghandler.New(loghandler.Options{Logger: tasker.Logger})))
	}
	return local.Run(ctx, local.Options{Register: register}, func(ctx context.Context, engine *tasker.Engine) error {
		return story(ctx, out, engine, url)
	})
}

// secretOf knows one secret. By default secrets come from the environment: TASKER_SECRET_CARRIER_TOKEN.
func secretOf(secret string) func(context.Context, string) (string, error) {
	return func(_ context.Context, name string) (string, error) {
		if name == "CARRIER_TOKEN" {
			return secret, nil
		}
		return "", fmt.Errorf("%w: %s", handlerconfig.ErrNoValue, name)
	}
}

// story delivers one order, and shows every request and what it brought.
func story(ctx context.Context, out io.Writer, engine *tasker.Engine, url string) error {
	receipt, err := engine.Submit(ctx, "delivery", map[string]string{"service": url, "order": "o-17", "customer": "ada"})
	if err != nil {
		return err
	}
	_, failed := engine.Wait(ctx, receipt.ID)
	var text bytes.Buffer
	if err := local.Timeline(ctx, &text, engine, receipt.ID); err != nil {
		return errors.Join(failed, err)
	}
	task, err := engine.Task(ctx, receipt.ID)
	if err != nil {
		return err
	}
	for _, step := range task.Steps {
		var result struct{ Body json.RawMessage } // what the log handler returns has none
		if json.Unmarshal(step.Result, &result) == nil {
			_, _ = fmt.Fprintf(&text, "%-15s %s\n", step.Name, cmp.Or(string(result.Body), string(step.Result)))
		}
	}
	_, err = out.Write(bytes.ReplaceAll(text.Bytes(), []byte(url), nil))
	return errors.Join(failed, err)
}
