//go:build race

package httphandler_test

import "time"

// faultSlack is what a handler may need beyond the timeout; the race detector makes everything several times slower.
const faultSlack = 500 * time.Millisecond
