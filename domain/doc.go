// Package domain is the law of the engine: events, commands, the state machines of tasks and steps, and the
// functions that connect them.
//
//	Decide: (state, command, now) -> events   a command may be refused
//	Evolve: (state, event)        -> state    an event never is
//	React:  state                 -> commands (in package subscribers; level-triggered)
//
// Nothing here reads a clock, draws a random number, or does I/O: the same inputs give the same events on every
// machine, in a test, in a replay and in the simulation. The package imports the standard library and
// github.com/google/uuid, and nothing of this module.
//
// Read event.go first, then evolve.go, then decide.go.
package domain
