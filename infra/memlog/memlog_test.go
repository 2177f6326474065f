package memlog_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) domain.Store { return memlog.New(memlog.Options{Partitions: 2}) })
}
