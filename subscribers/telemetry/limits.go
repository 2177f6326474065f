package telemetry

// Limits of the labels (docs/metrics.md): with them an engine has at most MaxSeries series. What comes later is counted
// under "other", so no total is wrong.
const (
	MaxSeries      = 5000
	MaxDefinitions = 200 // with counters of their own
	MaxHistograms  = 40  // of these, with histograms of their own
	MaxSteps       = 300 // with counters of their own
	MaxHandlers    = 50  // with slots of their own
)
