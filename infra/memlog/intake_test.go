package memlog_test

import (
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/storetest"
)

func TestIntake(t *testing.T) {
	storetest.RunIntake(t, func(*testing.T) domain.Store { return memlog.New(memlog.Options{}) })
	t.Run("full", func(t *testing.T) {
		storetest.RunIntakeFull(t, func(*testing.T) domain.Store { return memlog.New(memlog.Options{IntakeLimit: 10}) }, 11)
	})
}
