package tasker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func definition(t *testing.T, name, version, description string) *Definition {
	t.Helper()
	d := &domain.Definition{Name: name, Version: version, Description: description, Steps: []domain.StepTemplate{{Name: "a", Handler: "work"}}}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

func registry(t *testing.T, store *memlog.Store, own ...*Definition) *definitions {
	t.Helper()
	d := newDefinitions(store.Definitions())
	for _, def := range own {
		if err := d.add(def, nil); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func described(t *testing.T, d *definitions, name, version string) string {
	t.Helper()
	k, err := d.find(domain.DefaultNamespace, name, version)
	if err != nil {
		t.Fatal(err)
	}
	return k.def.Description
}

func TestALearnedDefinitionFollowsTheStoreWhenItIsReplaced(t *testing.T) {
	store := memlog.New(memlog.Options{})
	a, b := registry(t, store), registry(t, store)
	if err := a.apply(t.Context(), definition(t, "x", "1.0.0", "old"), false); err != nil {
		t.Fatal(err)
	}
	if err := b.refresh(t.Context()); err != nil || described(t, b, "x", "") != "old" {
		t.Fatal(err)
	}
	if err := a.apply(t.Context(), definition(t, "x", "1.0.0", "new"), false); !errors.Is(err, ErrDefinitionExists) {
		t.Fatal(err)
	}
	if err := a.apply(t.Context(), definition(t, "x", "1.0.0", "new"), true); err != nil {
		t.Fatal(err)
	}
	if err := a.apply(t.Context(), definition(t, "y", "1.0.0", "another"), false); err != nil {
		t.Fatal(err)
	}
	if err := b.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := described(t, b, "x", "1.0.0") + " " + described(t, b, "y", ""); got != "new another" {
		t.Fatal(got)
	}
}

func TestAnOwnDefinitionStaysAndTheOthersAreLearnedAllTheSame(t *testing.T) {
	store := memlog.New(memlog.Options{})
	own := registry(t, store, definition(t, "x", "1.0.0", "mine"))
	other := registry(t, store)
	for _, d := range []*Definition{definition(t, "x", "1.0.0", "theirs"), definition(t, "z", "1.0.0", "theirs")} {
		if err := other.apply(t.Context(), d, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := own.refresh(t.Context()); !errors.Is(err, ErrDefinitionExists) {
		t.Fatalf("nobody is told that another content stands under the name: %v", err)
	}
	if got := described(t, own, "x", "") + " " + described(t, own, "z", ""); got != "mine theirs" {
		t.Fatal(got)
	}
}

func TestADefinitionThatIsRefusedIsNotTakenEither(t *testing.T) {
	store := memlog.New(memlog.Options{})
	a, b := registry(t, store), registry(t, store)
	if err := a.apply(t.Context(), definition(t, "x", "1.0.0", "first"), false); err != nil {
		t.Fatal(err)
	}
	if err := b.apply(t.Context(), definition(t, "x", "1.0.0", "second"), false); !errors.Is(err, ErrDefinitionExists) {
		t.Fatal(err)
	}
	if _, err := b.find(domain.DefaultNamespace, "x", ""); err == nil {
		t.Fatal("the engine took a definition that it refused")
	}
}

func TestADefinitionThatIsNotAcceptedIsNotLearned(t *testing.T) {
	store := memlog.New(memlog.Options{})
	a, b := registry(t, store), registry(t, store)
	b.accept = func(d *Definition) error {
		if d.Name == "bad" {
			return errors.New("no")
		}
		return nil
	}
	for _, name := range []string{"bad", "good"} {
		if err := a.apply(t.Context(), definition(t, name, "1.0.0", ""), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.find(domain.DefaultNamespace, "bad", ""); err == nil {
		t.Fatal("it was learned")
	}
	described(t, b, "good", "")
}

func TestTheHighestReleaseIsMeantWithoutAVersion(t *testing.T) {
	d := registry(t, memlog.New(memlog.Options{}))
	for _, v := range []string{"1.9.0", "1.10.0", "0.99.99"} {
		if err := d.add(definition(t, "x", v, v), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := described(t, d, "x", ""); got != "1.10.0" {
		t.Fatal(got)
	}
	_, err := d.find(domain.DefaultNamespace, "y", "")
	var missing *DefinitionNotFoundError
	if !errors.As(err, &missing) || len(missing.Known) != 3 {
		t.Fatal(err)
	}
}

// slowKV counts how often its keys are listed.
type slowKV struct {
	domain.KV
	mu    sync.Mutex
	lists int
	hold  chan struct{}
}

func (k *slowKV) Keys(ctx context.Context) ([]string, error) {
	k.mu.Lock()
	k.lists++
	k.mu.Unlock()
	<-k.hold
	return k.KV.Keys(ctx)
}

func TestManyWhoAskForAnUnknownDefinitionShareTheLook(t *testing.T) {
	kv := &slowKV{KV: memlog.New(memlog.Options{}).Definitions(), hold: make(chan struct{})}
	d := newDefinitions(kv)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if err := d.refresh(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	for d.asked.Load() < 200 {
		kv.hold <- struct{}{} // some refreshes begin while others still come
		if d.asked.Load() >= 200 {
			break
		}
	}
	close(kv.hold)
	wg.Wait()
	before := kv.lists
	if err := d.refresh(t.Context()); err != nil || kv.lists != before+1 {
		t.Fatalf("a look that begins later must look again: %d %v", kv.lists-before, err)
	}
}

func TestErrorsKeepTheirMeaningOnTheWayToAnotherProcess(t *testing.T) {
	for range 100 { // what was a map gave one or the other
		err := toWire(fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrUnavailable)).err()
		if !errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrUnavailable) {
			t.Fatalf("an unknown outcome became %v", err)
		}
	}
	for _, known := range errorCodes {
		err := toWire(fmt.Errorf("doing it: %w", known.sentinel)).err()
		if !errors.Is(err, known.sentinel) || err.Error() != "doing it: "+known.sentinel.Error() {
			t.Errorf("%v became %v", known.sentinel, err)
		}
	}
	if toWire(nil).err() != nil {
		t.Error("nothing became an error")
	}
	if err := (&wireError{Code: "of a newer version", Message: "new"}).err(); err == nil || err.Error() != "new" {
		t.Error(err)
	}
}

func TestASubmissionThatWouldNotFitIntoAMessageIsRefused(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, s := range map[string]Submission{
		"reason":    {Name: "x", Reason: long},
		"initiator": {Name: "x", Initiator: long},
		"tags":      {Name: "x", Tags: make([]string, 100_000)},
		"bypass":    {Name: "x", BypassSteps: []string{long}},
	} {
		if s.check() == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	r := &router{payloads: newPayloads(memlog.New(memlog.Options{}))}
	for name, v := range map[string]verb{
		"reason": {Name: "cancel", Reason: long},
		"actor":  {Name: "cancel", By: "ann\nand others"},
		"inputs": {Name: "retry_step", Inputs: []byte(`"` + long + `"`)},
		"limit":  {Name: "retry_step", RetryLimit: -1},
		"note":   {Name: "annotate", Note: &noteRequest{Kind: "note", Value: []byte(`"` + long + `"`)}},
		"kind":   {Name: "annotate", Note: &noteRequest{Value: []byte(`1`)}},
		"empty":  {Name: "annotate", Note: &noteRequest{Kind: "note"}},
		"verb":   {Name: "explode"},
		"result": {Name: "resolve_step", Result: []byte("not json")},
	} {
		if _, err := r.command(t.Context(), &v); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}
