package goldenlog

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/memlog"
)

// C8: this version takes an old log over, and what was unfinished in it ends.
func TestC08EngineGoesOnWhereAnOlderVersionStopped(t *testing.T) {
	for _, path := range logs(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			log := readLog(t, path)
			commits := decode(t, log)
			before := fold(t, commits, len(commits))
			if len(before.Live) == 0 {
				t.Fatal("the log has no live task")
			}
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(log[len(log)-1].Time))
				store := memlog.New(memlog.Options{})
				for _, m := range log {
					store.Foreign(0, m.CommitID, m.data())
				}
				takeOver(t, store, before)
			})
		})
	}
}

func takeOver(t *testing.T, store *memlog.Store, before partition) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	engine, err := tasker.New(ctx, tasker.Config{Store: store, LeaseTTL: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Register(workflows(true)...); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-engine.Ready()
	for _, text := range append(before.Live, before.Failed...) {
		id, err := tasker.ParseTaskID(text)
		if err != nil {
			t.Fatal(err)
		}
		switch was := before.Tasks[text]; {
		case was.Paused:
			_, err = engine.Resume(ctx, id, ann)
		case was.Failed != "":
			_, err = engine.Resolve(ctx, id, ann)
			if err != nil {
				t.Errorf("failed task %s: %v", id, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("task %s: %v", id, err)
		}
		waits, cancel := context.WithTimeout(ctx, time.Hour)
		if _, err := engine.Wait(waits, id); err != nil {
			t.Errorf("task %s of %s: %v", id, before.Definitions[before.Tasks[text].Definition], err)
		}
		cancel()
	}
	// What has ended is known still: the same key is the same task.
	receipt, err := engine.Submit(ctx, "dummy_task", map[string]bool{"dummy": true}, tasker.Key("golden"))
	if _, was := before.Ended[receipt.ID.String()]; err != nil || receipt.Created || !was {
		t.Errorf("the key of an ended task gave %+v, %v", receipt, err)
	}
}
