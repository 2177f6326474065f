package domain_test

import (
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

func TestEventIsDeclaredByTheStepOrTheDefinition(t *testing.T) {
	d := definition(step("a"), step("b", "a"))
	d.CustomEvents = []domain.CustomEvent{{Name: "everywhere"}}
	d.Steps[1].CustomEvents = []domain.CustomEvent{{Name: "order.shipped"}}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		step int
		name string
		want bool
	}{
		{0, "everywhere", true}, {1, "everywhere", true}, {1, "order.shipped", true}, {0, "order.shipped", false},
		{1, "order.ship", false}, {1, "", false}, {-1, "order.shipped", false}, {2, "order.shipped", false}, {2, "everywhere", true},
	} {
		if got := d.DeclaresEvent(tt.step, tt.name); got != tt.want {
			t.Errorf("step %d, %q: %t", tt.step, tt.name, got)
		}
	}
}

// A custom event must never be taken for one of the engine's.
func TestFirstWordsOfTheEnginesOwnEventsAreReserved(t *testing.T) {
	words := map[string]bool{"task": true, "step": true, "workflow": true, "partition": true, "definition": true,
		"observability": true, "custom": true}
	for _, entry := range domain.Catalogue() {
		word, _, _ := strings.Cut(string(entry.Type), ".")
		words[word] = true
	}
	for word := range words {
		d := definition(step("a"))
		d.CustomEvents = []domain.CustomEvent{{Name: word + ".x"}}
		if got := problemsOf(t, d.Validate()); len(got) != 1 || !strings.Contains(got[0], "is reserved") {
			t.Errorf("%s.x: %q", word, got)
		}
		for _, name := range []string{word + "x.y", "x." + word + ".y", word} {
			d.CustomEvents[0].Name = name
			if err := d.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
