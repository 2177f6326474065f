package tasker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestASubscriberIsForgottenWhenNobodyRunsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, stop := runEngine(t, tasker.Config{Store: memlog.New(memlog.Options{})})
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- e.Attach(ctx, "books", nil, func(context.Context, tasker.Event) error { return nil })
		}()
		time.Sleep(time.Second)
		list, err := e.Subscribers(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "books" || len(list[0].Partitions) == 0 {
			t.Errorf("Subscribers: %+v, %v", list, err)
		}
		if err := e.ForgetSubscriber(t.Context(), "books"); !errors.Is(err, tasker.ErrSubscriberRuns) {
			t.Errorf("while it runs: %v", err)
		}
		if err := e.ForgetSubscriber(t.Context(), "nobody"); !errors.Is(err, tasker.ErrSubscriberNotFound) {
			t.Errorf("one that is not there: %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := e.ForgetSubscriber(t.Context(), "books"); err != nil {
			t.Error(err)
		}
		if list, err := e.Subscribers(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("afterwards: %+v, %v", list, err)
		}
	})
}
