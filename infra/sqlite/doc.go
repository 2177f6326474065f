// Package sqlite keeps the index of all tasks (projections/index) in one SQLite file: pure Go, no server, no cgo. The file is
// never the truth. It follows the log with a cursor of its own, which is stored together with the rows, so that it is
// consistent whenever the process dies; and when it is damaged, or of another log, it is made again.
package sqlite
