//go:build unix

package attached

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// BenchmarkReplayMillion replays 1,000,000 events of dummy tasks from the embedded server: commits of about 290 events
// of many tasks, as the engine makes them under load (DESIGN 1), in two partitions. Issue 4 allows 3 s on two cores.
func BenchmarkReplayMillion(b *testing.B) {
	const events = 1_000_000
	const started = 4 * 290 // events more or less: of the tasks that have only begun when the log ends
	for _, c := range []struct {
		name string
		o    ReplayOptions
		want int
	}{
		{"all", ReplayOptions{}, events},
		{"definition", ReplayOptions{Namespace: "default", Definition: "dummy@1.0.0"}, events},
		{"type", ReplayOptions{Types: []domain.EventType{domain.TaskCompletedType}}, events / dummyEvents},
		{"signals", ReplayOptions{Types: []domain.EventType{"observability.*", domain.SignalTaskStarted}}, events / dummyEvents},
		{"task", ReplayOptions{Task: dummyTask(7)}, dummyEvents},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := dummies(b, events, 2)
			before := cpuTime(b)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range Replay(b.Context(), s, c.o) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n < c.want-started || n > c.want+started {
					b.Fatalf("%d events, want %d", n, c.want)
				}
			}
			read := float64(b.N) * events
			b.ReportMetric(read/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/read, "cpu-ns/event")
		})
	}
}

// cpuTime is what this process has used, the server in it included.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const dummyEvents = 11 // of a dummy task

func dummyTask(n int) domain.TaskID { return domain.KeyedTaskID("bench", "dummy", fmt.Sprint(n)) }

// dummyEvent is the i-th event of a dummy task, and whether the next one is in a later commit.
func dummyEvent(i int) (domain.Event, bool) {
	steps := []string{"step-one", "step-two", "step-three", "step-four"}
	done := domain.Inline(json.RawMessage(`{"dummy":true}`))
	requested := func(n int) domain.Event { return domain.StepExecutionRequested{Step: steps[n], Attempt: 1} }
	completed := func(n int) domain.Event { return domain.StepCompleted{Step: steps[n], Attempt: 1, Result: done} }
	switch i {
	case 0:
		return domain.TaskCreated{
			Name: "dummy", Version: "1.0.0", Definition: "65ae9f2b7c31d04e8a1f5b6c7d8e9f00", Context: done,
			SourceSystem: "bench", InputHash: 3735928559,
		}, false
	case 1:
		return domain.TaskStartRequested{}, false
	case 2:
		return requested(0), false
	case 3:
		return requested(1), true
	case 4:
		return completed(0), false
	case 5:
		return completed(1), false
	case 6:
		return requested(2), true
	case 7:
		return completed(2), false
	case 8:
		return requested(3), true
	case 9:
		return completed(3), false
	}
	return domain.TaskCompleted{Result: domain.Inline(json.RawMessage(
		`{"step-one":{"dummy":true},"step-two":{"dummy":true},"step-three":{"dummy":true},"step-four":{"dummy":true}}`))}, true
}

// dummies is a store on the embedded server with that many events.
func dummies(tb testing.TB, events, partitions int) domain.Store {
	tb.Helper()
	srv := natsservertest.Single(tb, func(o *natsserver.Options) { o.MaxStore = 4 << 30 })
	s, err := natslog.Open(tb.Context(), natslog.Options{Connect: srv.Connect, Partitions: partitions})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	type running struct {
		id   domain.TaskID
		next int
		prev uint64
	}
	const inflight, each = 290, 290
	waiting := make([][]running, partitions)
	last := make([]uint64, partitions)
	at := domain.InstantOf(time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC))
	for made, tasks := 0, 0; made < events; {
		for p := range partitions {
			var records []domain.Record
			at = at.Add(time.Millisecond)
			for len(records) < each && made+len(records) < events {
				for len(waiting[p]) < inflight {
					tasks++
					if id := dummyTask(tasks); id.Partition(partitions) == p {
						waiting[p] = append(waiting[p], running{id: id})
					}
				}
				task := waiting[p][0]
				waiting[p] = waiting[p][1:]
				for more := true; more; task.next++ {
					ev, end := dummyEvent(task.next)
					records = append(records, domain.Record{Event: ev, At: at.Add(time.Duration(len(records)) * time.Microsecond), Task: task.id, Prev: task.prev})
					more = !end
				}
				if task.prev = last[p] + 1; task.next < dummyEvents {
					waiting[p] = append(waiting[p], task)
				}
			}
			if over := made + len(records) - events; over > 0 {
				records = records[:len(records)-over]
			}
			if len(records) == 0 {
				break
			}
			made += len(records)
			id := fmt.Sprintf("3c653ba7-%d", last[p]+1)
			done := make(chan error, 1)
			s.Log(p).Append(last[p], id, domain.EncodeCommit(domain.Commit{ID: id, At: at, Records: records}), func(_ uint64, err error) { done <- err })
			if err := <-done; err != nil {
				tb.Fatal(err)
			}
			last[p]++
		}
	}
	return s
}
