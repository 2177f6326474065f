package local_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/examples/internal/local"
)

// line is the timeline of the one step; how long a disk takes is not ours to say.
var line = regexp.MustCompile(`^  at +[0-9]+\.[0-9] s  hello  completed in [0-9]+\.[0-9] s\n$`)

func workflow() *tasker.Workflow {
	return tasker.Define("greet").
		Step("hello", tasker.Handle(func(context.Context, struct{}) (string, error) { return "hello", nil })).
		Output("hello").
		MustBuild()
}

func TestWhatIsStoredIsThereInTheNextRun(t *testing.T) {
	o := local.Options{Dir: t.TempDir(), Register: func(e *tasker.Engine) error { return e.Register(workflow()) }}
	for _, created := range []bool{true, false} {
		err := local.Run(t.Context(), o, func(ctx context.Context, e *tasker.Engine) error {
			receipt, err := e.Submit(ctx, "greet", nil, tasker.Key("one"))
			if err != nil || receipt.Created != created {
				t.Errorf("created %t, %v; want %t", receipt.Created, err, created)
			}
			if _, err := e.Wait(ctx, receipt.ID); err != nil {
				return err
			}
			var out bytes.Buffer
			err = local.Timeline(ctx, &out, e, receipt.ID)
			if !line.MatchString(out.String()) {
				t.Errorf("printed %q, want %s", out.String(), line)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrorsOfTheExampleAreReturned(t *testing.T) {
	wrong := errors.New("wrong")
	never := func(context.Context, *tasker.Engine) error { t.Error("the story began"); return nil }
	if err := local.Run(t.Context(), local.Options{Register: func(*tasker.Engine) error { return wrong }}, never); !errors.Is(err, wrong) {
		t.Errorf("Register: %v", err)
	}
	nothing := func(*tasker.Engine) error { return nil }
	if err := local.Run(t.Context(), local.Options{Register: nothing}, func(context.Context, *tasker.Engine) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("story: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := local.Run(ctx, local.Options{Register: nothing}, never); err == nil || strings.Contains(err.Error(), "did not start") {
		t.Errorf("stopped before it began: %v", err)
	}
}
