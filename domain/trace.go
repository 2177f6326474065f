package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Trace is a task's place among the traces of its surroundings, in the words of W3C Trace Context. It follows from the
// task alone: every process that sees the task comes to the same, before and after a crash.
type Trace struct {
	ID     [16]byte
	Parent [8]byte // span of the request that asked for the task; zero when the trace begins with the task
	Flags  byte    // of that request; FlagSampled is one
}

// FlagSampled in a traceparent: whoever sent it records its trace.
const FlagSampled byte = 1

// TraceOf is the trace of a task: that of the request that asked for it, if it brought a traceparent, or a correlation id
// that is one. Else the task's id is the trace's.
func TraceOf(id TaskID, traceparent, correlation string) Trace {
	if traceparent == "" && correlation == "" {
		return Trace{ID: id}
	}
	for _, text := range [...]string{traceparent, correlation} {
		if text == "" {
			continue
		}
		if t, err := ParseTraceparent(text); err == nil {
			return t
		}
	}
	return Trace{ID: id}
}

// Remote reports whether the trace began before the task, with a request.
func (t Trace) Remote() bool { return t.Parent != [8]byte{} }

// Random is the part of the trace id by which it is sampled: the lowest 56 bits, which are random in ids of version 5 and 7
// and in those that follow W3C Trace Context, level 2. A trace is in a share of all when Random is at least
// 2^56 * (1 - share).
func (t Trace) Random() uint64 {
	var n uint64
	for _, b := range t.ID[9:] {
		n = n<<8 | uint64(b)
	}
	return n
}

// TaskSpan is the id of the span of a run of the task, from 1.
func TaskSpan(id TaskID, round int) [8]byte { return spanID(id, "", round) }

// ExecutionSpan is the id of the span of one execution of a step.
func ExecutionSpan(id TaskID, step string, attempt int) [8]byte { return spanID(id, step, attempt) }

func spanID(id TaskID, step string, n int) [8]byte {
	var room [128]byte
	text := append(id.Append(room[:0]), 0)
	text = append(append(text, step...), 0)
	sum := sha256.Sum256(strconv.AppendInt(text, int64(n), 10))
	span := [8]byte(sum[:8])
	if span == [8]byte{} { // which stands for no span
		span[7] = 1
	}
	return span
}

// FormatTraceparent is the header of W3C Trace Context.
func FormatTraceparent(trace [16]byte, span [8]byte, flags byte) string {
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:], trace[:])
	b[35] = '-'
	hex.Encode(b[36:], span[:])
	b[52] = '-'
	hex.Encode(b[53:], []byte{flags})
	return string(b[:])
}

// ParseTraceparent reads version 00, and what later versions have in common with it.
func ParseTraceparent(text string) (Trace, error) {
	var t Trace
	fields := strings.SplitN(text, "-", 5)
	if len(fields) < 4 || fields[0] == "00" && len(fields) > 4 || fields[0] == "ff" {
		return Trace{}, badTraceparent(text)
	}
	var version, flags [1]byte
	for i, into := range [][]byte{version[:], t.ID[:], t.Parent[:], flags[:]} {
		if len(fields[i]) != 2*len(into) || strings.Trim(fields[i], "0123456789abcdef") != "" {
			return Trace{}, badTraceparent(text)
		}
		if _, err := hex.Decode(into, []byte(fields[i])); err != nil {
			return Trace{}, badTraceparent(text)
		}
	}
	if t.ID == [16]byte{} || t.Parent == [8]byte{} {
		return Trace{}, badTraceparent(text)
	}
	t.Flags = flags[0]
	return t, nil
}

func badTraceparent(text string) error {
	return fmt.Errorf("%q is no traceparent: want one as W3C Trace Context has it, such as "+
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", text[:min(len(text), 100)])
}
