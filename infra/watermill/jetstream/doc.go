// Package jetstream is a Watermill Publisher and Subscriber over any JetStream stream: a topic is a subject.
//
//	pub, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{})
//	sub, err := jetstream.NewSubscriber(nc, jetstream.SubscriberConfig{Group: "billing"})
//
//	router.AddMiddleware(jetstream.ClassifyErrors)
//	router.AddHandler("bill", "orders.*.placed", sub, "invoices.new", pub.WithoutClose(), bill)
//
// Both use a connection that is the caller's and never close it.
//
// # What a subscriber can rely on
//
//   - At least once. Nothing is acknowledged before the handler said so; what was not is delivered again, to whoever holds
//     the same Durable or Group then. What waits in memory when a subscription ends is given back at once.
//   - One message at a time in a lane, and all messages of a key (the subject, unless Key says otherwise) in one lane: so
//     messages of a key come in the order of the stream, until one is nacked or the process restarts: JetStream delivers
//     that one again after others. Who needs strict order compares MetaSequence, or sets Lanes and MaxAckPending to 1.
//   - A slow handler keeps its message: the server is told that work goes on (Heartbeat).
//   - A handler's context carries the values of the context of Subscribe and outlives its end by CloseTimeout.
//
// # On the wire
//
// A message's payload is the NATS payload, its metadata are headers, its UUID is the header _watermill_message_uuid: the
// same as the stock watermill-nats does with its NATSMarshaler. Messages of clients that know nothing of Watermill are
// handed out like any other; none of their headers can stop a subscriber.
//
// What is special to JetStream is asked for by headers of the server (Nats-TTL, Nats-Rollup, ...), which a publisher sets as metadata. A
// subscriber does not hand them out, so that a message that is published again does not ask for them again.
package jetstream
