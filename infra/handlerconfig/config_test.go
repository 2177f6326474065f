package handlerconfig_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/infra/handlerconfig"
)

type example struct {
	Name  string                 `json:"name"`
	Limit int                    `json:"limit"`
	List  []string               `json:"list,omitempty"`
	Wait  handlerconfig.Duration `json:"wait"`

	parsed bool // of the handler's own, and no key
}

func TestConfigIsReadIntoItsStruct(t *testing.T) {
	got := example{Limit: 5}
	if err := handlerconfig.Decode(json.RawMessage(`{"name":"x","list":["a"],"wait":1.5}`), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "x" || got.Limit != 5 || len(got.List) != 1 || time.Duration(got.Wait) != 1500*time.Millisecond {
		t.Errorf("got %+v", got)
	}
	for _, nothing := range []string{"", "null", "{}"} {
		if err := handlerconfig.Decode(json.RawMessage(nothing), &got); err != nil || got.Name != "x" || got.parsed {
			t.Errorf("%q: %v, %+v", nothing, err, got)
		}
	}
}

func TestMistakesOfAConfigAreNamed(t *testing.T) {
	for config, want := range map[string]string{
		`{"Name":"x","zeal":1,"nmae":2}`: `unknown keys "Name", "nmae", "zeal"; known are name, limit, list, wait`,
		`{"":1,"parsed":true}`:           `unknown keys "", "parsed"; known are name, limit, list, wait`,
		`{"name":1}`:                     `handler_config.name must be a string, not number`,
		`{"limit":"1"}`:                  `handler_config.limit must be a whole number, not string`,
		`{"limit":1.5}`:                  `handler_config.limit must be a whole number`,
		`{"list":"a"}`:                   `handler_config.list must be a list, not string`,
		`{"wait":"soon"}`:                `"soon" is not a duration`,
		`{"wait":true}`:                  `true is not a duration`,
		`{"wait":1e300}`:                 `1e300 is not a duration`,
		`[]`:                             `must be an object`,
		`{`:                              `must be an object`,
	} {
		var out example
		if err := handlerconfig.Decode(json.RawMessage(config), &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}

func TestObjectInsideOfAConfigIsNamedByItsPath(t *testing.T) {
	var out struct {
		On bool `json:"on"`
	}
	for config, want := range map[string]string{
		`{"of":1}`:   `handler_config.tls has unknown keys "of"; known are on`,
		`{"on":"y"}`: `handler_config.tls.on must be true or false, not string`,
		`7`:          `handler_config.tls must be an object`,
	} {
		if err := handlerconfig.DecodeAt("handler_config.tls", json.RawMessage(config), &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
	if err := handlerconfig.DecodeAt("handler_config.tls", json.RawMessage(`{"on":true}`), &out); err != nil || !out.On {
		t.Errorf("%v, %+v", err, out)
	}
}
