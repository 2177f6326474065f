package tasker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

func says(text string) tasker.StepHandler {
	return tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		return text, nil
	})
}

func TestTasksOfTwoVersionsRunTheirOwnHandlersInOneProcess(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		one := tasker.Define("greet").Step("hello", says("one"))
		e.MustRegister(one.MustBuild(),
			tasker.Define("greet").Version("1.10.0").Step("hello", says("two")).MustBuild(),
			// What a workflow is called may be said at the end; a builder that goes on changes nothing that was built.
			tasker.Define("greet").Step("hello", says("elsewhere")).Namespace("other").MustBuild(),
			one.Version("0.2.0").MustBuild())
		for version, want := range map[string]string{"0.1.0": "one", "0.2.0": "one", "1.10.0": "two", "": "two"} {
			id := e.MustSubmit("greet", nil, tasker.AtVersion(version))
			if got := string(e.MustWait(id).Value); got != `{"hello":"`+want+`"}` {
				t.Errorf("version %q says %s", version, got)
			}
		}
		id := e.MustSubmit("greet", nil, tasker.InNamespace("other"))
		if got := string(e.MustWait(id).Value); got != `{"hello":"elsewhere"}` {
			t.Errorf("the other namespace says %s", got)
		}
	})
}

func TestTheBuilderHasEveryFieldOfTheFile(t *testing.T) {
	built := tasker.Define("order").Namespace("shop").Version("1.2.0").Description("sells").Schema(`{"type":"object"}`).
		StopOnFailure().Deadline(time.Hour).Output("pay").Tags("a").
		CustomEvent("order.shipped", "gone").CustomEvents("order.lost").IdentityHash(0).Indexed("customer.id").Indexed("express").
		StepNamed("cart", "exec", tasker.HandlerConfig(map[string]string{"command": "true"})).
		StepNamed("pay", "Bank::Pay", tasker.After("cart"), tasker.Describe("takes money"), tasker.Retries(5),
			tasker.WithBackoff(tasker.Backoff{Strategy: domain.StrategyFixed}), tasker.MaxRetryAfter(time.Minute),
			tasker.Timeout(30*time.Second), tasker.HeartbeatTimeout(5*time.Second), tasker.Skippable(), tasker.Optional(),
			tasker.FinalErrors("declined"), tasker.DependentSystem("bank"), tasker.Emits("paid", "refused")).
		StepNamed("audit", "h", tasker.NoRetry()).
		MustBuild()
	read, err := domain.ParseDefinition([]byte(`{"name":"order","namespace":"shop","version":"1.2.0","description":"sells",
		"schema":{"type":"object"},"on_failure":"stop","deadline":"1h","output":"pay","tags":["a"],"identity":"hash",
		"custom_events":[{"name":"order.shipped","description":"gone"},"order.lost"],"index":["customer.id","express"],
		"steps":[{"name":"cart","command":"true"},
		{"name":"pay","handler":"Bank::Pay","depends_on":"cart","description":"takes money","retry_limit":5,"backoff":{"strategy":"fixed"},
		"max_retry_after":"1m","timeout":30,"heartbeat_timeout":5,"skippable":true,"optional":true,"final_errors":"declined",
		"dependent_system":"bank","custom_events":["paid","refused"]},
		{"name":"audit","handler":"h","retryable":false}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(read.Body()), string(built.Body())); diff != "" {
		t.Errorf("file and builder differ (-file +builder):\n%s", diff)
	}
}

func TestNamesOfInlineStepsNeverBecomeTooLong(t *testing.T) {
	long := strings.Repeat("x", domain.MaxNameLength)
	if _, err := tasker.Define(long).Namespace(long).Version("999999999.999999999.999999999").Step(long, says("x")).Build(); err != nil {
		t.Error(err)
	}
}
