package domain

import (
	"fmt"
	"slices"
	"strings"
)

// CustomEvent declares an event of the definition's own, which handlers emit and subscribers receive by its name
// (SEMANTICS 10).
type CustomEvent struct {
	// Name has 1 to 128 of A-Z a-z 0-9 _ - . and does not begin with a word of the engine's own events, such as "task.".
	Name        string
	Description string // for people
}

// reservedWords are what the types of the engine's own events begin with, and what those of custom events do.
var reservedWords = []string{"task.", "step.", "workflow.", "partition.", "definition.", "observability.", "custom."}

// DeclaresEvent reports whether the handler of step number step may emit the custom event: the step declares it, or the
// definition does for all of its steps. An unknown step number declares nothing of its own.
func (d *Definition) DeclaresEvent(step int, name string) bool {
	if step >= 0 && step < len(d.Steps) && declares(d.Steps[step].CustomEvents, name) {
		return true
	}
	return declares(d.CustomEvents, name)
}

func declares(events []CustomEvent, name string) bool {
	return slices.ContainsFunc(events, func(e CustomEvent) bool { return e.Name == name })
}

// checkCustomEvents checks one list of declarations.
func checkCustomEvents(events []CustomEvent, at string, p *problems) {
	if len(events) > MaxCustomEvents {
		p.addf(at, "use fewer, and say more in their data", "%d custom events; at most %d are allowed in one list", len(events), MaxCustomEvents)
		return
	}
	seen := make(map[string]bool, len(events))
	for i, e := range events {
		at := IndexPath(at, i)
		checkEventName(e.Name, at+".name", p)
		if seen[e.Name] && e.Name != "" {
			p.addf(at+".name", "leave one of the two out", "duplicate custom event %q", clip(e.Name))
		}
		seen[e.Name] = true
		checkText(e.Description, at+".description", p)
	}
}

func checkEventName(name, at string, p *problems) {
	const what = "custom event"
	switch {
	case name == "":
		p.add(at, what+" has no name", "1 to 128 of A-Z a-z 0-9 _ - .")
		return
	case len(name) > MaxNameLength:
		p.addf(at, shorterHint, "%s has %d bytes; at most %d are allowed", what, len(name), MaxNameLength)
		return
	}
	for _, r := range name {
		if r > 0x7f || r != '.' && !isNameByte(byte(r)) {
			p.add(at, fmt.Sprintf("%s %q has the character %q", what, name, r), "allowed are A-Z a-z 0-9 _ - .")
			return
		}
	}
	for _, word := range reservedWords {
		if strings.HasPrefix(name, word) {
			p.add(at, fmt.Sprintf("%s %q begins like the engine's own events", what, name),
				fmt.Sprintf("%q is reserved: leave it out, or write another word before it", word))
			return
		}
	}
}

// customEvents reads a list of names, or of objects with a name and a description.
func (r definitionReader) customEvents(v *jsonNode, at, where string) []CustomEvent {
	if v.kind != jsonArray {
		r.read(at, "custom_events must be a list, not "+v.kind.String(), "write it like custom_events: [order.shipped]")
		return nil
	}
	out := make([]CustomEvent, len(v.items))
	for i := range v.items {
		item, at := &v.items[i], IndexPath(at, i)
		switch item.kind {
		case jsonString:
			out[i].Name = item.text
		case jsonObject:
			r.object(item, at, " in a custom event"+where, customEventKeys, nil,
				func(key string, v *jsonNode, at string) {
					switch key {
					case "name":
						r.text(v, at, key, &out[i].Name)
					case "description":
						r.text(v, at, key, &out[i].Description)
					}
				})
		case jsonNull, jsonBool, jsonNumber, jsonArray:
			r.read(at, "a custom event must be a name or an object, not "+item.kind.String(), quote(item))
			r.excuse(at + ".name")
		}
	}
	return out
}
