package handlerconfig_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

type sequence []domain.StepView

func (s sequence) Steps(context.Context) ([]domain.StepView, error) { return s, nil }

func (s sequence) Find(_ context.Context, name string) (domain.StepView, error) {
	if name == "unreadable" {
		return domain.StepView{}, errors.New("connection lost")
	}
	for _, step := range s {
		if step.Name == name {
			return step, nil
		}
	}
	return domain.StepView{}, fmt.Errorf("step %q: %w", name, domain.ErrUnknownStep)
}

var scope = handlerconfig.Scope{
	Context: json.RawMessage(`{"id": 7, "big": 12345678901234567890.10, "name": "A & <B>", "none": null, "on": true,
		"items": [{"sku": "x1"}, {"sku": "x2"}], "a": {"b": {"c": 1}}}`),
	Steps: sequence{
		{Name: "charge-card", State: domain.Complete, Result: json.RawMessage(`{"id":"pay_1"}`)},
		{Name: "skipped", State: domain.Complete, Skipped: true},
		{Name: "later", State: domain.Pending},
	},
}

func TestTemplateBecomesItsValue(t *testing.T) {
	for template, want := range map[string]string{
		``:                                        `""`,
		`plain`:                                   `"plain"`,
		`$5 and $`:                                `"$5 and $"`,
		`$${context.id}`:                          `"${context.id}"`,
		`a$${b}${context.id}`:                     `"a${b}7"`,
		`${context.id}`:                           `7`,
		`${context.big}`:                          `12345678901234567890.10`,
		`${context.on}`:                           `true`,
		`${context.none}`:                         `null`,
		`${context.items}`:                        `[{"sku": "x1"}, {"sku": "x2"}]`,
		`${context.items.1.sku}`:                  `"x2"`,
		`${context.a.b.c}`:                        `1`,
		`${results.charge-card}`:                  `{"id":"pay_1"}`,
		`${results.charge-card.id}`:               `"pay_1"`,
		`${results.skipped}`:                      `null`,
		`/${context.id}/${context.name}`:          `"/7/A & <B>"`,
		`${context.id}${context.id}`:              `"77"`,
		`${context.big} ${context.on}`:            `"12345678901234567890.10 true"`,
		`items: ${context.items}`:                 `"items: [{\"sku\":\"x1\"},{\"sku\":\"x2\"}]"`,
		`${results.charge-card.id} for {id} done`: `"pay_1 for {id} done"`,
	} {
		got, err := scope.Expand(t.Context(), template)
		if err != nil || string(got) != want {
			t.Errorf("%q = %s, %v; want %s", template, got, err, want)
		}
	}
}

func TestMissingValueIsAPermanentFailure(t *testing.T) {
	for template, want := range map[string]string{
		`${context.nothing}`:        `context has no "nothing"`,
		`${context.a.x.c}`:          `context.a has no "x"`,
		`${context.id.x}`:           `context.id has no "x"`,
		`${context.none.x}`:         `context.none has no "x"`,
		`${context.items.2}`:        `context.items has no "2"`,
		`${context.items.-1}`:       `has no "-1"`,
		`${context.items.sku}`:      `has no "sku"`,
		`${results.nobody}`:         `no such step`,
		`${results.skipped.id}`:     `results.skipped has no "id"`,
		`${results.later}`:          `step "later" is pending, not over`,
		`number ${context.none}`:    `${context.none} is null`,
		`x ${results.skipped} here`: `${results.skipped} is null`,
	} {
		_, err := scope.Expand(t.Context(), template)
		failure := (*domain.Failure)(nil)
		if !errors.Is(err, handlerconfig.ErrNoValue) || !errors.As(err, &failure) || failure.Kind != domain.KindPermanent ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want a permanent failure with %q", template, err, want)
		}
	}
}

func TestUnreadableResultIsRetried(t *testing.T) {
	_, err := scope.Expand(t.Context(), "${results.unreadable.id}")
	if failure := (*domain.Failure)(nil); err == nil || errors.As(err, &failure) {
		t.Errorf("got %v, want an error that is not a failure for good", err)
	}
}

func TestFormOfATemplateIsCheckedWithoutValues(t *testing.T) {
	for template, want := range map[string]string{
		`${context.id`:   "without }",
		`${HOME}`:        "begins neither",
		`${}`:            "begins neither",
		`${results}`:     "needs the name of a step",
		`${context..id}`: "empty key",
		`${context.}`:    "empty key",
	} {
		if err := handlerconfig.Check(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want an error with %q", template, err, want)
		}
		if _, err := scope.Expand(t.Context(), template); err == nil {
			t.Errorf("%q was expanded", template)
		}
	}
}

func TestEveryStringInsideOfAValueIsExpanded(t *testing.T) {
	value := json.RawMessage(`{"id":"${context.id}","price":1.50,"list":["x","${context.on}",{"n":"no ${context.id}"}],"${key}":null}`)
	got, err := scope.ExpandAll(t.Context(), value)
	want := `{"${key}":null,"id":7,"list":["x",true,{"n":"no 7"}],"price":1.50}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if err := handlerconfig.CheckAll(value); err != nil {
		t.Error(err)
	}
	if err := handlerconfig.CheckAll(json.RawMessage(`[{"a":"${no}"}]`)); err == nil {
		t.Error("a mistake inside of a list was not found")
	}
	if got, err := scope.ExpandAll(t.Context(), nil); got != nil || err != nil {
		t.Errorf("nil became %s, %v", got, err)
	}
}

func TestTextOfAPlaceThatIsNullIsNotThere(t *testing.T) {
	if text, there, err := scope.Text(t.Context(), "${context.none}"); text != "" || there || err != nil {
		t.Errorf("got %q, %t, %v", text, there, err)
	}
	if text, there, err := scope.Text(t.Context(), "${context.name}!"); text != "A & <B>!" || !there || err != nil {
		t.Errorf("got %q, %t, %v", text, there, err)
	}
}

func FuzzTemplatesThatPassTheCheckFailOnlyForTheirValues(f *testing.F) {
	for _, seed := range []string{"", "${context.id}", "a$${b}", "${results.x}", "${", "$${", "${context.a.b}x${", "${context.x:-{\"a\":1}}", "${results.skipped:-x}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		form := handlerconfig.Check(template)
		_, err := scope.Expand(t.Context(), template)
		if form != nil && err == nil {
			t.Errorf("%q: Check says %v, but it was expanded", template, form)
		}
		if form == nil && err != nil && !errors.Is(err, handlerconfig.ErrNoValue) && !strings.Contains(err.Error(), "connection lost") {
			t.Errorf("%q passed Check: %v", template, err)
		}
	})
}
