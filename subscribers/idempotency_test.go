package subscribers

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func TestAKeyIsUnknownAsSoonAsItsWindowHasPassed(t *testing.T) {
	w := newWorld(t)
	w.window = time.Hour
	w.takeOver()
	w.store()
	d := chain(t, nil, "a")
	submit := func(id domain.TaskID, input uint32) (a Answer) {
		w.m.Submit(d, domain.CreateTask{ID: id, InputHash: input, Context: domain.Inline(json.RawMessage("{}"))}, w.now, func(x Answer) { a = x })
		w.store()
		return a
	}
	keyed, made := domain.KeyedTaskID("default", "chain", "k"), taskID(7)
	for _, id := range []domain.TaskID{keyed, made} {
		if a := submit(id, 1); !a.Created || a.Err != nil {
			t.Fatalf("%+v", a)
		}
		w.complete(id, 0, 1)
		w.store()
	}
	first := w.lastOf(keyed)

	w.advance(time.Hour)
	if a := submit(keyed, 1); a.Created || a.Position.Sequence != first {
		t.Fatalf("within the window: %+v", a)
	}
	w.advance(2 * time.Second) // ends are kept in whole seconds, rounded up
	if a := submit(keyed, 2); !a.Created || a.Err != nil {
		t.Fatalf("after the window, with another input: %+v", a)
	}
	if a := submit(made, 1); a.Created {
		t.Fatalf("an id without a key is no matter of the window: %+v", a)
	}
	if a := submit(keyed, 2); a.Created || a.Err != nil {
		t.Fatalf("the new task is known: %+v", a)
	}
	w.complete(keyed, 0, 1)
	w.store()
	if h := w.history(keyed, w.lastOf(keyed)); h[0].Event.(domain.TaskCreated).InputHash != 2 || count(h, domain.TaskCreatedType) != 1 {
		t.Fatalf("the history of the new task: %v", types(h))
	}
	w.m = nil
	w.takeOver()
	w.store()
	if a := submit(keyed, 2); a.Created || a.Err != nil {
		t.Fatalf("after a restart: %+v", a)
	}
}
