// Command interop submits a task as a program does that was built on watermill-nats, and watches the task end by Watermill.
// It reads where engines are from NATS_URL, and knows of them what docs/wire.md says.
//
//	NATS_URL=nats://127.0.0.1:4222 go run ./examples/interop -definition hello -context '{"name": "world"}'
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/remote"
	"github.com/tasker-go/tasker/infra/watermill"
	"github.com/tasker-go/tasker/infra/watermillnats"
)

// patience is how long an engine may take to answer a request.
const patience = 30 * time.Second

func main() {
	var r domain.IntakeRequest
	flag.StringVar(&r.Namespace, "namespace", domain.DefaultNamespace, "of the definition")
	flag.StringVar(&r.Name, "definition", "hello", "name of the definition")
	flag.StringVar(&r.IdempotencyKey, "key", "", "idempotency key (default: a new one)")
	input := flag.String("context", `{"name": "world"}`, "the task's input, a JSON object")
	flag.Parse()
	r.Context = json.RawMessage(*input)
	if r.IdempotencyKey == "" {
		r.IdempotencyKey = wm.NewUUID()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, remote.FromEnvironment(), r)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, at remote.NATS, r domain.IntakeRequest) error {
	answer, err := submit(ctx, at, r)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "task %s, new: %t\n", answer.Task, answer.Created)
	return watch(ctx, out, at, answer)
}

// submit publishes a request through watermill-nats and waits for the engine's answer, which comes as a plain message.
func submit(ctx context.Context, at remote.NATS, r domain.IntakeRequest) (domain.IntakeAnswer, error) {
	var answer domain.IntakeAnswer
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nc, err := at.Connect()
	if err != nil {
		return answer, err
	}
	defer nc.Close()
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err == nil {
		err = nc.FlushWithContext(ctx) // the server has to know of it before an engine answers
	}
	if err != nil {
		return answer, err
	}
	publisher, err := watermillnats.NewPublisher(watermillnats.PublisherConfig{URL: at.URL, NatsOptions: at.Options()}, wm.NewSlogLogger(nil))
	if err != nil {
		return answer, err
	}
	defer func() { _ = publisher.Close() }()
	body, err := json.Marshal(r)
	if err != nil {
		return answer, err
	}
	msg := message.NewMessage(wm.NewUUID(), body)
	msg.Metadata.Set(domain.HeaderReplyTo, inbox)
	if err := publisher.Publish(domain.IntakeSubject("", r.Namespace, r.Name), msg); err != nil {
		return answer, err
	}
	reply, err := answers.NextMsgWithContext(ctx)
	if err != nil {
		return answer, fmt.Errorf("the request is stored, and no engine has answered yet: %w", err)
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return answer, err
	}
	if answer.Error != nil {
		return answer, answer.Error
	}
	return answer, nil
}

// ends are the events after which the task does nothing by itself.
var ends = []domain.EventType{
	domain.TaskCompletedType, domain.TaskFailedType, domain.TaskCancelledType, domain.TaskResolvedManuallyType,
}

// watch tells what happens to the task until it has ended.
func watch(ctx context.Context, out io.Writer, at remote.NATS, answer domain.IntakeAnswer) error {
	client, err := tasker.NewClient(ctx, tasker.Config{Connect: at.Connect})
	if err != nil {
		return err
	}
	defer client.Close()
	first, err := client.Event(ctx, *answer.Position)
	if err != nil {
		return err
	}
	events, err := watermill.NewEvents(client, watermill.EventsConfig{
		Subscription: domain.Subscription{From: domain.FromTime(first.At.Time().Add(-time.Minute))},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	messages, err := events.Subscribe(ctx, watermill.EveryFact)
	if err != nil {
		return err
	}
	var end error
	ended := false
	for msg := range messages { // until stop, and what is on its way then
		if msg.Metadata.Get(watermill.MetadataTask) == answer.Task.String() && !ended {
			line := fmt.Sprintf("%-26s %s", msg.Metadata.Get(watermill.MetadataType), msg.Metadata.Get(watermill.MetadataStep))
			_, _ = fmt.Fprintln(out, strings.TrimSpace(line))
			typ := domain.EventType(msg.Metadata.Get(watermill.MetadataType))
			if ended = slices.Contains(ends, typ); ended {
				stop()
			}
			if ended && typ != domain.TaskCompletedType {
				end = fmt.Errorf("task %s did not complete: %s", answer.Task, msg.Payload)
			}
		}
		msg.Ack()
	}
	if err := events.Err(); err != nil {
		return err
	}
	if !ended {
		return errors.New("interrupted before the task has ended")
	}
	return end
}
