// Package watermillnats is github.com/ThreeDotsLabs/watermill-nats/v2 in the one way that does not lose messages. It is the only place that
// may import that package.
//
// It is for programs that already are built on that publisher or subscriber. What is new uses infra/watermill/jetstream: it speaks
// the same wire format, is faster, keeps order per key, and does not stop at a slow handler.
//
// What the stock package does as shipped, and what is done about it here:
//
//   - Its subscriber lets the client acknowledge whatever its callback returned from, also what was never handled, when it is
//     closed, when its context ends, when a message cannot be read: those messages are lost. Here acknowledgement is
//     manual.
//   - The durable consumer that it creates is deleted when it is closed, and the cursor with it. Here the consumer is made
//     beforehand, and is left alone.
//   - Closing, or the end of a context, cancels running handlers, drops their acknowledgements and may send on a closed channel, which ends
//     the process. Here it is closed once nothing is on its way through it.
//   - Messages age while they wait behind each other, and are delivered again meanwhile. Here no more are taken than there are
//     workers.
//   - A nacked message comes again at once, tens of thousands of times a second. Here there is a backoff.
//   - A message with two values in a header cannot be read: it is lost, or, with manual acknowledgement, delivered for ever. Here
//     everything can be read.
//   - Both close their connection, also one that others use. Here none is shared.
//   - Options that are shared between calls are appended to in place: concurrent publishers exchange message ids, and
//     messages are dropped as duplicates. Here no slice has room to be appended to.
//
// What remains: an acknowledgement is one round trip for publishing; a handler has AckWait, no longer; what was handed out when a
// process dies comes back after AckWait only.
package watermillnats
