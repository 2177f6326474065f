// Package acceptance holds no code: its tests are the acceptance cases of a task, each named after its number. Every
// case goes through the public face and looks at what is stored, and runs twice: on the log in memory on virtual time, and on a
// real embedded NATS server, with the engine's clock injected so that nothing sleeps. At the end of every case the
// events of its tasks are checked against the law, and the engine is started again: what it reads from the log must
// be what it had in memory.
//
// Case 20, every transition of both machines, is domain/transition_test.go. Not here: 25 (infra/httphandler), 26 and 30,
// which the engine cannot do yet.
package acceptance
