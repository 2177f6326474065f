package httphandler

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// traceparent is the header of W3C Trace Context for one execution. The same execution always has the same: the trace
// is the task's id, the span a hash of task, step and attempt. A task whose correlation id is a traceparent belongs to
// that trace, with its flags.
func traceparent(task domain.TaskView, step domain.StepView) string {
	trace, flags := hex.EncodeToString(task.ID[:]), "01" // sampled
	if parent, ok := parseTraceparent(task.CorrelationID); ok {
		trace, flags = parent.trace, parent.flags
	}
	span := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", task.ID, step.Name, step.Attempt))
	id := span[:8]
	if [8]byte(id) == [8]byte{} { // which stands for no span
		id[7] = 1
	}
	return "00-" + trace + "-" + hex.EncodeToString(id) + "-" + flags
}

type traceParent struct{ trace, flags string }

// parseTraceparent reads version 00, and what later versions have in common with it.
func parseTraceparent(text string) (traceParent, bool) {
	fields := strings.SplitN(text, "-", 5)
	if len(fields) < 4 || fields[0] == "00" && len(fields) > 4 || fields[0] == "ff" {
		return traceParent{}, false
	}
	for i, size := range []int{2, 32, 16, 2} {
		if len(fields[i]) != size || strings.Trim(fields[i], "0123456789abcdef") != "" {
			return traceParent{}, false
		}
	}
	if strings.Trim(fields[1], "0") == "" || strings.Trim(fields[2], "0") == "" {
		return traceParent{}, false
	}
	return traceParent{trace: fields[1], flags: fields[3]}, true
}
