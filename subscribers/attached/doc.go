// Package attached runs custom subscribers: handlers that are told of the events of the log after they have been
// stored. A durable subscriber has a name, and keeps its own cursor under it; so it goes on where it stopped, in
// whatever process it is started next (DESIGN 7, SEMANTICS 10).
//
// Events are delivered at least once. Those of one task come in order, one after the other; those of different tasks
// come at once, on up to Options.Lanes goroutines. Without a crash none comes twice. After one, those behind the last
// cursor written come again: Record.Position tells them apart.
//
// A handler that fails holds up its own task only: the event is tried again, and after the last try parked in the dead
// letters. Reading goes on meanwhile, up to the limits named below. The engine never waits for a subscriber.
//
// Replay reads what is stored, once, without a cursor.
package attached
