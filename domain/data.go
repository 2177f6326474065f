package domain

import "encoding/json"

// EventData is what an event says beyond its type, step and attempt: the data object of the wire. nil when there is
// nothing.
func EventData(e Event) json.RawMessage {
	if u, ok := e.(Unknown); ok {
		return u.Data
	}
	b := appendData(object("{"), e)
	if len(b) == 1 {
		return nil
	}
	return append(json.RawMessage(b), '}')
}
