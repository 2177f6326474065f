//go:build race

package acceptance

// raced: the race detector makes cases with thousands of steps eight times slower.
const raced = true
