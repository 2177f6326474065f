package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/taskertest"
)

var ada = Registration{Email: "ada@example.com", Newsletter: true}

// start registers the workflow with services of which billing refuses so many calls.
func start(e *taskertest.Engine, billingFails int) *services {
	s := newServices(billingFails)
	e.MustRegister(s.workflow())
	return s
}

// executions are those of one step, in their order; of all steps when step is "".
func executions(t *testing.T, e *taskertest.Engine, id tasker.TaskID, step string) []projections.Execution {
	t.Helper()
	history, err := e.History(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	var list []projections.Execution
	for _, x := range history.Executions {
		if step == "" || x.Step == step {
			list = append(list, x)
		}
	}
	return list
}

func TestREADMEShowsWhatIsPrinted(t *testing.T) {
	for _, billingFails := range []int{1, 3} {
		taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
			start(e, billingFails)
			var out bytes.Buffer
			if err := story(context.Background(), &out, e.Engine, "ada@example.com"); err != nil {
				t.Fatal(err)
			}
			readme.Shows(t, out.String())
		})
	}
}

func TestB29BillingAndPreferencesOverlapAndTheUserIsVisibleBehind(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		start(e, 1)
		id := e.When("user_registration", ada).ThenComplete(Status{UserID: 1, Status: "active"}).ID()

		var order []string
		for _, x := range executions(t, e, id, "") {
			order = append(order, x.Step)
		}
		want := []string{
			"create_user_account", "setup_billing_profile", "initialize_preferences", "setup_billing_profile",
			"send_welcome_sequence", "update_user_status",
		}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("executions (-want +got):\n%s", diff)
		}
		billing, preferences := executions(t, e, id, "setup_billing_profile"), executions(t, e, id, "initialize_preferences")[0]
		if billing[0].StartedAt >= preferences.EndedAt || preferences.StartedAt >= billing[0].EndedAt {
			t.Errorf("billing %+v and preferences %+v do not overlap", billing[0], preferences)
		}
		if wait := billing[1].StartedAt.Sub(billing[0].EndedAt); wait != 300*time.Millisecond {
			t.Errorf("billing was tried again after %s, want 300ms", wait)
		}
		if first := executions(t, e, id, "send_welcome_sequence")[0].StartedAt; first < billing[1].EndedAt || first < preferences.EndedAt {
			t.Error("the welcome did not wait for both")
		}

		results := map[string]string{}
		for _, step := range e.MustTask(id).Steps {
			results[step.Name] = string(step.Result)
		}
		if diff := cmp.Diff(map[string]string{
			"create_user_account":    `{"user_id":1,"email":"ada@example.com"}`,
			"setup_billing_profile":  `{"user_id":1,"plan":"free"}`,
			"initialize_preferences": `{"user_id":1,"newsletter":true}`,
			"send_welcome_sequence":  `{"user_id":1,"mails":["welcome to the free plan","newsletter"]}`,
			"update_user_status":     `{"user_id":1,"status":"active"}`,
		}, results); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
	})
}

func TestBillingThatFailsForGoodStopsWhatIsBehindUntilAnOperatorRetries(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		s := start(e, 3)
		id := e.When("user_registration", ada).ThenFail("setup_billing_profile").ID()
		if n := len(executions(t, e, id, "setup_billing_profile")); n != 3 {
			t.Errorf("billing was tried %d times, want 3", n)
		}
		if n := len(executions(t, e, id, "send_welcome_sequence")); n != 0 || len(s.mails) != 0 {
			t.Errorf("the welcome ran %d times, and %d mails were sent", n, len(s.mails))
		}
		if _, err := e.Retry(context.Background(), id, tasker.By{Actor: "grace"}); err != nil {
			t.Fatal(err)
		}
		e.MustWait(id)
		for step, want := range map[string]int{
			"create_user_account": 1, "setup_billing_profile": 4, "initialize_preferences": 1, "send_welcome_sequence": 1,
		} {
			if n := len(executions(t, e, id, step)); n != want {
				t.Errorf("%s ran %d times, want %d", step, n, want)
			}
		}
		if s.status[1] != "active" {
			t.Errorf("status %q", s.status[1])
		}
	})
}

// A process that dies at any moment leaves no second user and no second mail behind.
func TestCrashRegistersNobodyTwice(t *testing.T) {
	for after := 25 * time.Millisecond; after < 1100*time.Millisecond; after += 100 * time.Millisecond {
		taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
			s := start(e, 1)
			id := e.MustSubmit("user_registration", ada)
			e.Advance(after)
			e.Crash()
			e.MustWait(id)
			if len(s.users) != 1 || len(s.mails) != 2 || s.status[1] != "active" {
				t.Errorf("crash after %s: users %v, mails %v, status %v", after, s.users, s.mails, s.status)
			}
		})
	}
}

func TestDefaultsAreStoredAndBadAddressesRefused(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		start(e, 0)
		id := e.MustSubmit("user_registration", map[string]string{"email": "ada@example.com"})
		e.MustWait(id)
		var stored Registration
		if err := json.Unmarshal(e.MustTask(id).Context, &stored); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Registration{Email: "ada@example.com", Plan: "free", Newsletter: true}, stored); diff != "" {
			t.Errorf("context (-want +got):\n%s", diff)
		}
		_, err := e.Submit(context.Background(), "user_registration", Registration{Email: "nobody"})
		if err == nil || !strings.Contains(err.Error(), "/email") {
			t.Errorf("a bad address gave %v", err)
		}
	})
}
