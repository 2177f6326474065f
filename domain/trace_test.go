package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const sampleTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceparentsAreReadAsTheStandardSays(t *testing.T) {
	for text, flags := range map[string]byte{
		sampleTraceparent: 1,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00":            0,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03":            3,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes": 1,
	} {
		got, err := ParseTraceparent(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if again := FormatTraceparent(got.ID, got.Parent, got.Flags); again[2:] != text[2:55] || got.Flags != flags {
			t.Errorf("%s became %s", text, again)
		}
	}
	for _, text := range []string{
		"", "-", "---", sampleTraceparent + "-", sampleTraceparent + "-x", sampleTraceparent[:54], "ff" + sampleTraceparent[2:],
		strings.ToUpper(sampleTraceparent), "0" + sampleTraceparent, "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
		strings.Repeat("a", 100_000),
	} {
		if got, err := ParseTraceparent(text); err == nil || got != (Trace{}) || len(err.Error()) > 400 {
			t.Errorf("%.80q was read as %+v, %v", text, got, err)
		}
	}
}

func TestTheTraceOfATaskIsItsRequestsOrItsOwn(t *testing.T) {
	id := TaskID{0x01, 0x99, 15: 7}
	own := Trace{ID: id}
	theirs, err := ParseTraceparent(sampleTraceparent)
	if err != nil {
		t.Fatal(err)
	}
	other := "00-" + strings.Repeat("ab", 16) + "-" + strings.Repeat("cd", 8) + "-00"
	for _, tt := range []struct {
		traceparent, correlation string
		want                     Trace
	}{
		{"", "", own}, {"", "order-7", own}, {"nonsense", "order-7", own},
		{sampleTraceparent, "", theirs}, {"", sampleTraceparent, theirs}, {sampleTraceparent, "order-7", theirs},
		{sampleTraceparent, other, theirs}, {"nonsense", sampleTraceparent, theirs},
	} {
		if got := TraceOf(id, tt.traceparent, tt.correlation); got != tt.want {
			t.Errorf("%q, %q: %+v", tt.traceparent, tt.correlation, got)
		}
	}
	if own.Remote() || !theirs.Remote() {
		t.Error("a trace is remote when it began with a request")
	}
}

func TestSpansOfATaskDifferAndNeverChange(t *testing.T) {
	id := TaskID{0x01, 0x99, 15: 7}
	seen := map[[8]byte]string{}
	for n := range 4 {
		for what, span := range map[string][8]byte{
			"task": TaskSpan(id, n+1), "a": ExecutionSpan(id, "a", n+1), "a1": ExecutionSpan(id, "a1", n+1),
			"long": ExecutionSpan(id, strings.Repeat("long", 100), n+1), "other": ExecutionSpan(TaskID{15: 8}, "a", n+1),
		} {
			name := fmt.Sprint(what, n)
			if other := seen[span]; other != "" {
				t.Errorf("%s and %s are the same span", name, other)
			}
			seen[span] = name
		}
	}
	if got := fmt.Sprintf("%x %x", TaskSpan(id, 1), ExecutionSpan(id, "step-one", 2)); got != "342e36a3d311915e 3ed3c8594d97ad9b" {
		t.Errorf("spans of stored tasks have other ids now: %s", got)
	}
}

// A share of the ids that the engine makes is that share of the traces.
func TestIdsOfTasksAreSampledByTheirRandomPart(t *testing.T) {
	const all, share = 20_000, 0.1
	bound := uint64((1 - share) * float64(1<<56))
	for name, id := range map[string]func(i int) TaskID{
		"by key":  func(i int) TaskID { return KeyedTaskID("default", "order", fmt.Sprint(i)) },
		"by time": func(int) TaskID { return TaskID(uuid.Must(uuid.NewV7())) },
	} {
		sampled := 0
		for i := range all {
			if TraceOf(id(i), "", "").Random() >= bound {
				sampled++
			}
		}
		if sampled < 0.9*share*all || sampled > 1.1*share*all {
			t.Errorf("ids made %s: %d of %d, want about %v", name, sampled, all, share*all)
		}
	}
}
