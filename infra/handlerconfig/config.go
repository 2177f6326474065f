// Package handlerconfig reads the handler_config of the built-in handlers: strictly, and with ${...} templates that put
// values of the task into it.
package handlerconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Decode reads config into the struct that out points to, by its json tags. A key that the struct has not, also one in
// another case, is an error: a setting that nobody obeys is a lie. All of them are named at once. No config, and null,
// leave out as it is.
func Decode(config json.RawMessage, out any) error { return DecodeAt("handler_config", config, out) }

// DecodeAt is Decode for an object inside of the handler_config; errors name it by its path.
func DecodeAt(path string, config json.RawMessage, out any) error {
	if len(config) == 0 {
		return nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(config, &keys); err != nil {
		return fmt.Errorf("%s must be an object: %w", path, err)
	}
	known := keysOf(out)
	var unknown []string
	for key := range keys {
		if !slices.Contains(known, key) {
			unknown = append(unknown, fmt.Sprintf("%q", key))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("%s has unknown keys %s; known are %s",
			path, strings.Join(unknown, ", "), strings.Join(known, ", "))
	}
	err := json.Unmarshal(config, out)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("%s.%s must be %s, not %s", path, wrong.Field, kindOf(wrong.Type), wrong.Value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func keysOf(out any) []string {
	t := reflect.TypeOf(out).Elem()
	var keys []string
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			keys = append(keys, key)
		}
	}
	return keys
}

func kindOf(t reflect.Type) string {
	//nolint:exhaustive // the kinds that configurations are made of
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Bool:
		return "true or false"
	}
	return "a " + t.String()
}

// Failed is the failure of an execution whose handler_config is wrong: it is final.
func Failed(err error) error {
	return &domain.Failure{Err: err, Kind: domain.KindPermanent, Code: "CONFIG"}
}

// Duration is a Go duration string ("1m30s") or a number of seconds, at most 100 years.
type Duration time.Duration

const maxDuration = 100 * 365 * 24 * time.Hour

// UnmarshalJSON reads either form. null leaves the value as it is.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var value any
	if err := json.Unmarshal(b, &value); err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
		return nil
	case float64:
		if math.Abs(value) <= maxDuration.Seconds() {
			*d = Duration(value * float64(time.Second))
			return nil
		}
	case string:
		if parsed, err := time.ParseDuration(value); err == nil && parsed.Abs() <= maxDuration {
			*d = Duration(parsed)
			return nil
		}
	}
	return fmt.Errorf("%s is not a duration: write it like 90s or 1m30s, or as a number of seconds", b)
}
