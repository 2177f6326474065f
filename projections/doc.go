// Package projections folds commits into what the engine and its users read: the state of a partition (partition.go,
// ended.go, snapshot.go), the history of one task (history.go) and statistics (statistics.go). Projections never
// append.
package projections
