package domain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

func TestAnEventSetHoldsWhatItsNamesStandFor(t *testing.T) {
	order := domain.Custom{Name: "order.shipped"}
	for _, c := range []struct {
		names   string
		has     []domain.Event
		not     []domain.Event
		derives bool
		live    int
	}{
		{
			names: "",
			has:   []domain.Event{domain.TaskCreated{}, domain.PartitionOpened{}, order, domain.Unknown{TypeName: "task.new"}},
			not:   []domain.Event{domain.Signal{Name: domain.SignalTaskStarted}},
		},
		{
			names: "task.completed custom.order.shipped",
			has:   []domain.Event{domain.TaskCompleted{}, order},
			not:   []domain.Event{domain.TaskCreated{}, domain.Custom{Name: "order"}, domain.Unknown{TypeName: "task.completed"}},
		},
		{
			names: "task.*",
			has:   []domain.Event{domain.TaskCreated{}, domain.TaskExpired{}},
			not:   []domain.Event{domain.TaskDelayed{}, domain.StepCompleted{}, order, domain.Signal{Name: domain.SignalTaskStarted}},
		},
		{
			names: "workflow.*",
			has:   []domain.Event{domain.TaskDelayed{}, domain.Signal{Name: domain.SignalTaskStarted}, domain.Signal{Name: domain.SignalStateUnclear}},
			not:   []domain.Event{domain.TaskCreated{}}, derives: true,
		},
		{names: "step.*", has: []domain.Event{domain.StepProgressed{}, domain.Signal{Name: domain.SignalHandle}}, not: []domain.Event{domain.TaskCreated{}}},
		{names: "observability.*", has: []domain.Event{domain.Signal{Name: domain.SignalStepSkip}}, not: []domain.Event{domain.StepSkipped{}}, derives: true},
		{names: "custom.*", has: []domain.Event{order}, not: []domain.Event{domain.TaskCreated{}}},
		{names: "partition.* definition.*", has: []domain.Event{domain.PartitionOpened{}, domain.DefinitionAdopted{}}},
		{names: "step.handle workflow.task_reenqueue_failed step.completed", has: []domain.Event{domain.Signal{Name: domain.SignalHandle}}, live: 2},
	} {
		var names []domain.EventType
		for _, name := range strings.Fields(c.names) {
			names = append(names, domain.EventType(name))
		}
		s, err := domain.NewEventSet(names)
		if err != nil {
			t.Errorf("%q: %v", c.names, err)
			continue
		}
		for _, e := range c.has {
			if !s.Has(e) {
				t.Errorf("%q does not hold %s", c.names, e.Type())
			}
			if _, unknown := e.(domain.Unknown); !unknown && !s.HasType(e.Type()) {
				t.Errorf("%q does not hold the type %s", c.names, e.Type())
			}
		}
		for _, e := range c.not {
			if _, unknown := e.(domain.Unknown); s.Has(e) || !unknown && s.HasType(e.Type()) {
				t.Errorf("%q holds %s", c.names, e.Type())
			}
		}
		if s.Derives() != c.derives || len(s.NamedLive()) != c.live {
			t.Errorf("%q: derives %t, live %v", c.names, s.Derives(), s.NamedLive())
		}
	}
}

func TestANameThatStandsForNothingIsRefusedWithWhatWasMeant(t *testing.T) {
	for name, want := range map[domain.EventType]string{
		"task.complete":         `"task.complete" is no type of an event: did you mean "task.completed"? (docs/events.md lists them all)`,
		"workflow.tasks_start":  "",
		"workflow.task_start":   `did you mean "workflow.task_started"?`,
		"Step.Failed":           `did you mean "step.failed"?`,
		"steps.*":               `did you mean "step.*"?`,
		"customs.*":             `did you mean "custom.*"?`,
		"custom.":               "custom event has no name",
		"custom.task.x":         `"task." is reserved`,
		"custom.order shipped":  `has the character ' '`,
		"custom.order.*":        `has the character '*'`,
		"order.shipped":         `if a definition declares it, it is "custom.order.shipped"`,
		"*":                     "",
		"":                      "",
		"task.":                 "",
		"observability.task.up": "",
	} {
		_, err := domain.NewEventSet([]domain.EventType{domain.TaskCreatedType, name})
		var bad *domain.EventTypeError
		if !errors.As(err, &bad) || bad.Type != name || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", name, err, want)
		}
	}
}

func TestEveryTypeIsAnEventSet(t *testing.T) {
	var live []domain.EventType
	for _, entry := range domain.SignalCatalogue() {
		s, err := domain.NewEventSet([]domain.EventType{entry.Type})
		if err != nil || !s.Has(domain.Signal{Name: entry.Type}) || s.Derives() == entry.Live {
			t.Errorf("%s: %v, %v", entry.Type, s, err)
		}
		if entry.Live {
			live = append(live, s.NamedLive()...)
		}
	}
	want := []domain.EventType{domain.SignalReenqueueFailed, domain.SignalStateUnclear, domain.SignalBeforeHandle, domain.SignalHandle}
	if !slices.Equal(live, want) {
		t.Errorf("live are %v, want %v", live, want)
	}
	for _, entry := range domain.Catalogue() {
		if s, err := domain.NewEventSet([]domain.EventType{entry.Type}); err != nil || !s.Has(entry.Sample) {
			t.Errorf("%s: %v", entry.Type, err)
		}
	}
}
