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

func TestDefaultStandsInForAValueThatIsMissing(t *testing.T) {
	for template, want := range map[string]string{
		`${context.nothing:-false}`:                  `false`,
		`${context.nothing:-1.50}`:                   `1.50`,
		`${context.nothing:-null}`:                   `null`,
		`${context.nothing:-"false"}`:                `"false"`,
		`${context.nothing:-standard}`:               `"standard"`,
		`${context.nothing:-by air: 2.5 kg}`:         `"by air: 2.5 kg"`,
		`${context.nothing:-}`:                       `""`,
		`${context.nothing:--}`:                      `"-"`,
		`${context.nothing:-a:-b}`:                   `"a:-b"`,
		`${context.nothing:-{"a":{"b":"}"}}}`:        `{"a":{"b":"}"}}`,
		`${context.nothing:-["}",2]}`:                `["}",2]`,
		`${context.nothing:-"}"}`:                    `"}"`,
		`${context.a.x.c:-deep}`:                     `"deep"`,
		`${context.id.x:-no object}`:                 `"no object"`,
		`${context.items.2.sku:-none}`:               `"none"`,
		`${context.none:-1}`:                         `1`,
		`${results.skipped:-[]}`:                     `[]`,
		`${results.skipped.id:-0}`:                   `0`,
		`${context.id:-8}`:                           `7`,
		`${context.on:-false}`:                       `true`,
		`${results.charge-card.id:-none}`:            `"pay_1"`,
		`/${context.nothing:-x}/${context.id:-8}`:    `"/x/7"`,
		`{${context.nothing:-{}}}`:                   `"{{}}"`,
		`${context.nothing:-1}${context.nothing:-2}`: `"12"`,
		`$${context.nothing:-1}`:                     `"${context.nothing:-1}"`,
	} {
		if err := handlerconfig.Check(template); err != nil {
			t.Errorf("%q: %v", template, err)
		}
		got, err := scope.Expand(t.Context(), template)
		if err != nil || string(got) != want {
			t.Errorf("%q = %s, %v; want %s", template, got, err, want)
		}
	}
}

func TestDefaultHidesNoMistakeOfTheDefinition(t *testing.T) {
	for template, want := range map[string]string{
		`${results.nobody:-1}`:       "no such step",
		`${results.later.id:-1}`:     `step "later" is pending, not over`,
		`${results.unreadable:-1}`:   "connection lost",
		`a ${context.nothing:-null}`: "is null and cannot stand in a text",
	} {
		if got, err := scope.Expand(t.Context(), template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v; want an error with %q", template, got, err, want)
		}
	}
}

func TestFormOfADefaultIsChecked(t *testing.T) {
	for template, want := range map[string]string{
		`${context.a:-{"b":1}`:          "a } must follow the default",
		`${context.a:-{b:1}}`:           "must be JSON",
		`${context.a:-"x}`:              "must be JSON",
		`${context.a:-"x" y}`:           "a } must follow the default",
		`${context.a:-${context.b}}`:    "a default cannot hold another ${",
		`${context.a:-"${context.b}"}`:  "a default cannot hold another ${",
		`${context.a:-x`:                "without }",
		`${nobody:-1}`:                  "begins neither with context nor with results",
		`${:-1}`:                        "begins neither",
		`${results:-1}`:                 "needs the name of a step",
		`${context..a:-1}`:              "empty key",
		`${secret.TOKEN}`:               "secrets are for requests of the handler http only",
		`${secret.TOKEN:-nothing}`:      "secrets are for requests of the handler http only",
		`${context.x}${secret.TOKEN}${`: "secrets are for",
	} {
		if err := handlerconfig.Check(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want an error with %q", template, err, want)
		}
		if got, err := scope.Expand(t.Context(), template); err == nil {
			t.Errorf("%q became %s", template, got)
		}
	}
}

func TestSecretIsAskedForByItsName(t *testing.T) {
	lost := errors.New("the vault is closed")
	scope := handlerconfig.Scope{Context: json.RawMessage(`{}`), Secret: func(_ context.Context, name string) (string, error) {
		switch name {
		case "TOKEN":
			return `s3"cret`, nil
		case "LOST":
			return "", lost
		}
		return "", fmt.Errorf("secret %q: %w", name, handlerconfig.ErrNoValue)
	}}
	for template, want := range map[string]string{
		`${secret.TOKEN}`:                 `"s3\"cret"`,
		`Bearer ${secret.TOKEN}`:          `"Bearer s3\"cret"`,
		`${secret.NONE:-null}`:            `null`,
		`${secret.NONE:-} and ${context}`: `" and {}"`,
	} {
		if err := handlerconfig.CheckSecret(template); err != nil {
			t.Errorf("%q: %v", template, err)
		}
		if got, err := scope.Expand(t.Context(), template); err != nil || string(got) != want {
			t.Errorf("%q = %s, %v; want %s", template, got, err, want)
		}
	}
	for template, want := range map[string]error{
		`${secret.NONE}`: handlerconfig.ErrNoValue, `${secret.LOST:-x}`: lost, `a ${secret.LOST}`: lost,
	} {
		if got, err := scope.Expand(t.Context(), template); !errors.Is(err, want) {
			t.Errorf("%q: %s, %v; want %v", template, got, err, want)
		}
	}
	for template, want := range map[string]string{
		`${secret}`:         "must be ${secret.NAME}",
		`${secret.}`:        "must be ${secret.NAME}",
		`${secret.A.B}`:     "must be ${secret.NAME}",
		`${secret.MY-NAME}`: "must be ${secret.NAME}",
		`${secret.1}`:       "must be ${secret.NAME}",
		`${env.HOME}`:       "the environment cannot be read; write ${secret.NAME}",
		`${nobody}`:         "begins neither with context, nor with results, nor with secret",
	} {
		if err := handlerconfig.CheckSecret(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want an error with %q", template, err, want)
		}
	}
	if err := handlerconfig.CheckAllSecret(json.RawMessage(`{"a":["${secret.TOKEN}"]}`)); err != nil {
		t.Error(err)
	}
	if err := handlerconfig.CheckAll(json.RawMessage(`{"a":["${secret.TOKEN}"]}`)); err == nil {
		t.Error("a secret deep inside was not found")
	}
}

func TestSecretsOfTheEnvironmentHaveAPrefix(t *testing.T) {
	t.Setenv("TASKER_SECRET_TOKEN", "value")
	t.Setenv("TASKER_SECRET_EMPTY", "")
	t.Setenv("OTHER", "nobody may read this")
	if value, err := handlerconfig.EnvSecret(t.Context(), "TOKEN"); err != nil || value != "value" {
		t.Errorf("TOKEN: %q, %v", value, err)
	}
	for _, name := range []string{"OTHER", "EMPTY", "TASKER_SECRET_TOKEN", "NONE"} {
		value, err := handlerconfig.EnvSecret(t.Context(), name)
		failure := &domain.Failure{}
		if !errors.Is(err, handlerconfig.ErrNoValue) || !errors.As(err, &failure) || failure.Kind != domain.KindPermanent ||
			failure.Code != "SECRET" || !strings.Contains(err.Error(), "set TASKER_SECRET_"+name) {
			t.Errorf("%s: %q, %v", name, value, err)
		}
	}
}

func TestSampleIsWhatATemplateCouldBecome(t *testing.T) {
	for template, want := range map[string]string{
		`https://${context.host}:${context.port:-8080}/x`: "https://1:8080/x",
		`${context.base:-https://a.example}/x`:            "https://a.example/x",
		`https://a.example/${context.x:-null}`:            "https://a.example/",
		`https://a.example/${secret.PATH}`:                "https://a.example/1",
		`plain`:                                           "plain",
		``:                                                "",
	} {
		if got, ok := handlerconfig.Sample(template); !ok || got != want {
			t.Errorf("%q: %q, %t; want %q", template, got, ok, want)
		}
	}
	for _, template := range []string{"${context.base}/x", "${secret.URL}", "${", "${nobody}"} {
		if got, ok := handlerconfig.Sample(template); ok {
			t.Errorf("%q: %q", template, got)
		}
	}
}
