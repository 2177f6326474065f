package domain

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// IdentityFields are what identity strategy hash makes a key of (SEMANTICS 8). A version is not among them: the task
// that a submission asks for is the same one, whatever release of its definition would run.
type IdentityFields struct {
	Namespace    string // of the definition; give "default", not ""
	Name         string
	Initiator    string
	SourceSystem string
	Context      json.RawMessage // any JSON; nothing counts as {}
	Reason       string
	BypassSteps  []string // in any order; a name counts once
}

// identityFormat is hashed first. Another way to make keys needs another one, so that old and new keys never meet.
const identityFormat = "tasker identity 1"

// IdentityKey derives the idempotency key of a submission at that instant: "identity-" and 64 hexadecimal digits. It is
// the same for equal fields within the same window; windows begin at whole multiples of their length since the Unix
// epoch, so that a window of one minute is a minute of the clock. Window must be more than 0.
//
// Contexts are equal when they hold the same values: neither the order of keys, nor white space, nor the way in which
// a number is written (1, 1.0, 10e-1) makes a difference, and the numbers are compared exactly. Of a key that an object
// has twice the last one counts. A context that is not JSON gives an error.
func IdentityKey(f IdentityFields, window time.Duration, at Instant) (string, error) {
	if window <= 0 {
		return "", fmt.Errorf("identity window: must be more than 0, got %s", window)
	}
	bypass := slices.Clone(f.BypassSteps)
	slices.Sort(bypass)
	b := appendTexts(nil, []string{identityFormat, f.Namespace, f.Name, f.Initiator, f.SourceSystem, f.Reason})
	b = appendTexts(b, slices.Compact(bypass))
	b = append(strconv.AppendInt(b, windowNumber(window, at), 10), ' ')
	b = append(strconv.AppendInt(b, int64(window), 10), ' ')
	b, err := appendNormalJSON(b, f.Context)
	if err != nil {
		return "", fmt.Errorf("identity of %s.%s: context: %w", f.Namespace, f.Name, err)
	}
	sum := sha256.Sum256(b)
	return "identity-" + hex.EncodeToString(sum[:]), nil
}

// appendTexts appends a list of texts so that no other list reads the same.
func appendTexts(b []byte, list []string) []byte {
	b = append(strconv.AppendInt(b, int64(len(list)), 10), ' ')
	for _, text := range list {
		b = append(strconv.AppendInt(b, int64(len(text)), 10), ' ')
		b = append(append(b, text...), ' ')
	}
	return b
}

// windowNumber is how many whole windows lie between the epoch and at. A window may be shorter than a microsecond, and
// the years in nanoseconds do not fit into 64 bits.
func windowNumber(window time.Duration, at Instant) int64 {
	high, low := bits.Mul64(uint64(max(at, 0)), uint64(time.Microsecond)) // #nosec G115 -- not negative
	length := uint64(window)                                              // #nosec G115 -- more than 0
	number, _ := bits.Div64(high%length, low, length)
	return int64(number) // #nosec G115 -- overflows only for windows of nanoseconds in the far future, and stays a number then
}

// appendNormalJSON appends the one way to write a JSON value: compact, with sorted keys, each once, and with numbers as
// normalNumber has them.
func appendNormalJSON(b []byte, text json.RawMessage) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return append(b, "{}"...), nil
	}
	switch {
	case !utf8.Valid(text):
		return nil, errors.New("not valid JSON: the text is not UTF-8")
	case !json.Valid(text):
		return nil, syntaxError(text, json.Unmarshal(text, &json.RawMessage{}))
	}
	n := jsonNormalizer{dec: json.NewDecoder(bytes.NewReader(text))}
	n.dec.UseNumber()
	return n.value(b), nil
}

// jsonNormalizer rewrites a text that is known to be valid.
type jsonNormalizer struct{ dec *json.Decoder }

func (n jsonNormalizer) token() json.Token {
	t, err := n.dec.Token()
	if err != nil {
		return nil // not reached: the text is valid
	}
	return t
}

func (n jsonNormalizer) value(b []byte) []byte {
	switch t := n.token().(type) {
	case bool:
		return strconv.AppendBool(b, t)
	case json.Number:
		return append(b, normalNumber(t.String())...)
	case string:
		return appendJSONText(b, t)
	case json.Delim:
		if t == '{' {
			return n.object(b)
		}
		return n.array(b)
	}
	return append(b, "null"...)
}

func (n jsonNormalizer) array(b []byte) []byte {
	b = append(b, '[')
	for i := 0; n.dec.More(); i++ {
		if i > 0 {
			b = append(b, ',')
		}
		b = n.value(b)
	}
	n.token()
	return append(b, ']')
}

// object writes the fields as they come, behind b, and then brings them into order.
func (n jsonNormalizer) object(b []byte) []byte {
	type field struct {
		key      string
		from, to int
	}
	var fields []field
	start := len(b)
	for n.dec.More() {
		key, _ := n.token().(string)
		from := len(b)
		b = n.value(append(appendJSONText(b, key), ':'))
		fields = append(fields, field{key, from, len(b)})
	}
	n.token()
	slices.SortStableFunc(fields, func(x, y field) int { return cmp.Compare(x.key, y.key) })
	written := bytes.Clone(b[start:])
	b = append(b[:start], '{')
	for i, f := range fields {
		if i+1 < len(fields) && fields[i+1].key == f.key {
			continue // the last one counts
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(b, written[f.from-start:f.to-start]...)
	}
	return append(b, '}')
}

// normalNumber is the one way to write a JSON number: its digits without zeros at either end, and a power of ten when
// that is not 0: 15, 15e-1, -1e3, 0.
func normalNumber(text string) string {
	digits, power, _ := strings.Cut(strings.ToLower(text), "e")
	digits, negative := strings.CutPrefix(digits, "-")
	exponent := 0
	if power != "" {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || exponent > 1<<40 || exponent < -1<<40 {
			return text // beyond every number that anybody computes with
		}
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent -= len(fraction)
	if digits == "" {
		return "0"
	}
	short := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(short)
	if negative {
		short = "-" + short
	}
	if exponent != 0 {
		short += "e" + strconv.Itoa(exponent)
	}
	return short
}
