package subscribers

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func TestFailedTasksExpireAndStayExpired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		short := func(c *Config, w *owner) { c.ErrorRetention, w.auto = time.Hour, false }
		w := startOwner(t, store, "a", short)
		w.own()
		d := chain(t, nil, "a")
		fail := func(n int) {
			w.must(w.submit(d, n))
			synctest.Wait()
			w.c.Report(taskID(n), domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent}})
			synctest.Wait()
		}
		fail(1)
		time.Sleep(40 * time.Minute)
		fail(2)
		time.Sleep(25 * time.Minute)
		synctest.Wait()
		retry := func(w *owner, n int) answer {
			answers := make(chan answer, 4)
			if err := w.c.Do(taskID(n), domain.RetryTask{}, domain.ByOperator, func(a Answer) { answers <- answer{Answer: a} }); err != nil {
				t.Fatal(err)
			}
			return <-answers
		}
		check := func(w *owner) {
			t.Helper()
			var refused *domain.RefusedError
			if a := retry(w, 1); !errors.As(a.Err, &refused) || !strings.Contains(refused.Reason, "error_retention") {
				t.Errorf("a retry of the expired task: %+v", a)
			}
			if a := w.must(w.submit(d, 1)); a.Created {
				t.Error("its id is not known any more")
			}
		}
		check(w)
		w.stop()
		<-w.ended

		// Another owner, which would keep failed tasks for ever, reads the log from its beginning: it is the same.
		again := startOwner(t, store, "b", func(c *Config, w *owner) { c.ErrorRetention, w.auto = -1, false })
		again.own()
		check(again)
		time.Sleep(2 * time.Hour)
		if a := retry(again, 2); a.Err != nil || !a.Changed {
			t.Errorf("a retry of the other one: %+v", a)
		}
	})
}

func TestManyFailedTasksExpireAFewThousandAtATime(t *testing.T) {
	w := newWorld(t)
	d := chain(t, nil, "a")
	const tasks = expireBatch + 100
	for n := range tasks {
		id := w.submit(d, n+1)
		w.fail(id, 0, 1, domain.KindPermanent)
		w.store()
	}
	w.m.Expire(w.now, w.now)
	w.store()
	if n := w.m.state.FailedCount(); n != tasks {
		t.Fatalf("%d of %d stay, and none is older", n, tasks)
	}
	later := w.now.Add(time.Second)
	for round := 1; w.m.state.FailedCount() > 0; round++ {
		before := w.m.state.FailedCount()
		w.m.Expire(later, later)
		w.store()
		if gone := before - w.m.state.FailedCount(); gone == 0 || gone > expireBatch || round > 5 {
			t.Fatalf("round %d: %d of %d are gone", round, gone, before)
		}
	}
	if n := w.m.state.LiveCount(); n != 0 {
		t.Errorf("%d tasks are in memory", n)
	}
	w.forget()
	w.do("retry", taskID(1), domain.RetryTask{})
	w.expect("retry: created=false changed=false at=" + lastOf(w, taskID(1)) + " err=" + errEnded.Error())
	w.takeOver()
	w.store()
	if n := w.m.state.FailedCount(); n != 0 {
		t.Errorf("%d failed tasks after a replay", n)
	}
}

func lastOf(w *world, id domain.TaskID) string {
	ended, _ := w.m.state.Ended.Get(id)
	text, _ := json.Marshal(ended.Last)
	return string(text)
}

func TestACheckpointIsAnsweredWhenItIsStored(t *testing.T) {
	w := newWorld(t)
	id := w.submit(chain(t, nil, "a"), 1)
	w.store()
	w.forget()
	checkpoint := func(attempt int, cursor string) {
		cmd := domain.CheckpointStep{Step: 0, Attempt: attempt, Cursor: json.RawMessage(cursor)}
		w.m.Confirm(id, cmd, w.now, w.replyTo("checkpoint "+cursor))
	}
	checkpoint(1, "1")
	w.heardNothing()
	checkpoint(2, "2") // of no execution: the refusal leaves with what it rests on
	w.heardNothing()
	w.store()
	w.expect("checkpoint 1: created=false changed=true at=3 err=<nil>",
		"checkpoint 2: created=false changed=false at=3 err="+domain.ErrStale.Error())
	checkpoint(2, "3")
	w.expect("checkpoint 3: created=false changed=false at=3 err=" + domain.ErrStale.Error())
	w.m.Confirm(taskID(9), domain.CheckpointStep{}, w.now, w.replyTo("nobody"))
	w.expect("nobody: created=false changed=false at=0 err=" + domain.ErrStale.Error())
	if w.m.Stale() != 3 {
		t.Errorf("%d stale reports", w.m.Stale())
	}
}
