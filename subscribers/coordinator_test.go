package subscribers

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestTasksEndWhateverBecomesOfAppends(t *testing.T) {
	for name, fates := range map[string][]memlog.Fate{
		"acknowledgements are lost":    {memlog.AckLost, memlog.AckLost, {}, memlog.AckLost},
		"messages are lost":            {memlog.MessageLost, {}, memlog.MessageLost},
		"acknowledgements are doubled": {memlog.AckDoubled, memlog.AckDoubled, memlog.AckDoubled},
		"acknowledgements are late":    {{Delay: 3 * time.Second}, {Delay: 1500 * time.Millisecond}},
		"messages are stored late":     {{Late: 2 * time.Second}, {Late: 1200 * time.Millisecond, Silent: true}},
		"refused":                      {memlog.Refused, memlog.RefusedButStored, memlog.Refused},
		"the store is full":            {memlog.Full, memlog.Full, memlog.Full, memlog.Full, {}, memlog.Full},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := newStore()
				w := startOwner(t, store, "a", nil)
				w.own()
				store.Faults(0).Next(fates...)
				d := chain(t, nil, "a", "b", "c")
				var all []<-chan answer
				for n := range 5 {
					all = append(all, w.submit(d, n))
				}
				time.Sleep(time.Minute)
				for n, answers := range all {
					if a := only(t, answers); a.Err != nil || !a.Created {
						t.Errorf("task %d: %+v", n, a)
					}
					task, err := w.look(taskID(n))
					if err != nil || task == nil || !task.State.Ended() {
						t.Errorf("task %d has not ended: %v", n, err)
					}
				}
				if len(w.starts) != 15 {
					t.Errorf("%d of 15 executions", len(w.starts))
				}
			})
		})
	}
}

func TestAForeignMessageIsPassedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", nil)
		w.own()
		w.must(w.submit(chain(t, nil, "a"), 1))
		synctest.Wait()
		at := store.Foreign(0, "", []byte("hello"))
		a := w.must(w.submit(chain(t, nil, "a"), 2))
		if a.Position.Sequence <= at {
			t.Fatalf("the answer names message %d, the foreign one is %d", a.Position.Sequence, at)
		}
		time.Sleep(time.Second)
		w.stop()
		<-w.ended
		again := startOwner(t, store, "b", nil)
		again.own()
		if a := again.must(again.submit(chain(t, nil, "a"), 2)); a.Created {
			t.Fatal("the task is not known any more")
		}
	})
}

func TestAnotherWritersCommitEndsTheOwnershipAndNothingIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		a := startOwner(t, store, "a", func(_ *Config, w *owner) { w.auto = false })
		a.own()
		task := taskID(1)
		a.must(a.submit(chain(t, nil, "x"), 1))
		store.Expire("partition-00") // a does not know yet
		b := startOwner(t, store, "b", nil)
		b.own()
		late := a.submit(chain(t, nil, "x"), 2)
		time.Sleep(20 * time.Second)
		if x := only(t, late); x.Err == nil {
			t.Fatalf("the fenced owner answered: %+v", x)
		}
		if end := <-b.await(task); end.Task != task {
			t.Fatal(end)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.abandoned == 0 || len(a.running) != 0 {
			t.Fatal("the handlers of the fenced owner were not told to stop")
		}
	})
}

func TestAnOwnerWhoseLeaseIsOldAnswersNothingAndGoesOnWhenItIsRenewed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		leases := &awayLeases{Leases: store.Leases()}
		w := startOwner(t, &leaseStore{store, leases}, "a", func(_ *Config, w *owner) { w.auto = false })
		w.own()
		d := chain(t, nil, "x")
		w.must(w.submit(d, 1))
		leases.set(true)
		time.Sleep(DefaultLeaseTTL * 5 / 6)
		if x := only(t, w.submit(d, 1)); !errors.Is(x.Err, domain.ErrUnavailable) {
			t.Fatalf("an answer without a fresh lease: %+v", x)
		}
		time.Sleep(DefaultLeaseTTL)
		w.mu.Lock()
		if w.abandoned == 0 {
			t.Error("handlers run on without a lease")
		}
		w.auto = true
		w.mu.Unlock()
		leases.set(false)
		time.Sleep(DefaultLeaseTTL)
		task, err := w.look(taskID(1))
		if err != nil || task == nil || !task.State.Ended() {
			t.Fatalf("the step that was given up did not run again: %+v %v", task, err)
		}
	})
}

func TestShutdownAnswersEveryRequestOnce(t *testing.T) {
	for name, fault := range map[string]func(uint64, string) memlog.Fate{
		"the log is there": nil,
		"the log is away":  func(uint64, string) memlog.Fate { return memlog.MessageLost },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := newStore()
				w := startOwner(t, store, "a", nil)
				w.own()
				store.Faults(0).Decide(fault)
				d := chain(t, nil, "x")
				var all []<-chan answer
				for n := range 100 {
					all = append(all, w.submit(d, n))
				}
				w.stop()
				<-w.ended
				all = append(all, w.submit(d, 1000))
				for _, answers := range all {
					only(t, answers)
				}
				if x := only(t, w.submit(d, 1001)); !errors.Is(x.Err, ErrNotRunning) {
					t.Fatal(x)
				}
			})
		})
	}
}

func TestAnInputThatMakesTheEnginePanicIsRefusedOnceAndTheRestGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", nil)
		w.own()
		d := chain(t, nil, "x")
		poisoned := make(chan answer, 4)
		before := w.submit(d, 1)
		if err := w.c.request(input{
			what: "something odd",
			do: func(m *Machine, now domain.Instant) {
				m.Submit(d, domain.CreateTask{ID: taskID(7), Context: domain.Inline(json.RawMessage("{}"))}, now,
					func(a Answer) { poisoned <- answer{Answer: a} })
				panic("odd")
			},
			refuse: func(err error) { poisoned <- answer{Answer: Answer{Err: err}} },
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		var poison *PoisonError
		if x := only(t, poisoned); !errors.As(x.Err, &poison) {
			t.Fatal(x)
		}
		only(t, before)
		w.own()
		if a := w.must(w.submit(d, 7)); !a.Created {
			t.Fatal("something of the poison was stored")
		}
	})
}

func TestAStepThatWaitsForASlotComesBeforeTheNextStepOfAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := startOwner(t, newStore(), "a", func(_ *Config, w *owner) { w.auto, w.slots = false, 1 })
		w.own()
		w.must(w.submit(chain(t, nil, "y1", "y2", "y3"), 1))
		w.must(w.submit(chain(t, func(d *domain.Definition) { d.Name = "other" }, "x"), 2))
		for range 4 {
			time.Sleep(time.Second)
			w.endAll()
		}
		time.Sleep(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.Equal(w.starts, []string{"y1", "x", "y2", "y3"}) {
			t.Fatalf("started in the order %q", w.starts)
		}
	})
}

func TestFreeSlotsDoNotMakeAStandbyAskForTheLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		a := startOwner(t, store, "a", nil)
		a.own()
		leases := &awayLeases{Leases: store.Leases()}
		b := startOwner(t, &leaseStore{store, leases}, "b", nil)
		time.Sleep(time.Second)
		before := leases.asks()
		for range 1000 {
			b.c.Resume()
			time.Sleep(time.Millisecond)
		}
		if n := leases.asks() - before; n > 5 {
			t.Fatalf("it asked %d times in a second", n)
		}
	})
}

func TestWhatAdmitsLooksAtEndsWithTheOwnership(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		a := startOwner(t, store, "a", func(c *Config, w *owner) { c.MaxHeld, w.slots = 3, 0 })
		a.own()
		d := chain(t, nil, "x")
		for n := range 4 {
			a.must(a.submit(d, n))
		}
		if x := only(t, a.submit(d, 10)); !errors.Is(x.Err, ErrOverloaded) {
			t.Fatal(x)
		}
		store.Expire("partition-00")
		startOwner(t, store, "b", nil).own()
		time.Sleep(20 * time.Second)
		if x := only(t, a.submit(d, 11)); !errors.Is(x.Err, ErrNotOwner) {
			t.Fatalf("a process that is not the owner must send it on: %v", x.Err)
		}
	})
}

// TestEveryRequestIsAnsweredOnceInAStorm: two processes, whatever can happen to appends, leases that expire.
func TestEveryRequestIsAnsweredOnceInAStorm(t *testing.T) {
	for seed := range uint64(8) {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			store := newStore()
			stormy := true
			store.Faults(0).Decide(func(uint64, string) memlog.Fate {
				mu.Lock()
				defer mu.Unlock()
				if !stormy {
					return memlog.Fate{}
				}
				switch rng.IntN(16) {
				case 0:
					return memlog.AckLost
				case 1:
					return memlog.MessageLost
				case 2:
					return memlog.AckDoubled
				case 3:
					return memlog.RefusedButStored
				case 4:
					return memlog.Full
				case 5:
					return memlog.Fate{Late: time.Duration(rng.IntN(3000)) * time.Millisecond}
				}
				return memlog.Fate{Delay: time.Duration(rng.IntN(20)) * time.Millisecond}
			})
			change := func(c *Config, _ *owner) { c.SnapshotBytes = 8 << 10 }
			owners := []*owner{startOwner(t, store, "a", change), startOwner(t, store, "b", change)}
			d := chain(t, nil, "x", "y", "z")
			var all []<-chan answer
			for n := range 300 {
				w := owners[n%2]
				all = append(all, w.submit(d, n/2))
				verbs := make(chan answer, 4)
				if err := w.c.Do(taskID(n/3), domain.AnnotateTask{Kind: "n", Value: []byte("1")}, domain.ByOperator, func(a Answer) { verbs <- answer{Answer: a} }); err != nil {
					verbs <- answer{Answer{Err: err}, true}
				}
				all = append(all, verbs)
				switch n % 50 {
				case 20:
					store.Expire("partition-00")
				case 40:
					store.Foreign(0, "", []byte("x"))
				}
				time.Sleep(time.Duration(1+n%7*10) * time.Millisecond)
			}
			time.Sleep(time.Minute)
			mu.Lock()
			stormy = false
			mu.Unlock()
			time.Sleep(time.Minute)
			created := map[domain.TaskID]int{}
			for _, answers := range all {
				if a := only(t, answers); a.Err == nil && a.Created {
					created[a.Task]++
				}
			}
			for _, w := range owners {
				if p, _ := w.c.Phase(); p != Owning {
					continue
				}
				for id, n := range created {
					if n != 1 {
						t.Errorf("seed %d: task %s was created %d times", seed, id, n)
					}
					if a := w.must(w.submitID(d, id)); a.Created {
						t.Errorf("seed %d: task %s was acknowledged and is gone", seed, id)
					}
				}
			}
			if len(created) == 0 {
				t.Errorf("seed %d: nothing was created", seed)
			}
		})
	}
}

func TestAPartitionThatIsBeingOpenedSleepsAlthoughInputsWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", nil)
		w.c.Report(taskID(1), domain.CompleteStep{Attempt: 1}) // of a handler that ran before
		w.own()
	})
}

// slowLog shares what it can read in a second among those who read.
type slowLog struct {
	domain.Log
	readers atomic.Int64
}

func (l *slowLog) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	n := l.readers.Add(1)
	defer l.readers.Add(-1)
	select {
	case <-time.After(time.Duration(n) * 5 * time.Millisecond):
		return l.Log.Read(ctx, sequence)
	case <-ctx.Done():
		return domain.Message{}, ctx.Err()
	}
}

type slowStore struct {
	*memlog.Store
	log *slowLog
}

func (s *slowStore) Log(int) domain.Log { return s.log }

// Those who ask for ended tasks after a takeover come all at once, give up after two seconds and ask again.
func TestManyWhoAskForEndedTasksAreAllAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		log := &slowLog{Log: store.Log(0)}
		w := startOwner(t, &slowStore{store, log}, "one", nil)
		w.own()
		const n = 300
		for i := range n {
			w.must(w.submit(chain(t, nil, "a", "b"), i+1))
		}
		time.Sleep(time.Second)
		newest := make(chan []uint64, 1)
		if err := w.c.Inspect(func(m *Machine) {
			var list []uint64
			for i := range n {
				e, _ := m.State().Ended.Get(taskID(i + 1))
				list = append(list, e.Last)
			}
			newest <- list
		}, func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		last := <-newest
		var late atomic.Int64
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					task, _, err := w.c.Ended(ctx, taskID(i+1), last[i])
					cancel()
					switch {
					case err == nil && task.State == domain.Complete:
						return
					case !errors.Is(err, context.DeadlineExceeded) || late.Add(1) > 20*n:
						t.Errorf("task %d: %+v %v", i, task, err)
						return
					}
				}
			})
		}
		all.Wait()
		t.Logf("asked again %d times", late.Load())
	})
}
