package httphandler

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter caps what a server may ask for; minUntil is the least wait until a date (SEMANTICS 3).
const (
	maxRetryAfter = 300 * time.Second
	minUntil      = time.Second
)

// parseRetryAfter reads a Retry-After header: digits are seconds, a date is the time until then. 0 stands for no wish:
// the header is absent, zero or cannot be parsed. clipped tells that the wish was longer than maxRetryAfter.
func parseRetryAfter(value string, now time.Time) (wait time.Duration, clipped bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds > int(maxRetryAfter/time.Second) { // err: more digits than an int holds
			return maxRetryAfter, true
		}
		return time.Duration(seconds) * time.Second, false
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	wait = max(date.Sub(now), minUntil)
	return min(wait, maxRetryAfter), wait > maxRetryAfter
}
