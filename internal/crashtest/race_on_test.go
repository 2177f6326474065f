//go:build race

package crashtest

// raceFactor is how much more memory the race detector is allowed to take.
const raceFactor = 3
