package watermill

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// EveryFact is the topic of every fact, also of those that this version cannot read; it has no signal.
const EveryFact = "*"

// Topic joins types to one topic.
func Topic(types ...domain.EventType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, ",")
}

// typesOf reads a topic; nil is every fact.
func typesOf(topic string) ([]domain.EventType, domain.EventSet, error) {
	var types []domain.EventType
	if strings.TrimSpace(topic) != EveryFact {
		for name := range strings.SplitSeq(topic, ",") {
			name = strings.TrimSpace(name)
			if name == "" || name == EveryFact {
				return nil, domain.EventSet{}, &TopicError{topic, fmt.Errorf("want types of events, comma separated, such as %s, "+
					"or %q alone for every fact", Topic(domain.TaskCompletedType, "step.*"), EveryFact)}
			}
			if t := domain.EventType(name); !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
	}
	set, err := domain.NewEventSet(types)
	if err != nil {
		return nil, set, &TopicError{topic, err}
	}
	if live := set.NamedLive(); len(live) > 0 {
		return nil, set, &TopicError{topic, fmt.Errorf("%q is not stored, and follows from nothing that is: only a tap of the engine "+
			"is told of it", live[0])}
	}
	return types, set, nil
}

// TopicError: a topic that names nothing that can come.
type TopicError struct {
	Topic string
	Err   error // *domain.EventTypeError when a type is unknown
}

func (e *TopicError) Error() string { return fmt.Sprintf("topic %q: %v", e.Topic, e.Err) }

func (e *TopicError) Unwrap() error { return e.Err }
