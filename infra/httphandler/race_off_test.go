//go:build !race

package httphandler_test

import "time"

// faultSlack is what a handler may need beyond the timeout.
const faultSlack = 100 * time.Millisecond
