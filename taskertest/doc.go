// Package taskertest tests workflows and handlers: on a log in memory, in virtual time, without NATS.
//
// # A handler
//
// Given makes a call of a handler, without an engine: give it the task's context and the results of earlier steps, and
// look at what it returns.
//
//	got := taskertest.Given(charge).
//		Context(Order{Total: 124.76}).
//		Result("validate", Cart{Items: 3}).
//		Call(t.Context())
//	if got.Permanent() { t.Fatal(got.Err) }
//
// Got holds what the handler said, too: checkpoints, progress, lines, custom events. Case.Checkpoint gives the next call
// what an earlier one stored.
//
// # A workflow
//
// Run runs a test in a testing/synctest bubble, with an engine that is running. Register the workflow, submit a task,
// wait for it, and look at what happened:
//
//	func TestCheckout(t *testing.T) {
//		taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
//			e.MustRegister(checkout)
//			id := e.MustSubmit("checkout", Order{Total: 124.76})
//			e.MustWait(id)
//			if got := e.MustStep(id, "charge").Attempt; got != 2 {
//				t.Errorf("charged in %d attempts", got)
//			}
//		})
//	}
//
// When and Then... say the same in fewer words, and look at what is stored with the task: results, the trace of its
// events, custom events, checkpoints, annotations. Checkpoints, Progress, Lines, Emitted and Annotations return them.
//
// Stub replaces handlers, so that a workflow is tested without the systems that its steps talk to:
//
//	e.MustRegister(checkout)
//	e.Stub(checkout, "charge", taskertest.FailTimes(1, errors.New("card reader busy"), Receipt{ID: "r1"}))
//
// # Time
//
// In the bubble time stands still while anything runs, and jumps to the next timer when everything waits: a task that
// waits three hours for its retries is over in milliseconds. Advance lets time pass; Settle waits, without letting it
// pass, until nothing can happen any more. Handlers run in the bubble too: time.Sleep in them is virtual. What the
// bubble does not know, such as a network connection, must not be waited for there.
//
// # Crashes
//
// Crash kills the engine and starts another on the same log, as the next process would find it; Restart stops it
// first. Store has faults: lost acknowledgements, a log that is away.
package taskertest
