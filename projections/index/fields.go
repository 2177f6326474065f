package index

import (
	"encoding/json"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// MaxFieldValue is how many bytes of a field's text the index keeps; more are cut off, also of what is searched for.
const MaxFieldValue = 256

// fieldsOf are the fields of a context that the definition wants to be found by: texts, numbers and truth values. A context
// that is not in the event itself, because it is so large, has none.
func fieldsOf(d *domain.Definition, context domain.Payload) []Field {
	if len(d.Index) == 0 || len(context.JSON) == 0 {
		return nil
	}
	var list []Field
	for _, path := range d.Index {
		at := context.JSON
		for key := range strings.SplitSeq(path, ".") {
			var object map[string]json.RawMessage
			if json.Unmarshal(at, &object) != nil {
				at = nil
				break
			}
			at = object[key]
		}
		if value, ok := fieldText(at); ok {
			list = append(list, Field{path, CutField(value)})
		}
	}
	return list
}

// fieldText is what a value is searched by.
func fieldText(value json.RawMessage) (string, bool) {
	if len(value) == 0 {
		return "", false
	}
	switch value[0] {
	case '"':
		var text string
		err := json.Unmarshal(value, &text)
		return text, err == nil
	case '{', '[', 'n':
		return "", false
	}
	return string(value), true
}

// CutField is as much of a field's text as is kept.
func CutField(value string) string {
	if len(value) > MaxFieldValue {
		return strings.ToValidUTF8(value[:MaxFieldValue], "")
	}
	return value
}
