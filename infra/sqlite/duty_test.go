package sqlite

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestItRestsWhileTheProcessorsAreFull(t *testing.T) {
	never := func() bool { return false }
	synctest.Test(t, func(t *testing.T) {
		rested := func(d *duty, used time.Duration, urgent func() bool) time.Duration {
			d.asked = time.Now() // it has just looked
			began := time.Now()
			d.rest(t.Context(), began, used, urgent)
			return time.Since(began)
		}
		if took := rested(&duty{}, time.Second, never); took != 0 {
			t.Errorf("it rested for %s while there was room", took)
		}
		full := &duty{full: true, share: dutyShare}
		used := 10 * time.Millisecond
		want := time.Duration(dutyAll * float64(used) / (dutyShare * float64(runtime.GOMAXPROCS(0))))
		if took := rested(full, used, never); took != want {
			t.Errorf("it rested for %s, want %s", took, want)
		}
		if took := rested(full, time.Hour, never); took != dutyMost {
			t.Errorf("it rested for %s", took)
		}
		asked := 0
		if took := rested(full, time.Hour, func() bool { asked++; return asked > 3 }); took > 100*time.Millisecond {
			t.Errorf("somebody waited for it, and it rested for %s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		full.asked = began
		if full.rest(ctx, began, time.Hour, never); time.Since(began) != 0 {
			t.Error("it rested although it was told to end")
		}
	})
}

func TestWhatThreadsUseIsMeasured(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere it is the time on the wall, or nothing")
	}
	used, err := measured(func() error {
		for before := threadTime(); threadTime() == before; { // until the system has counted something
			runtime.KeepAlive(before)
		}
		return nil
	})
	all, _ := usedAndWaited()
	if err != nil || used <= 0 || all < used {
		t.Errorf("%s of %s, %v", used, all, err)
	}
}
