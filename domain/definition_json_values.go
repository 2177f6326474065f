package domain

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"
)

// The readers of single values. Each reports what is not of its kind, and then gives the zero value.

func (r definitionReader) text(v *jsonNode, at, key string, out *string) {
	if v.kind != jsonString {
		r.read(at, key+" must be a string, not "+v.kind.String(), quote(v))
		return
	}
	*out = v.text
}

func (r definitionReader) texts(v *jsonNode, at, key string) []string {
	if v.kind != jsonArray {
		r.read(at, key+" must be a list of strings, not "+v.kind.String(), "write it like "+key+": [a, b]")
		return nil
	}
	out := make([]string, len(v.items))
	for i := range v.items {
		r.text(&v.items[i], IndexPath(at, i), "an item of "+key, &out[i])
	}
	return out
}

func (r definitionReader) oneOrMany(v *jsonNode, at, key string) []string {
	switch v.kind {
	case jsonString:
		return []string{v.text}
	case jsonArray:
		return r.texts(v, at, key)
	case jsonNull, jsonBool, jsonNumber, jsonObject:
	}
	r.read(at, key+" must be a string or a list of strings, not "+v.kind.String(), quote(v))
	return nil
}

func (r definitionReader) truth(v *jsonNode, at, key string, otherwise bool) bool {
	if v.kind != jsonBool {
		r.read(at, key+" must be true or false, not "+v.kind.String(), cmp.Or(truthHint(v), "write one of them without quotes"))
		return otherwise
	}
	return v.truth
}

func (r definitionReader) number(v *jsonNode, at, key string) float64 {
	if v.kind != jsonNumber {
		r.read(at, key+" must be a number, not "+v.kind.String(), unquote(v))
		return 0
	}
	f, err := strconv.ParseFloat(v.text, 64)
	if err != nil {
		r.read(at, key+" is too large: "+clip(v.text), "use a smaller one")
		return 0
	}
	return f
}

// Whether a duration may be 0. Where 0 would read as "left out" it may not.
const (
	mayBeZero = false
	aboveZero = true
)

func (r definitionReader) duration(v *jsonNode, at, key string, positive bool) time.Duration {
	d, message, hint := v.duration()
	switch {
	case message != "":
	case d < 0:
		message, hint = "must not be negative, got "+d.String(), "write it like "+(-d).String()
	case d == 0 && positive:
		message, hint = "must be more than 0", "leave it out for the default"
	default:
		return d
	}
	r.read(at, key+" "+message, hint)
	return 0
}

func (r definitionReader) durations(v *jsonNode, at string) []time.Duration {
	if v.kind != jsonArray {
		r.read(at, "list must be a list of durations, not "+v.kind.String(), "write it like list: [1s, 5s, 30s]")
		return nil
	}
	out := make([]time.Duration, len(v.items))
	for i := range v.items {
		out[i] = r.duration(&v.items[i], IndexPath(at, i), "an item of list", mayBeZero)
	}
	return out
}

// duration is a Go duration string or a number of seconds. message says what is wrong with it.
func (n *jsonNode) duration() (d time.Duration, message, hint string) {
	const example = "write it like 90s, 15m or 1h30m, or as a number of seconds"
	switch n.kind {
	case jsonString:
		d, err := time.ParseDuration(n.text)
		if err != nil {
			return 0, "is not a duration: " + strconv.Quote(clip(n.text)), example
		}
		return d, "", ""
	case jsonNumber:
		if whole, err := strconv.ParseInt(n.text, 10, 64); err == nil && whole <= maxSeconds && whole >= -maxSeconds {
			return time.Duration(whole) * time.Second, "", ""
		}
		f, err := strconv.ParseFloat(n.text, 64)
		ns := math.Round(f * float64(time.Second))
		switch {
		case err != nil || math.Abs(f) > float64(maxSeconds):
			return 0, "is too long: " + clip(n.text) + " seconds", "292 years are the longest"
		case f != 0 && ns == 0:
			return 0, "is shorter than a nanosecond: " + clip(n.text) + " seconds", "use more"
		}
		return time.Duration(ns), "", ""
	case jsonNull, jsonBool, jsonArray, jsonObject:
	}
	return 0, "must be a duration, not " + n.kind.String(), example
}

// maxSeconds is the longest duration that a number may give: about 292 years.
const maxSeconds = math.MaxInt64/int64(time.Second) - 1

// truthHint is the hint for a word that other languages have for true or false.
func truthHint(v *jsonNode) string {
	switch strings.ToLower(v.text) {
	case "yes", "on", "true", "y", "1":
		return "write true"
	case "no", "off", "false", "n", "0":
		return "write false"
	}
	return ""
}

// quote is the hint for a value that would be right as a string.
func quote(v *jsonNode) string {
	switch v.kind {
	case jsonNumber:
		return `write it in quotes: "` + clip(v.text) + `"`
	case jsonBool:
		return `write it in quotes: "` + strconv.FormatBool(v.truth) + `"`
	case jsonNull, jsonString, jsonArray, jsonObject:
	}
	return "write a string"
}

// unquote is the hint for a string that would be right as a number.
func unquote(v *jsonNode) string {
	if _, err := strconv.ParseFloat(v.text, 64); v.kind == jsonString && err == nil {
		return "write it without quotes: " + v.text
	}
	return "write a number"
}
