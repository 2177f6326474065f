package tasker_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// What happened to the orders, read again.
func ExampleEngine_Replay_definition() {
	engine, stop := start(orderFlow())
	defer stop()
	ctx := context.Background()
	id, _ := engine.Submit(ctx, "order", map[string]int{"id": 7})
	_, _ = engine.Wait(ctx, id.ID)

	events := engine.Replay(ctx, tasker.ReplayOptions{Definition: "order", Types: []tasker.EventType{domain.StepCompletedType, domain.TaskCompletedType}})
	for e, err := range events {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Event.Type(), e.Task == id.ID)
	}
	// Output:
	// step.completed true
	// task.completed true
}

// A log becomes a file, and the file a log.
func ExampleImport() {
	engine, stop := start(orderFlow())
	ctx := context.Background()
	id, _ := engine.Submit(ctx, "order", map[string]int{"id": 7})
	_, _ = engine.Wait(ctx, id.ID)

	var file bytes.Buffer
	exported, err := engine.Export(ctx, &file, tasker.ExportOptions{})
	stop()
	if err != nil {
		fmt.Println(err)
		return
	}
	config := tasker.Config{Store: memlog.New(memlog.Options{}), Logger: slog.New(slog.DiscardHandler)}
	report, err := tasker.Import(ctx, config, bytes.NewReader(file.Bytes()), tasker.ImportOptions{})
	fmt.Println(report.Messages == exported.Messages, report.Live, err)
	// Output: true 0 <nil>
}

func orderFlow() *tasker.Workflow {
	pack := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		return "packed", nil
	})
	return tasker.Define("order").Step("pack", pack).MustBuild()
}
