// Package watermill makes Tasker at home in a program that is built with Watermill (github.com/ThreeDotsLabs/watermill).
//
//   - Events is a message.Subscriber over the log: topics are types of events and families of them, one message per event,
//     in order per task, on the cursors, tries and dead letters of a durable subscriber. With EventsConfig.Replay it is
//     finite: the Router returns when what was stored has been handled.
//   - Bus is a Router with typed handlers of package cqrs on it, for a subscriber in a few lines.
//   - Intake is a message.Publisher whose topics ask for something: a task, or an operator's verb. Facts are decided by
//     engines and cannot be published (ErrFactsAreNotPublished).
//
// The generic Publisher and Subscriber over any JetStream stream are in package jetstream below this one; a guarded
// watermill-nats for those who have one already is infra/watermillnats. docs/watermill.md is the manual.
package watermill
