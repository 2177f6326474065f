package tasker_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/taskertest"
)

// What no definition could take is an error of its own type, so that whoever stands between can tell it from trouble.
func TestASubmissionThatNobodyCouldTakeIsTyped(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("x").Step("a", taskertest.Returns(1)).MustBuild())
		client, err := tasker.NewClient(t.Context(), tasker.Config{Store: e.Store})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for what, s := range map[string]tasker.Submission{
			"no name":           {Context: []byte(`{}`)},
			"id and key":        {Name: "x", ID: tasker.TaskID{1}, Key: "k", Context: []byte(`{}`)},
			"long tags":         {Name: "x", Tags: []string{strings.Repeat("t", 17<<10)}, Context: []byte(`{}`)},
			"long bypass_steps": {Name: "x", BypassSteps: []string{strings.Repeat("t", 257<<10)}, Context: []byte(`{}`)},
			"no traceparent":    {Name: "x", Traceparent: "00-nothing", Context: []byte(`{}`)},
		} {
			_, here := e.SubmitRequest(t.Context(), s)
			_, there := client.SubmitRequest(t.Context(), s)
			for _, err := range []error{here, there} {
				if typed := (*tasker.InvalidSubmissionError)(nil); !errors.As(err, &typed) || typed.Error() != err.Error() {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		_, err = e.SubmitRequest(t.Context(), tasker.Submission{Name: "x", Context: []byte(`[`)})
		if typed := (*tasker.ViolationsError)(nil); !errors.As(err, &typed) {
			t.Errorf("no JSON: %v", err)
		}
	})
}
