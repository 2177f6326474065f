package tasker

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/subscribers"
)

var rewriteTexts = flag.Bool("rewrite.texts", false, "write testdata/errors.golden again")

// What an operator reads at night: the crash tests bring each of these about on a real server; here stands the exact text.
func TestTextsOfErrorsSayWhatWhyAndWhatToDo(t *testing.T) {
	id, err := ParseTaskID("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, e := range []struct {
		when string
		err  error
	}{
		{"a stream was deleted under the engine", &domain.StreamMissingError{Stream: "TASKER_LOG_1_01", DataID: "01890a5d"}},
		{"a commit cannot be decoded", &subscribers.UnreadableError{Partition: 1, Sequence: 42, Err: domain.ErrNotACommit}},
		{"a commit of a newer version", &subscribers.UnreadableError{Partition: 1, Sequence: 42, Err: &domain.CommitVersionError{Version: 2, Newest: 1}}},
		{"no snapshot reaches the log", &subscribers.GapError{Partition: 0, First: 7, Snapshots: []string{"at 5: torn"}}},
		{"NATS is gone", ErrUnavailable},
		{"NATS is gone, with a submission under way", fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrUnavailable)},
		{"no engine runs", ErrNoOwner},
		{"no log is there", natslog.ErrNoLog},
		{"the store is full", ErrStoreFull},
		{"too much at once", ErrOverloaded},
		{"too many keys", ErrTooManyKeys},
		{"a key with another input", ErrIdempotencyMismatch},
		{"an event of a newer version", &subscribers.FrozenError{Task: id, Event: "step.teleported", Version: 1}},
		{"the task failed", &TaskFailedError{ID: id, State: domain.Error, Reason: domain.FailStepsInError, Steps: []string{"pay"}, Errors: map[string]string{"pay": "card declined"}}},
		{"a definition of another namespace", &DefinitionNotFoundError{Namespace: "default", Name: "shop.order", Known: []string{"billing.order@1.0.0", "shop.order@1.0.0"}}},
		{"no such definition", &DefinitionNotFoundError{Namespace: "default", Name: "ordr", Known: []string{"default.order@1.0.0"}}},
	} {
		fmt.Fprintf(&text, "%s\n    %s\n", e.when, e.err)
	}
	refusals(t, id, func(when string, err error) { fmt.Fprintf(&text, "%s\n    %v\n", when, err) })
	const golden = "testdata/errors.golden"
	if *rewriteTexts {
		if err := errors.Join(os.MkdirAll("testdata", 0o750), os.WriteFile(golden, []byte(text.String()), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the texts changed; read them, then go test . -rewrite.texts\n--- want\n%s--- got\n%s", want, &text)
	}
}
