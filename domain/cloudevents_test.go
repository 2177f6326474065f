package domain

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const ceSource = "/tasker/0190c2a5-7d3e-7000-8000-000000000000"

var ceTask = func() TaskID {
	id, err := ParseTaskID("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		panic(err)
	}
	return id
}()

func TestCloudEventsHaveTheirAttributes(t *testing.T) {
	at := Position{Partition: 1, Sequence: 123, Index: 4}
	for name, c := range map[string]struct {
		record Record
		want   string
	}{
		"a step": {
			Record{Event: StepCompleted{Step: "two", Attempt: 3, Result: Inline([]byte(`{"n":1}`))}, At: 1, Task: ceTask, Position: at},
			`{"specversion":"1.0","id":"01-123-4","source":"` + ceSource + `","type":"step.completed","subject":"01890a5d-ac96-774b-bcce-b302099a8057",` +
				`"time":"1970-01-01T00:00:00.000001Z","datacontenttype":"application/json","position":"01-123-4","eventversion":1,"step":"two","attempt":3,` +
				`"actor":"handler","partitionkey":"01890a5d-ac96-774b-bcce-b302099a8057","data":{"result":{"n":1}}}`,
		},
		"the beginning of a task": {
			Record{Event: TaskCreated{Name: "order", Version: "1.2.0", Definition: "ab", Context: Inline([]byte(`{}`)), Correlation: "c\n\"1\""}, At: 1, Task: ceTask, Position: at},
			`{"specversion":"1.0","id":"01-123-4","source":"` + ceSource + `","type":"task.created","subject":"01890a5d-ac96-774b-bcce-b302099a8057",` +
				`"time":"1970-01-01T00:00:00.000001Z","datacontenttype":"application/json","position":"01-123-4","eventversion":1,` +
				`"actor":"submitter","correlationid":"c�\"1\"","partitionkey":"01890a5d-ac96-774b-bcce-b302099a8057","namespace":"default","definition":"order","definitionversion":"1.2.0",` +
				`"data":{"name":"order","version":"1.2.0","definition":"ab","context":{},"correlation":"c\n\"1\""}}`,
		},
		"nothing to say": {
			Record{Event: TaskStartRequested{}, At: 1, By: "operator:Zoë", Cause: "01-122-0", Task: ceTask, Position: at},
			`{"specversion":"1.0","id":"01-123-4","source":"` + ceSource + `","type":"task.start_requested","subject":"01890a5d-ac96-774b-bcce-b302099a8057",` +
				`"time":"1970-01-01T00:00:00.000001Z","datacontenttype":"application/json","position":"01-123-4","eventversion":1,` +
				`"actor":"operator:Zoë","causationid":"01-122-0","partitionkey":"01890a5d-ac96-774b-bcce-b302099a8057","data":{}}`,
		},
		"no task": {
			Record{Event: PartitionSkipped{Sequence: 7, Reason: "torn"}, At: 1, Position: at},
			`{"specversion":"1.0","id":"01-123-4","source":"` + ceSource + `","type":"partition.skipped",` +
				`"time":"1970-01-01T00:00:00.000001Z","datacontenttype":"application/json","position":"01-123-4","eventversion":1,` +
				`"actor":"operator","data":{"sequence":7,"reason":"torn"}}`,
		},
		"a signal": {
			Record{Event: Signal{Name: SignalStepBackoff, Steps: []string{"two"}, Attempt: 2, Until: 5}, At: 1, Task: ceTask, Position: at},
			`{"specversion":"1.0","id":"01-123-4:observability.step.backoff","source":"` + ceSource + `","type":"observability.step.backoff","subject":"01890a5d-ac96-774b-bcce-b302099a8057",` +
				`"time":"1970-01-01T00:00:00.000001Z","datacontenttype":"application/json","position":"01-123-4","eventversion":1,"step":"two","attempt":2,` +
				`"actor":"engine","partitionkey":"01890a5d-ac96-774b-bcce-b302099a8057","data":{"steps":["two"],"attempt":2,"until":"1970-01-01T00:00:00.000005Z"}}`,
		},
		"of the future": {
			Record{Event: Unknown{TypeName: "step.dreamt", Version: 3, Step: "two", Attempt: 1, Data: []byte(`[1]`)}, At: 1, Task: ceTask, Position: at},
			`{"specversion":"1.0","id":"01-123-4","source":"` + ceSource + `","type":"step.dreamt","subject":"01890a5d-ac96-774b-bcce-b302099a8057",` +
				`"time":"1970-01-01T00:00:00.000001Z","datacontenttype":"application/json","position":"01-123-4","eventversion":3,"step":"two","attempt":1,` +
				`"actor":"engine","partitionkey":"01890a5d-ac96-774b-bcce-b302099a8057","data":[1]}`,
		},
	} {
		event := CloudEventOf(c.record, ceSource)
		text, err := json.Marshal(event)
		if err != nil || string(text) != c.want {
			t.Errorf("%s: %v\n%s, want\n%s", name, err, text, c.want)
		}
	}
}

// The names and the values that CloudEvents allows, of every fact and every signal.
func TestCloudEventsKeepToTheSpecification(t *testing.T) {
	events := []Event{Custom{Name: "order.shipped", Step: "one", Attempt: 1}}
	for _, entry := range Catalogue() {
		events = append(events, entry.Sample)
		if entry.Version != 1 {
			t.Errorf("%s has version %d: CloudEventOf says 1", entry.Type, entry.Version)
		}
	}
	for _, entry := range SignalCatalogue() {
		events = append(events, Signal{Name: entry.Type})
	}
	name := regexp.MustCompile(`^[a-z0-9]{1,20}$`)
	seen := map[string]bool{}
	for _, ev := range events {
		e := CloudEventOf(Record{Event: ev, At: 1, Task: ceTask, Cause: "\x00 \x85\xff", Position: Position{Sequence: 1}}, ceSource)
		var structured map[string]any
		if text, err := json.Marshal(e); err != nil || json.Unmarshal(text, &structured) != nil {
			t.Fatalf("%s: %v: %s", e.Type, err, text)
		}
		if _, ok := structured["data"].(map[string]any); !ok {
			t.Errorf("%s: its data are %v, not an object", e.Type, structured["data"])
		}
		for attribute, value := range e.Attributes() {
			seen[attribute] = true
			delete(structured, attribute)
			if !name.MatchString(attribute) || value == "" || allowed(value) != value {
				t.Errorf("%s: attribute %s is %q", e.Type, attribute, value)
			}
		}
		if len(structured) != 1 {
			t.Errorf("%s: %v are no attributes", e.Type, structured)
		}
	}
	for _, attribute := range []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "position", "eventversion", "attempt", "actor", "causationid", "partitionkey", "namespace"} {
		if !seen[attribute] {
			t.Errorf("no event has %s", attribute)
		}
	}
}

func TestCloudEventAttributesStopWhenAsked(t *testing.T) {
	e := CloudEventOf(Record{Event: TaskStartRequested{}, At: 1, Task: ceTask}, ceSource)
	var names []string
	for name := range e.Attributes() {
		if names = append(names, name); len(names) == 2 {
			break
		}
	}
	if strings.Join(names, " ") != "specversion id" {
		t.Errorf("%v", names)
	}
}

func TestCloudEventHeadersArePrintable(t *testing.T) {
	for value, want := range map[string]string{
		"":             "",
		"step-two":     "step-two",
		`Zoë 5%"`:      "Zo%C3%AB%205%25%22",
		"a\r\nb: c":    "a%0D%0Ab:%20c",
		"plain then é": "plain%20then%20%C3%A9",
	} {
		got := CloudEventHeader(value)
		if got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
		if back, err := url.PathUnescape(got); err != nil || back != value {
			t.Errorf("%q comes back as %q, %v", value, back, err)
		}
	}
}
