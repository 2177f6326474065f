// Package acceptance holds no code: its tests are the acceptance cases of a task, each named after its number. Every
// case goes through the public face and looks at what is stored, and runs twice: on the log in memory on virtual time, and on a
// real embedded NATS server, with the engine's clock injected so that nothing sleeps. At the end of every case the
// events of its tasks are checked against the law, and the engine is started again: what it reads from the log must
// be what it had in memory.
//
// Then the case is run again with a crash after its first commit, its second, and so on to the last (on the real log after one
// of them): the commit is stored, the engine dies before it hears of it, and another one takes its place. The case must not notice:
// its assertions hold for the history without the executions that were lost (healed), and the outcome is the same: states,
// results, errors, executions that count, accepted completions, notes. Handlers may be called again, with the same idempotency
// key, and only for executions that the history calls lost. What may differ all the same, a case says itself (differs):
// steps that are not retried are over when their worker is lost.
//
// Case 20, every transition of both machines, is also domain/transition_test.go; of case 25, the network is in infra/httphandler.
package acceptance
