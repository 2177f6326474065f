package domain

import (
	"encoding/json"
	"testing"
)

func TestEventDataIsTheDataOfTheWire(t *testing.T) {
	for _, test := range []struct {
		event Event
		want  string
	}{
		{TaskStartRequested{}, ""},
		{StepExecutionRequested{Step: "a", Attempt: 2}, ""},
		{TaskPaused{Reason: "a\nb"}, `{"reason":"a\nb"}`},
		{StepCompleted{Step: "a", Attempt: 2, Result: Inline(json.RawMessage(`{"x":1}`))}, `{"result":{"x":1}}`},
		{Unknown{TypeName: "step.teleported", Data: json.RawMessage(`{"to":"mars"}`)}, `{"to":"mars"}`},
	} {
		if got := EventData(test.event); string(got) != test.want || len(got) > 0 && !json.Valid(got) {
			t.Errorf("%s: got %s, want %s", test.event.Type(), got, test.want)
		}
	}
}
