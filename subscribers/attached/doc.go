// Package attached runs custom subscribers: handlers that are told of the events of the log after they have been
// stored. A durable subscriber has a name, and keeps its own cursor under it; so it goes on where it stopped, in
// whatever process it is started next (DESIGN 7, SEMANTICS 10).
//
// Events are delivered at least once. Those of one task come in order, one after the other; those of different tasks
// come at once, on up to Options.Lanes goroutines. Without a crash none comes twice. After one, those behind the last
// cursor written come again: position and type tell them apart.
//
// A handler that fails holds up its own task only: the event is tried again, and after the last try parked in the dead
// letters. Reading goes on meanwhile, up to the limits named below. The engine never waits for a subscriber.
//
// Beside the facts it tells the signals that follow from them (SEMANTICS 11), for those who name them. A signal has the
// position of the fact that implies it, so positions are unique per type only; a cursor holds a rank beside it.
//
// Replay reads what is stored, once, without a cursor. Taps listen to what this process does, without the log.
package attached
