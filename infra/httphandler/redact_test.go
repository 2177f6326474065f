package httphandler

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	_ "github.com/tasker-go/tasker/internal/sameseed"
)

// encodings are the ways in which an echo may write a text.
var encodings = map[string]func(string) string{
	"as it is":                  func(s string) string { return s },
	"upper case":                strings.ToUpper,
	"query":                     url.QueryEscape,
	"query in lower case":       func(s string) string { return strings.ToLower(url.QueryEscape(s)) },
	"path":                      url.PathEscape,
	"every byte escaped":        func(s string) string { return everyByte(s, "%%%02X") },
	"JSON":                      quotedJSON,
	"JSON twice":                func(s string) string { return quotedJSON(quotedJSON(s)) },
	"JSON with escaped slashes": func(s string) string { return strings.ReplaceAll(quotedJSON(s), "/", `\/`) },
	"JSON in ASCII":             everyUnit,
	"Go":                        func(s string) string { return quoted("%q", s) },
	"Go in ASCII":               func(s string) string { return quoted("%+q", s) },
	"Go of JSON":                func(s string) string { return quoted("%q", quotedJSON(s)) },
	"HTML":                      html.EscapeString,
	"HTML in numbers":           func(s string) string { return everyRune(s, "&#%d;") },
	"HTML in hexadecimal":       func(s string) string { return everyRune(s, "&#x%x;") },
}

func quoted(verb, s string) string { q := fmt.Sprintf(verb, s); return q[1 : len(q)-1] }

func quotedJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b[1 : len(b)-1])
}

func everyByte(s, verb string) string {
	out := ""
	for _, b := range []byte(s) {
		out += fmt.Sprintf(verb, b)
	}
	return out
}

func everyRune(s, verb string) string {
	out := ""
	for _, r := range s {
		out += fmt.Sprintf(verb, r)
	}
	return out
}

// everyUnit is JSON with an escape for each UTF-16 unit.
func everyUnit(s string) string {
	out := ""
	for _, unit := range utf16Of(s) {
		out += fmt.Sprintf(`\u%04x`, unit)
	}
	return out
}

func utf16Of(s string) []uint16 {
	var units []uint16
	for _, r := range s {
		if r >= 0x10000 {
			units = append(units, uint16(0xd800+(r-0x10000)>>10), uint16(0xdc00+(r-0x10000)&0x3ff))
		} else {
			units = append(units, uint16(r))
		}
	}
	return units
}

// secretText is eight characters or more that begin and end with none that is trimmed off.
var secretText = rapid.Custom(func(t *rapid.T) string {
	middle := rapid.StringOfN(rapid.RuneFrom([]rune("abcXYZ019 +/%\\&;\"'<>=-_.ü€🎫\n\t")), 6, 30, -1).Draw(t, "middle")
	return "s" + middle + "t"
})

func TestSecretIsFoundInEveryEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := secretText.Draw(t, "secret")
		name := rapid.SampledFrom(sortedKeys(encodings)).Draw(t, "encoding")
		before := rapid.StringOf(rapid.RuneFrom([]rune("uvw:{}[]().,!# "))).Draw(t, "before")
		after := rapid.StringOf(rapid.RuneFrom([]rune("uvw:{}[]().,!# "))).Draw(t, "after")
		var r redactor
		r.add(secret)
		encoded := encodings[name](secret)
		if got, want := r.text(before+encoded+after, 0), before+Redacted+after; got != want {
			t.Fatalf("%q in %s: %q became %q, want %q", secret, name, before+encoded+after, got, want)
		}
	})
}

func TestSecretIsFoundInsideOfBase64(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := secretText.Draw(t, "secret")
		before := rapid.StringN(0, 9, -1).Draw(t, "before")
		after := rapid.StringN(0, 9, -1).Draw(t, "after")
		encoding := rapid.SampledFrom([]*base64.Encoding{
			base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding,
		}).Draw(t, "encoding")
		var r redactor
		r.add(secret)
		text := encoding.EncodeToString([]byte(before + secret + after))
		clean := r.text(text, 0)
		// What is left are the characters of its neighbours, each of which may hold a few bits of its first or last byte.
		neighbours := (len(before)+len(after))*8/6 + 8
		if !strings.Contains(clean, Redacted) || len(clean)-len(Redacted) > neighbours {
			t.Fatalf("%q of %q with %q before and %q after became %q", text, secret, before, after, clean)
		}
	})
}

func TestSecretThatIsCutIsHiddenFromItsBeginning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := "abcd" + secretText.Draw(t, "secret")
		encode := encodings[rapid.SampledFrom(sortedKeys(encodings)).Draw(t, "encoding")]
		encoded := encode(secret)
		whole := len(encode(string([]rune(secret)[:minPartial])))
		cut := rapid.IntRange(whole, len(encoded)-1).Draw(t, "cut")
		var r redactor
		r.add(secret)
		text := strings.ToValidUTF8("uvw: "+encoded[:cut], "")
		if got := r.text(text, minPartial); got != "uvw: "+Redacted {
			t.Fatalf("%q, a part of %q, became %q", text, secret, got)
		}
	})
}

func TestTextWithoutSecretsIsLeftAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		var r redactor
		if got := r.text(text, minPartial); got != text {
			t.Fatalf("%q became %q without a secret", text, got)
		}
		r.add("not in any text of this test, for it is long")
		if got := r.text(text, 0); got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

func TestSecretsThatOverlapAreHiddenTogether(t *testing.T) {
	var r redactor
	r.add("abcdefgh12")
	r.add("gh12345678")
	r.add("efgh")
	for text, want := range map[string]string{
		"xabcdefgh12345678y":             "x[redacted]y",
		"abcdefgh12abcdefgh12":           "[redacted][redacted]",
		"abcdefgh1 abcdefgh12":           "abcdefgh1 [redacted]",
		"gh123456 gh12345678 abcdefgh.":  "gh123456 [redacted] abcdefgh.",
		"an end that may be one: abcdef": "an end that may be one: [redacted]",
		"an end that is short: abc":      "an end that is short: abc",
	} {
		if got := r.text(text, minPartial); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestPartsOfASecretThatTravelAloneAreHidden(t *testing.T) {
	for secret, texts := range map[string][]string{
		"Bearer 0123456789abc": {"token 0123456789abc", "bearer%200123456789ABC"},
		"https://u:pass%20word1@h.example/one/services2?k=value345": {"services2", "/one/services2", "value345", "pass word1", "k=value345"},
		"  0123456789abc\n": {"0123456789abc"},
	} {
		var r redactor
		r.add(secret)
		for _, text := range texts {
			if got := r.text(text, 0); strings.Contains(got, text[len(text)-6:]) {
				t.Errorf("%q: %q became %q", secret, text, got)
			}
		}
		if text := "https://h.example/one"; r.text(text, 0) != text {
			t.Errorf("%q: %q was changed", secret, text)
		}
	}
}

func FuzzRedactionLeavesNoSecret(f *testing.F) {
	f.Add(`a "secret" & more`, `x a \"secret\" \u0026 more y`)
	f.Add("0123456789", "%30123456789")
	f.Add(`\\\\\\\\\\`, `\\\\\\\\\\\\\\\\\\\\`)
	f.Add(`%%%%%%%%%%`, `%25%25%25%25%25%25%%%%%%%%`)
	f.Fuzz(func(t *testing.T, secret, text string) {
		secret = strings.TrimSpace(strings.ToValidUTF8(secret, ""))
		if len(secret) < minSecret || strings.Contains(Redacted, secret) || strings.Contains(secret, "[") || strings.Contains(secret, "]") {
			return // what stands for a secret is none
		}
		var r redactor
		r.add(secret)
		clean := r.text(text, minPartial)
		if strings.Contains(clean, secret) {
			t.Errorf("%q is in %q", secret, clean)
		}
		if value, err := json.Marshal(text); err == nil {
			var decoded string // the encoding may make a secret of what is none
			if err := json.Unmarshal(r.json(value), &decoded); err != nil || strings.Contains(decoded, secret) {
				t.Errorf("%q is in %q (%v)", secret, decoded, err)
			}
		}
	})
}

// A server decides what it sends: no text may take a time that is out of proportion.
func TestRedactionOfAnyTextTakesLittleTime(t *testing.T) {
	for _, secret := range []string{`\\\\\\\\\\\\`, "%%%%%%%%%%%%", "&&&&&&&&&&&&", "a plain secret", "++++++++++++ +"} {
		var r redactor
		r.add(secret)
		for _, piece := range []string{`\`, "%", "&", "+", `\u`, "&#x", "%25", secret[:len(secret)-1]} {
			text := strings.Repeat(piece, 1<<13/len(piece))
			began := time.Now()
			r.text(text, minPartial)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%q in 8 KiB of %q took %s", secret, piece, took)
			}
		}
	}
}

func BenchmarkRedaction(b *testing.B) {
	var r redactor
	r.add("Bearer sk_live_0123456789abcdef")
	body := strings.Repeat(`{"id":"sk_live","text":"nothing \"of\" interest &amp; more"},`, 1<<20/60)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if r.text(body, minSecret) != body {
			b.Fatal("it was changed")
		}
	}
}

func sortedKeys(m map[string]func(string) string) []string { return slices.Sorted(maps.Keys(m)) }
