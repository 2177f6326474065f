package tasker_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestASubscriberEndsWithItsEngineAndHasWrittenItsCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memlog.New(memlog.Options{})
		var heard atomic.Int64
		listen := func(ctx context.Context, _ tasker.Event) error {
			heard.Add(1)
			return ctx.Err()
		}
		// live is an engine's life with one task and the subscriber.
		live := func() (e *tasker.Engine, ended error) {
			e, err := tasker.New(t.Context(), tasker.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Register(tasker.Define("one").Step("a", tasker.Handle(func(context.Context, struct{}) (int, error) { return 1, nil })).MustBuild()); err != nil {
				t.Fatal(err)
			}
			run, stop := context.WithCancel(t.Context())
			through, attached := make(chan error, 1), make(chan error, 1)
			go func() { through <- e.Run(run) }()
			<-e.Ready()
			go func() {
				attached <- e.Attach(t.Context(), "listener", []tasker.EventType{domain.TaskCompletedType}, listen,
					tasker.AttachOptions{From: tasker.FromBeginning})
			}()
			receipt, err := e.Submit(t.Context(), "one", struct{}{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Wait(t.Context(), receipt.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			stop()
			if err := <-through; err != nil {
				t.Error(err)
			}
			select {
			case ended = <-attached:
			default:
				t.Error("Run has returned, and the subscriber goes on")
				ended = <-attached
			}
			return e, ended
		}
		for n := int64(1); n <= 3; n++ {
			e, err := live()
			if err != nil {
				t.Errorf("Attach: %v", err)
			}
			if heard.Load() != n {
				t.Fatalf("life %d: %d events were heard", n, heard.Load())
			}
			if err := e.Attach(t.Context(), "late", nil, listen); !errors.Is(err, tasker.ErrNotRunning) {
				t.Errorf("attached to an engine that has ended: %v", err)
			}
		}
	})
}

func TestASubscriberThatDoesNotListenHoldsTheEndUpForAWhileOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := tasker.New(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{}), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		run, stop := context.WithCancel(t.Context())
		through := make(chan error, 1)
		go func() { through <- e.Run(run) }()
		<-e.Ready()
		deaf := make(chan struct{})
		attached := make(chan error, 1)
		go func() {
			attached <- e.Attach(t.Context(), "", []tasker.EventType{domain.PartitionOpenedType}, func(context.Context, tasker.Event) error {
				<-deaf
				return nil
			}, tasker.AttachOptions{From: tasker.FromBeginning})
		}()
		time.Sleep(time.Second)
		began := time.Now()
		stop()
		if err := <-through; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("the engine ended after %s", took)
		}
		close(deaf)
		if err := <-attached; err != nil {
			t.Error(err)
		}
	})
}
