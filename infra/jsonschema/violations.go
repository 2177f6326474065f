package jsonschema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// maxViolations is how many violations one error lists.
const maxViolations = 100

// Violation is one thing that is wrong with a context.
type Violation struct {
	Path    string `json:"path"`    // JSON pointer to the value, or to the property that is missing; "" for the context as a whole
	Message string `json:"message"` // "got number, want boolean"
}

// String is "/dummy: got number, want boolean".
func (v Violation) String() string {
	if v.Path == "" {
		return v.Message
	}
	return v.Path + ": " + v.Message
}

// ViolationsError lists everything that is wrong with a context, sorted by path.
type ViolationsError struct {
	Violations []Violation `json:"violations"` // at least one, at most 100
}

func (e *ViolationsError) Error() string { return "context is not valid: " + join(e.Violations) }

// refuse is the error about the context as a whole.
func refuse(message string) *ViolationsError {
	return &ViolationsError{Violations: []Violation{{Message: message}}}
}

func newViolationsError(list []Violation) *ViolationsError {
	list = tidy(list)
	return &ViolationsError{Violations: list[:min(len(list), maxViolations)]}
}

func tidy(list []Violation) []Violation {
	slices.SortFunc(list, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(list)
}

func join(list []Violation) string {
	lines := make([]string, 0, len(list))
	for _, v := range list {
		lines = append(lines, v.String())
	}
	return strings.Join(lines, "; ")
}

// violations are the leaves of the validator's tree of errors.
func violations(e *jsonschema.ValidationError) []Violation {
	return tidy(collect(e, message.NewPrinter(language.English), nil))
}

func collect(e *jsonschema.ValidationError, p *message.Printer, list []Violation) []Violation {
	path := pointer(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			list = append(list, Violation{path + "/" + escape(name), "is missing"})
		}
		return list
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			list = append(list, Violation{path + "/" + escape(name), "is not allowed"})
		}
		return list
	case *kind.AnyOf:
		return append(list, Violation{path, "fits none of the alternatives" + alternatives(e, p)})
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			return append(list, Violation{path, "fits none of the alternatives" + alternatives(e, p)})
		}
		return append(list, Violation{path, fmt.Sprintf("fits more than one alternative: %d and %d",
			k.Subschemas[0]+1, k.Subschemas[1]+1)})
	case *kind.RefCycle:
		return append(list, Violation{path, "the references of the schema lead back to where they began"})
	}
	if len(e.Causes) == 0 {
		return append(list, Violation{path, e.ErrorKind.LocalizedString(p)})
	}
	for _, cause := range e.Causes {
		list = collect(cause, p, list)
	}
	return list
}

// alternatives says in brackets why each one does not fit.
func alternatives(e *jsonschema.ValidationError, p *message.Printer) string {
	why := make([]string, len(e.Causes))
	for i, cause := range e.Causes {
		why[i] = join(tidy(collect(cause, p, nil)))
		why[i] = strings.TrimPrefix(why[i], pointer(e.InstanceLocation)+": ")
	}
	if len(why) == 0 {
		return ""
	}
	return " (" + strings.Join(why, "; or ") + ")"
}

func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteByte('/')
		b.WriteString(escape(token))
	}
	return b.String()
}

var escaper = strings.NewReplacer("~", "~0", "/", "~1")

// escape is a token of a JSON pointer (RFC 6901).
func escape(token string) string { return escaper.Replace(token) }
