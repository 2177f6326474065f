// Package subscribers holds the contract of whatever reacts to events, and the coordinator, which turns inputs into
// commits and lets everybody react.
//
// There are two kinds. A Reactor takes part in the commit: it is a pure function from a task's state to commands, and
// the events that those lead to are appended together with the event that it reacted to. A Subscriber hears of events
// after they have been stored. Each declares the event types that it reacts to as constants of package domain; the
// coordinator dispatches by that declaration and knows no rule about tasks and steps itself.
//
// The subpackages are the subscribers of the engine: discoverer, finalizer and reenqueuer are reactors, executor and
// telemetry are subscribers. They never import each other.
package subscribers
