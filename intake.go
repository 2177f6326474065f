package tasker

// The intake: how a task is submitted by those who have nothing but a NATS client. What stands here is a contract: fields,
// headers and codes may be added, none changes its meaning or goes.
//
// # Publish
//
// Publish a request to tasker.submit.task.<namespace>.<name>, as the namespace and the name of a definition (the first word is
// Config.Prefix in lower case). The stream TASKER_INBOX keeps it until an engine has carried it out, also while none runs; the
// acknowledgement of JetStream says that it is kept, not that there is a task. A full stream refuses it.
//
//	nats pub tasker.submit.task.default.order '{"context": {"id": 7}, "idempotency_key": "order-7"}'
//
// The body is a JSON object (domain.IntakeRequest) with any of these fields, and no others; an empty body is {}.
//
//	context          object: the task's input; default {}
//	version          string: of the definition; default the highest release
//	idempotency_key  string: the same key, of a namespace and name, is the same task
//	initiator        string: who wants the task
//	source_system    string: which system submits it
//	reason           string: why
//	tags             list of strings
//	bypass_steps     list of strings: skippable steps that are skipped when their turn comes
//	correlation      string: id that every event of the task carries
//	traceparent      string: the trace of W3C Trace Context that the task belongs to
//	namespace, name  strings: what the subject says already; anything else is refused
//
// A misspelled field, one that stands there twice, and a body that is the task's input itself are refused. Fields with which the
// engine describes events (id, task, task_id, event_id, type, at, time, position, actor, by, attempt, attempts, step, prev,
// causation, cause, definition, deadline, input, created_at, state) are ignored beside a context: a publisher chooses none of
// that.
//
// Headers, all optional; others are ignored:
//
//	Nats-Msg-Id        id of the message: every copy of it is the same task, also when NATS has forgotten it
//	Tasker-Reply-To    subject that gets the answer; not below the engine's own prefix, nor below $
//	correlation_id     the correlation when the body has none (what Watermill calls so)
//	traceparent        the trace when the body has none; one that is not valid is ignored
//	Tasker-Message-Id  what Nats-Msg-Id was, of a message that comes from the dead letters again
//
// # Which task
//
// A message may be delivered more than once, and is one task for all that. The task's id comes, in this order, from the
// idempotency key (domain.KeyedTaskID); from what the definition says makes two submissions the same task (its identity, at
// the time at which the message was stored); from Tasker-Message-Id or Nats-Msg-Id (domain.MessageTaskID); from the data id, the
// message's sequence in the stream and its time (domain.SequencedTaskID). The first three are remembered until
// Config.IdempotencyWindow after the task's end, and count for Config.MaxKeys.
//
// # The answer
//
// When the request has been decided and the decision is stored, the subject in Tasker-Reply-To gets a JSON object
// (domain.IntakeAnswer): a plain message, which is lost when nobody listens. Either
//
//	{"task": "01890a5d-…", "position": "00-12-0", "created": true}
//
// where created is false for a task that was there before, or
//
//	{"created": false, "error": {"code": "violations", "message": "…", "detail": {…}}}
//
// with "task" beside it for idempotency_mismatch: the task that has the key. The codes: invalid_request (no JSON, a wrong
// subject, a wrong field or header, too large), definition_not_found, no_identity, violations (of the schema), bypass,
// idempotency_mismatch, refused (anything else). With "retryable": true nothing is wrong with the request: overloaded,
// store_full, too_many_keys, unavailable (no engine owns the task's partition now, or NATS is away), outcome_unknown.
//
// # What becomes of a request
//
// It is acknowledged in the stream when its task is stored. What is retryable is tried again, for as long as it takes. A
// definition that nobody knows may be registered a moment later: such a request is tried again for ten seconds, counted from when
// it was stored or from the engine's start, whichever is later; what fails for a reason that the engine does not know, for an
// hour. Everything else that is refused goes to the dead letters, kind "submission", with the reason, the subject, the headers
// and the body, and is acknowledged then; docs/dead-letters.md says how it is mended and sent again.
//
// # Request and reply
//
// The same request sent with NATS request/reply to tasker.submit.request.<namespace>.<name>, or to tasker.submit.request with
// namespace and name in the body, is answered by one of the engines with the same JSON. Nothing keeps it: without an engine
// the caller learns at once that nobody listens, what is refused is not in the dead letters, and what is retryable is
// answered. Without an idempotency key, an identity or a message id it is a new task every time.
//
//	nats req tasker.submit.request.default.order '{"context": {"id": 7}}'
