package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// delivery is one message from its arrival to its acknowledgement.
type delivery struct {
	reply   string // guarded by the subscription's mutex
	meta    *nats.MsgMetadata
	msg     *message.Message
	cancel  context.CancelFunc
	arrived time.Time
	verdict atomic.Pointer[verdict]
}

func (d *delivery) sequence() uint64 { return d.meta.Sequence.Stream }

type deliveryKey struct{}

// deliveryContext lets ClassifyErrors find the delivery, however often a middleware wrapped the context.
type deliveryContext struct {
	context.Context
	d *delivery
}

func (c deliveryContext) Value(key any) any {
	if _, ok := key.(deliveryKey); ok {
		return c.d
	}
	return c.Context.Value(key)
}

// The server's words for what became of a message, published to its reply subject.
var (
	ackWord      = []byte("+ACK")
	nackWord     = []byte("-NAK")
	progressWord = []byte("+WPI")
	termWord     = []byte("+TERM")
)

func nackAfter(wait time.Duration) []byte {
	if wait <= 0 {
		return nackWord
	}
	b, _ := json.Marshal(struct { // two words and a number cannot fail
		Delay int64 `json:"delay"` // nanoseconds
	}{int64(wait)})
	return fmt.Appendf(nil, "%s %s", nackWord, b)
}

func terminate(reason string) []byte { return fmt.Appendf(nil, "%s %s", termWord, reason) }
