// Package tasker runs workflows that survive crashes: every change of state is an event in a NATS JetStream log, and
// nothing happens before the event that says so has been stored.
//
// A task is one run of a definition, a named, versioned graph of steps. A step runs when the steps that it depends on
// are over; its handler is Go code, a program, or an HTTP request. What fails is tried again, what cannot go on says
// why, and what was acknowledged is there after a kill -9.
//
// # The first workflow
//
//	flow := tasker.Define("greet").
//		Step("hello", hello).
//		Step("shout", shout, tasker.After("hello")).
//		MustBuild()
//
//	engine, err := tasker.New(ctx, tasker.Config{URL: "nats://localhost:4222"})
//	...
//	err = engine.Register(flow)
//	...
//	go engine.Run(ctx)
//	<-engine.Ready()
//
//	receipt, err := engine.Submit(ctx, "greet", Greeting{"world"})
//	...
//	result, err := engine.Wait(ctx, receipt.ID)
//
// The package's example is this program as a whole. Definitions can be files as well (package infra/yamldef) and
// handlers can be registered by name (Engine.Handler): the command line, cmd/tasker, runs workflows without any Go.
//
// # Handlers and errors
//
// Handle makes a handler of a typed function: its input is the task's context, what it returns becomes the step's
// result, and ResultOf reads the results of earlier steps.
//
//	shout := tasker.Handle(func(ctx context.Context, in Greeting) (string, error) {
//		said, err := tasker.ResultOf[string](ctx, "hello")
//		return strings.ToUpper(said), err
//	})
//
// OptionalResultOf reads those of steps that may have been skipped or may have failed, ResultsOf those of all parents.
// Logger writes to the log of the process, with task, step and attempt.
//
// Below it is the contract that the engine calls: a StepHandler is given the task, its steps with their results, and the
// step; it may shape what it returned with the hook ResultsProcessor. A TaskHandler gives the step handlers of a
// definition; Builder.TaskHandler, or Bind for a definition from a file, puts the two together. Its hooks are optional:
// SchemaProvider gives the schema of the context, StepEstablisher changes the step templates before they are checked,
// Annotator leaves notes with a task when a run is over, Identifier says which submissions are the same task.
//
// Handlers belong to a process: a step whose handler is not registered where its task is owned waits, and Task says what
// for. FindTaskHandler and FindHandler look handlers up, Handlers and TaskHandlers list them.
//
// A handler that returns an error is called again after the step's backoff: 1, 2, 4 ... s, three executions in all;
// see Retries, WithBackoff, NoRetry and Timeout. Permanent(err) fails the step at once, RetryAfter(d, err) names the
// wait. A panic is a failure like any other. When nothing of a task can run any more, it fails, with the steps to blame;
// an operator may retry it, or resolve its steps by hand. The failure of an Optional step does not fail the task.
//
// A handler runs at least once per attempt. Handlers that talk to others should use the step's idempotency key
// (StepOf(ctx) gives it): it is the same for every attempt, and a new one after an operator's retry. And they should
// watch their context, which ends at the step's timeout, when the step is cancelled, and when the engine has to stop.
//
// # Long steps
//
// A step that takes minutes or hours says how far it has come, so that the next attempt, after an error or a crash, does
// not begin anew:
//
//	next := 0
//	if _, err := tasker.Resume(ctx, &next); err != nil { // what the last attempt stored
//		return 0, err
//	}
//	for ; next < len(rows); next++ {
//		if err := copyRow(ctx, rows[next]); err != nil {
//			return 0, err
//		}
//		tasker.Progress(ctx, next+1, len(rows), "copying")
//		if next%100 == 99 {
//			if err := tasker.Checkpoint(ctx, next+1); err != nil {
//				return 0, err
//			}
//		}
//	}
//
// Checkpoint returns when the cursor is stored; rows behind the last one are copied again after a crash, so copying a row
// twice must do no harm. Its error says that this execution is not the current one any more: return it. Progress is for
// people and stored at most once a second, Log stores lines with the step, and Heartbeat is a sign of life for steps
// with a HeartbeatTimeout, which are given up and tried again when none comes. Emit stores a custom event that the step
// declares (Emits), together with its outcome, for subscribers of that name.
//
// # Submitting and waiting
//
// Submit returns when the task is stored. Its input is checked against the definition's JSON Schema, the defaults of
// which are stored with it. Wait returns the task's result: the results of the leaf steps by name, or that of the step
// named with Output. A task that did not complete gives a *TaskFailedError. Run does all in one call, with types.
//
// Task shows the state of a task, with its steps, attempts, errors and results; Tasks lists them. A Client submits and
// waits from processes that run nothing themselves.
//
// # Acting on tasks
//
// Cancel, Retry, Resolve, Pause, Resume and Annotate act on tasks, RetryStep, ResolveStep, CancelStep and CompleteStep on
// steps. Each stores who acts and why (By) and returns what it changed, which may be nothing. What is not possible is
// refused with a *domain.TransitionError or *domain.RefusedError, also when another process decides.
//
// Fork makes a new task that begins where another one stands, or stood right after one of its events: steps that were over
// are taken over with their results, everything else runs, with the same or another context. It is for what no retry mends:
// a wrong input, a cancelled step, a task that ended too early. TaskAt shows a task as it was. See docs/fork.md.
//
// # Idempotency
//
// A submission with Key(k) is made once: the same key, for the same definition, is the same task until 24 h after its
// end (Config.IdempotencyWindow), and Receipt.Created says whether this call made it. The same key with another input
// gives ErrIdempotencyMismatch and the first task's id: the context as it was submitted, before the schema's defaults are
// filled in, and the steps to bypass. When ErrOutcomeUnknown comes back, submit again, with the key or with
// WithID(receipt.ID): it will not be doubled.
//
// A definition may say what makes submissions without a key the same task: IdentityHash, the same content within the same
// minute, say, or IdentityFunc, what a function of yours says. A key, or an id, comes before it.
//
// # Watching events
//
// The log is open. Replay reads what was stored, by task, type, position or time; History is one task's story with
// durations and causes. Attach runs a subscriber: it is told of events of the types that it names, in order per task,
// at least once, and with a name it is durable and goes on where it stopped. Types may be those of signals, which follow
// from what was stored, of custom events, which a definition declares and handlers emit, and families such as workflow.*.
// Tap hears what this process does, while it does it. The events are the structs of package domain; docs/events.md lists
// them, and docs/subscribers.md says more.
//
// # Running on NATS
//
// Config says where the log is: URL or NATSContext for a server or cluster of yours, Connect for an embedded server
// (package infra/natsserver), which needs nothing but a directory. The engine makes its streams at the first start.
// Several engines may run on one log: every partition has one owner, usually the engine that came first, and another
// takes over when that one stops or dies. The Durability that an engine shows is the server's: strict means that a
// commit is on disk before it is acknowledged. Config.Slots limits how
// many steps run at once; when too much waits, Submit says ErrOverloaded, and when NATS is away, ErrUnavailable.
//
// # Testing
//
// Package taskertest runs an engine on a log in memory, in virtual time: hours of retries take milliseconds, and a
// crash is one call. Handlers are tested alone with taskertest.Given, which notes what they say: checkpoints, progress,
// custom events.
//
// # What happens in a crash
//
// Nobody was told anything that is not in the log, so nothing that anybody relies on is lost. The next engine, in the
// same process or in another, gets the partition when the lease of the dead one has run out (Config.LeaseTTL, 10 s),
// loads the newest snapshot and the events after it, and goes on: what was waiting waits, timers that came due
// meanwhile are due now, and every step that was running is run again with the next attempt, which does not count
// against its retries. Only a step with NoRetry fails then, because nobody knows whether it ran. Should the dead one
// not be dead but slow, its next commit is refused, because another one stands where it should be.
package tasker
