package memlog_test

import (
	"context"
	"testing"

	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/storetest"
)

func TestALogMayBeginLater(t *testing.T) {
	ctx := t.Context()
	log := memlog.New(memlog.Options{}).Log(0)
	b := log.(interface {
		Begin(ctx context.Context, first uint64) error
	})
	for range 2 {
		if err := b.Begin(ctx, 40); err != nil {
			t.Fatal(err)
		}
	}
	if bounds, err := log.Bounds(ctx); err != nil || bounds.First != 40 || bounds.Last != 39 {
		t.Fatalf("%+v, %v", bounds, err)
	}
	if got, err := storetest.Append(ctx, log, 39, "c", []byte("x")); err != nil || got != 40 {
		t.Fatalf("%d, %v", got, err)
	}
	for _, again := range []uint64{1, 40, 41, 50} {
		if err := b.Begin(ctx, again); err == nil {
			t.Errorf("a log with messages may begin with %d", again)
		}
	}
	if m, err := log.Read(ctx, 40); err != nil || m.Sequence != 40 {
		t.Errorf("%+v, %v", m, err)
	}
}
