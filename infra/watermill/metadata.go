package watermill

import (
	"context"
	"strconv"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/tasker-go/tasker/domain"
)

// The keys of a message's Metadata. What does not apply to an event is left out. The message's UUID is the id of the
// event, "00-123-4"; a signal shares its position with the fact that it follows from, so its type is appended,
// "00-123-4:workflow.task_started", as in the ids of CloudEvents. The UUID is what a handler is idempotent by.
const (
	MetadataType      = "type"      // of the event, such as step.completed
	MetadataVersion   = "version"   // of the type, from 1
	MetadataPosition  = "position"  // the event id: partition, sequence, index; orders the events of a task
	MetadataPartition = "partition" // of the log, from 0
	MetadataTime      = "time"      // RFC 3339 with microseconds
	MetadataTask      = "task"      // its id; not there for the facts without a task
	MetadataStep      = "step"      // the step that it is about
	MetadataAttempt   = "attempt"   // the execution of the step, from 1
	MetadataActor     = "actor"     // engine, handler, submitter, operator, operator:<name>
	// MetadataCausation is the id of the event or command that brought it about: where the log itself says so, and with
	// EventsConfig.Causes always.
	MetadataCausation = "causation_id"
	// MetadataCorrelation is what the submission of the task said, or else the id of the task. It is the key of Watermill's
	// own CorrelationID middleware, which copies it to what a handler publishes. It is left out when the beginning of the
	// task has been pruned.
	MetadataCorrelation = middleware.CorrelationIDMetadataKey
	// MetadataName repeats the type, under the key that Watermill's cqrs.JSONMarshaler looks at.
	MetadataName = "name"
)

// delivery is what a message brings along for our middleware and our Marshaler, in its context.
type delivery struct {
	record domain.Record
	as     string                // the name that a handler of many types expects; see Marshaler
	failed atomic.Pointer[error] // what PassErrors was told
}

type deliveryKey struct{}

func deliveryOf(ctx context.Context) *delivery {
	d, _ := ctx.Value(deliveryKey{}).(*delivery)
	return d
}

// newMessage makes the message of an event. Its context is the caller's business.
func newMessage(r domain.Record, o origin) *message.Message {
	e := domain.CloudEventOf(r, "")
	msg := message.NewMessage(e.ID, message.Payload(e.Data))
	set := func(key, value string) {
		if value != "" {
			msg.Metadata[key] = value
		}
	}
	set(MetadataType, string(e.Type))
	set(MetadataName, string(e.Type))
	set(MetadataVersion, strconv.Itoa(e.Version))
	set(MetadataPosition, e.Position)
	set(MetadataPartition, strconv.Itoa(r.Position.Partition))
	set(MetadataTime, e.Time.String())
	set(MetadataActor, e.Actor)
	set(MetadataCausation, o.cause)
	set(MetadataCorrelation, o.correlation)
	set(MetadataTask, e.Subject)
	set(MetadataStep, e.Step)
	if e.Attempt > 0 {
		set(MetadataAttempt, strconv.Itoa(e.Attempt))
	}
	return msg
}
