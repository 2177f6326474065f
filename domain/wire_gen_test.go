package domain_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

// What the tests of the wire format make of the declarations by reflection, so that a new event or field is covered
// without an edit here.

var (
	payloadType = reflect.TypeFor[domain.Payload]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	instantType = reflect.TypeFor[domain.Instant]()

	taskType     = reflect.TypeFor[domain.TaskID]()
	positionType = reflect.TypeFor[domain.Position]()
)

var (
	wireText = rapid.OneOf(
		rapid.StringMatching(`[a-z_-]{0,12}`),
		rapid.String(),
		rapid.SampledFrom([]string{"\"\\/\b\f\n\r\t\x00\x1f\x7f", "\u2028<&>", "🚀 ü", "\ufffd"}),
	)
	wireJSON = rapid.SampledFrom([]string{
		`{"dummy":true}`, `null`, `[]`, `{}`, `"a\"\\\u00fc🚀"`, `-1.5e+3`, `[{"a":[1,2,{"b":null}]},false]`,
	})
	wireInstant = rapid.OneOf(
		rapid.Just(domain.Instant(0)),
		rapid.Map(rapid.Int64Range(-1e15, 4e15), func(n int64) domain.Instant { return domain.Instant(n) }),
	)
)

func fillValue(t *rapid.T, v reflect.Value) {
	switch v.Type() {
	case payloadType:
		switch rapid.IntRange(0, 2).Draw(t, "payload") {
		case 1:
			v.Set(reflect.ValueOf(domain.Inline(json.RawMessage(wireJSON.Draw(t, "json")))))
		case 2:
			v.Set(reflect.ValueOf(domain.Payload{Blob: "sha256-0123", Size: rapid.IntRange(0, 1<<24).Draw(t, "size")}))
		}
		return
	case rawType:
		v.SetBytes([]byte(wireJSON.Draw(t, "json")))
		return
	case instantType:
		v.SetInt(int64(wireInstant.Draw(t, "instant")))
		return
	case taskType:
		v.Set(reflect.ValueOf(rapid.SampledFrom(wireTasks).Draw(t, "task")))
		return
	case positionType:
		v.Set(reflect.ValueOf(rapid.SampledFrom([]domain.Position{{}, {Partition: 63, Sequence: 1<<63 - 1, Index: 1<<31 - 1}}).Draw(t, "position")))
		return
	case reflect.TypeFor[[]byte]():
		if data := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes"); len(data) > 0 {
			v.SetBytes(data)
		}
		return
	}
	switch v.Kind() { //nolint:exhaustive // the kinds that fields of events have
	case reflect.String:
		v.SetString(wireText.Draw(t, "text"))
	case reflect.Int:
		v.SetInt(rapid.Int64Range(0, 1<<31-1).Draw(t, "int"))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "uint32")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint64"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Slice:
		if list := rapid.SliceOfN(wireText, 0, 3).Draw(t, "list"); len(list) > 0 {
			v.Set(reflect.ValueOf(list))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fillValue(t, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(t, v.Field(i))
		}
	default:
		panic(fmt.Sprintf("teach fillValue and jsonOf about %s", v.Type()))
	}
}

func drawEvent(t *rapid.T) domain.Event {
	samples := append(domain.Catalogue(), domain.Entry{Type: "custom.x", Sample: domain.Custom{}})
	sample := rapid.SampledFrom(samples).Draw(t, "type").Sample
	v := reflect.New(reflect.TypeOf(sample)).Elem()
	fillValue(t, v)
	return v.Interface().(domain.Event)
}

var wireTasks = []domain.TaskID{{}, domain.KeyedTaskID("a", "b", "1"), domain.KeyedTaskID("a", "b", "2")}

func drawCommit(t *rapid.T) domain.Commit {
	c := domain.Commit{ID: wireText.Filter(func(s string) bool { return s != "" }).Draw(t, "id"),
		At: wireInstant.Draw(t, "at"), Partition: 3, Sequence: 77, Records: []domain.Record{}}
	for i := range rapid.IntRange(0, 12).Draw(t, "records") {
		r := domain.Record{
			Event:    drawEvent(t),
			At:       c.At + domain.Instant(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, "us")),
			Cause:    rapid.SampledFrom([]string{"", "03-76-2", "operator says \"so\""}).Draw(t, "cause"),
			Task:     rapid.SampledFrom(wireTasks).Draw(t, "task"),
			Prev:     rapid.SampledFrom([]uint64{0, 5, 1<<64 - 1}).Draw(t, "prev"),
			Position: domain.Position{Partition: 3, Sequence: 77, Index: i},
		}
		if by := domain.Actor(rapid.SampledFrom([]string{"", "engine", "operator:ann"}).Draw(t, "by")); by !=
			domain.DefaultActor(r.Event.Type()) {
			r.By = by
		}
		c.Records = append(c.Records, r)
	}
	return c
}

// jsonOf is what encoding/json makes of a value by its tags, with the one rule of payloads on top.
func jsonOf(v reflect.Value) any {
	if v.Kind() != reflect.Struct || v.Type() == instantType || v.Type() == positionType {
		return throughJSON(v.Interface())
	}
	object := map[string]any{}
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Type == payloadType {
			p := value.Interface().(domain.Payload)
			switch {
			case p.Blob != "":
				object[name+"_ref"] = throughJSON(map[string]any{"blob": p.Blob, "size": p.Size})
			case p.JSON != nil:
				object[name] = throughJSON(p.JSON)
			}
			continue
		}
		empty := value.IsZero() || value.Kind() == reflect.Slice && value.Len() == 0
		if name == "-" || option != "" && empty {
			continue
		}
		object[name] = jsonOf(value)
	}
	return object
}

func throughJSON(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return parseJSON(text)
}

func parseJSON(text []byte) any {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		panic(fmt.Sprintf("%v: %s", err, text))
	}
	return v
}

// commitJSON is the wire format said a second time, in the plainest way.
func commitJSON(c domain.Commit) any {
	tasks := []any{}
	var group map[string]any
	for i, r := range c.Records {
		if i == 0 || r.Task != c.Records[i-1].Task || r.Prev != c.Records[i-1].Prev {
			group = map[string]any{"events": []any{}}
			if !r.Task.IsZero() {
				group["task"] = r.Task.String()
			}
			if r.Prev != 0 {
				group["prev"] = r.Prev
			}
			tasks = append(tasks, group)
		}
		ev := map[string]any{"type": r.Event.Type()}
		if s, ok := r.Event.(domain.StepEvent); ok {
			ev["step"] = s.StepName()
			attempt := reflect.ValueOf(r.Event).FieldByName("Attempt")
			if attempt.IsValid() && attempt.Int() != 1 {
				ev["attempt"] = attempt.Int()
			}
		}
		if r.At != c.At {
			ev["us"] = int64(r.At - c.At)
		}
		if r.By != "" && r.By != domain.DefaultActor(r.Event.Type()) {
			ev["by"] = r.By
		}
		if r.Cause != "" {
			ev["cause"] = r.Cause
		}
		if data := jsonOf(reflect.ValueOf(r.Event)).(map[string]any); len(data) > 0 {
			ev["data"] = data
		}
		group["events"] = append(group["events"].([]any), ev)
	}
	return throughJSON(map[string]any{"v": 1, "id": c.ID, "at": c.At, "tasks": tasks})
}
