//go:build !race

package crashtest

const raceFactor = 1
