package telemetry

import "strings"

// Limits of the labels (docs/metrics.md): with them an engine has at most MaxSeries series, whatever it runs. What comes
// later is counted under "other", so no total is wrong.
const (
	MaxSeries      = 5000
	MaxDefinitions = 200 // with counters of their own
	MaxHistograms  = 40  // of these, the first ones, with histograms of their own
	MaxSteps       = 300 // with counters of their own
	MaxFailures    = 400 // pairs of step and kind of failure with a counter of their own
	MaxHandlers    = 50  // with slots of their own
	MaxSubscribers = 50  // with a lag of their own
	MaxLabel       = 128 // bytes of a label's value; the rest is cut
)

// other stands for what is beyond a limit.
const other = "other"

// label is a name as a label's value: what Prometheus takes, and not longer than it should be.
func label(name string) string {
	if len(name) > MaxLabel {
		name = name[:MaxLabel]
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}
