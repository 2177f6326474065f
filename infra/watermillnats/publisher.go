package watermillnats

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/infra/watermill/jetstream"
)

// DefaultPublishTimeout is how long the acknowledgement of one message may take.
const DefaultPublishTimeout = 5 * time.Second

// ErrClosed: the Publisher or Subscriber was closed before.
var ErrClosed = errors.New("closed")

// PublisherConfig says how a Publisher connects and publishes.
type PublisherConfig struct {
	// URL is the server's address, as for nats.Connect; "" is nats://127.0.0.1:4222.
	URL string
	// NatsOptions are for the connection, which is the publisher's own.
	NatsOptions []nats.Option
	// Timeout is how long the acknowledgement of one message may take; default DefaultPublishTimeout.
	Timeout time.Duration
	// Deduplicate sends SUBJECT/UUID as Nats-Msg-Id, so that the server stores a message once within the stream's duplicate
	// window. The stock package's TrackMsgId sends the UUID alone, and so loses what goes to a poison queue in the same
	// stream.
	Deduplicate bool
}

// Publisher is the stock publisher on a connection of its own. Its methods may be called from any goroutine.
type Publisher struct {
	stock *stock.Publisher

	closing sync.RWMutex // held for reading by every Publish
	closed  bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher connects and publishes to JetStream. A nil logger discards.
func NewPublisher(cfg PublisherConfig, logger watermill.LoggerAdapter) (*Publisher, error) {
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("watermill-nats publisher: the timeout is %s: use 0 for %s, or a positive one", cfg.Timeout, DefaultPublishTimeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultPublishTimeout
	}
	nc, err := connect(cfg.URL, cfg.NatsOptions)
	if err != nil {
		return nil, fmt.Errorf("watermill-nats publisher: %w", err)
	}
	pub, err := stock.NewPublisherWithNatsConn(nc, stock.PublisherPublishConfig{
		Marshaler:         marshaler{deduplicate: cfg.Deduplicate}, // this constructor sets no defaults: without one it panics
		SubjectCalculator: stock.DefaultSubjectCalculator,
		JetStream: stock.JetStreamConfig{
			ConnectOptions: []nats.JSOpt{nats.MaxWait(cfg.Timeout)},
			// No PublishOptions: the stock publisher appends to them from every goroutine.
		},
	}, logger)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("watermill-nats publisher: %w", err)
	}
	return &Publisher{stock: pub}, nil
}

func connect(url string, opts []nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(url, slices.Clip(opts)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %q: %w", url, err)
	}
	return nc, nil
}

// Publish stores the messages one after the other, a round trip each, and stops at the first that fails: those before it are
// stored. jetstream.AsConflict knows its errors.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.closing.RLock()
	defer p.closing.RUnlock()
	if p.closed {
		return fmt.Errorf("publish to %s: watermill-nats publisher: %w", topic, ErrClosed)
	}
	return p.stock.Publish(topic, messages...)
}

// Close waits for the calls of Publish that are under way and closes the publisher's connection. A second call does
// nothing. A Router closes a handler's publisher when that handler ends: give each handler one of its own.
func (p *Publisher) Close() error {
	p.closing.Lock()
	defer p.closing.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return p.stock.Close()
}

// marshaler is the wire format of infra/watermill/jetstream, which is that of the stock NATSMarshaler without its traps.
type marshaler struct{ deduplicate bool }

func (m marshaler) Marshal(topic string, msg *message.Message) (*nats.Msg, error) {
	if msg == nil {
		return nil, errors.New("the message is nil")
	}
	raw, err := jetstream.Marshal(topic, msg)
	if err != nil {
		return nil, err
	}
	if m.deduplicate && msg.UUID != "" && raw.Header.Get(jetstream.MetaMessageID) == "" {
		raw.Header.Set(jetstream.MetaMessageID, topic+"/"+msg.UUID)
	}
	return raw, nil
}
