package webhook

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The keys of the tests.
var (
	secretA = SecretPrefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	secretB = SecretPrefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
)

// Computed with openssl dgst -sha256 -mac HMAC.
func TestASignatureIsWhatOthersCompute(t *testing.T) {
	h := http.Header{}
	at := time.Unix(1614265330, 0)
	body := []byte(`{"test": 2432232314}`)
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	if err := Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body, secret); err != nil {
		t.Fatal(err)
	}
	if got, want := h.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if h.Get("webhook-id") != "msg_p5jXN8AQM9LWM0D4loKWxJek" || h.Get("webhook-timestamp") != "1614265330" {
		t.Errorf("headers %v", h)
	}
	if id, err := Verify(h, body, at, secret); err != nil || id != "msg_p5jXN8AQM9LWM0D4loKWxJek" {
		t.Errorf("Verify: %q, %v", id, err)
	}
}

func TestVerifyRefusesWhatIsNotSignedNow(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	body := []byte(`{"a":1}`)
	signed := func(secrets ...string) http.Header {
		h := http.Header{}
		if err := Sign(h, "id-1", at, body, secrets...); err != nil {
			t.Fatal(err)
		}
		return h
	}
	with := func(h http.Header, name, value string) http.Header {
		h.Set(name, value)
		return h
	}
	good := signed(secretA)
	for name, c := range map[string]struct {
		header  http.Header
		body    string
		after   time.Duration
		secrets []string
		want    error
	}{
		"as it is":               {good, string(body), 0, []string{secretA}, nil},
		"just in time":           {good, string(body), Tolerance, []string{secretA}, nil},
		"a clock that is behind": {good, string(body), -Tolerance, []string{secretA}, nil},
		"signed with both":       {signed(secretB, secretA), string(body), 0, []string{secretA}, nil},
		"either secret is known": {good, string(body), 0, []string{secretB, secretA}, nil},
		"of a later version":     {with(signed(secretA), HeaderSignature, "v2,x "+good.Get(HeaderSignature)), string(body), 0, []string{secretA}, nil},
		"without padding":        {good, string(body), 0, []string{strings.TrimRight(secretA, "=")}, nil},
		"another secret":         {good, string(body), 0, []string{secretB}, ErrSignature},
		"another body":           {good, `{"a":2}`, 0, []string{secretA}, ErrSignature},
		"no body":                {good, "", 0, []string{secretA}, ErrSignature},
		"another id":             {with(signed(secretA), HeaderID, "id-2"), string(body), 0, []string{secretA}, ErrSignature},
		"another time":           {with(signed(secretA), HeaderTimestamp, "1700000001"), string(body), 0, []string{secretA}, ErrSignature},
		"a time that is none":    {with(signed(secretA), HeaderTimestamp, "now"), string(body), 0, []string{secretA}, ErrSignature},
		"no signature":           {with(signed(secretA), HeaderSignature, ""), string(body), 0, []string{secretA}, ErrSignature},
		"the bare base64":        {with(signed(secretA), HeaderSignature, strings.TrimPrefix(good.Get(HeaderSignature), "v1,")), string(body), 0, []string{secretA}, ErrSignature},
		"no headers":             {http.Header{}, string(body), 0, []string{secretA}, ErrSignature},
		"too late":               {good, string(body), Tolerance + time.Second, []string{secretA}, ErrTimestamp},
		"too early":              {good, string(body), -Tolerance - time.Second, []string{secretA}, ErrTimestamp},
		"no secret":              {good, string(body), 0, nil, ErrSecret},
		"an empty secret":        {good, string(body), 0, []string{""}, ErrSecret},
		"a short secret":         {good, string(body), 0, []string{"whsec_c2hvcnQ="}, ErrSecret},
		"no prefix":              {good, string(body), 0, []string{strings.TrimPrefix(secretA, SecretPrefix)}, ErrSecret},
		"no base64":              {good, string(body), 0, []string{SecretPrefix + strings.Repeat("?", 40)}, ErrSecret},
		"a long secret":          {good, string(body), 0, []string{SecretPrefix + strings.Repeat("AAAA", 40)}, ErrSecret},
	} {
		if _, err := Verify(c.header, []byte(c.body), at.Add(c.after), c.secrets...); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzVerifyTakesNothingThatIsNotSigned(f *testing.F) {
	f.Add("id", "1700000000", "v1,AAAA", []byte("{}"))
	f.Add("", "-1", "v1, v1,", []byte(nil))
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{HeaderID: {id}, HeaderTimestamp: {timestamp}, HeaderSignature: {signature}}
		if _, err := Verify(h, body, time.Unix(1_700_000_000, 0), secretA); err == nil {
			t.Errorf("%q, %q, %q, %q was taken", id, timestamp, signature, body)
		}
	})
}
