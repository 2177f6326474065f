package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery, as the Standard Webhooks specification names them.
const (
	HeaderID        = "Webhook-Id"        // the same for every try of one event
	HeaderTimestamp = "Webhook-Timestamp" // of the try, in seconds since 1970
	HeaderSignature = "Webhook-Signature" // "v1,<base64>", one for each secret, with a space between
)

// Secrets are written "whsec_" and the base64 of 24 to 64 random bytes.
const (
	SecretPrefix   = "whsec_"
	MinSecretBytes = 24
	MaxSecretBytes = 64
)

// Tolerance is how far the timestamp of a delivery may be from the receiver's clock, in either direction.
const Tolerance = 5 * time.Minute

const signatureVersion = "v1,"

// Errors of Verify.
var (
	ErrSignature = errors.New("the delivery is not signed with this secret")
	ErrTimestamp = errors.New("the delivery is too old, or of the future")
	ErrSecret    = errors.New("want a secret such as whsec_ and the base64 of 24 to 64 random bytes; `echo whsec_$(openssl rand -base64 32)` makes one")
)

// parseSecret reads the key. The error never holds the secret.
func parseSecret(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(secret), SecretPrefix)
	if !ok {
		return nil, ErrSecret
	}
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(key) < MinSecretBytes || len(key) > MaxSecretBytes {
		return nil, ErrSecret
	}
	return key, nil
}

// signature is the HMAC-SHA256 of id, timestamp and body, with dots between.
func signature(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return signatureVersion + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Sign sets the three headers. With several secrets each gives a signature, so that a receiver may change from one to the
// next at its leisure. The error is ErrSecret.
func Sign(header http.Header, id string, at time.Time, body []byte, secrets ...string) error {
	keys, err := parseSecrets(secrets)
	if err != nil {
		return err
	}
	sign(header, id, at, body, keys)
	return nil
}

func parseSecrets(secrets []string) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, ErrSecret
	}
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		var err error
		if keys[i], err = parseSecret(secret); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func sign(header http.Header, id string, at time.Time, body []byte, keys [][]byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	all := make([]string, len(keys))
	for i, key := range keys {
		all[i] = signature(key, id, timestamp, body)
	}
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, timestamp)
	header.Set(HeaderSignature, strings.Join(all, " "))
}

// Verify is for receivers: it returns the id of a delivery that was signed with one of the secrets, within Tolerance of now.
// body is the request's body as it came, byte by byte. A receiver that has handled the id before answers 2xx and does
// nothing. Errors: ErrSignature, ErrTimestamp, ErrSecret.
func Verify(header http.Header, body []byte, now time.Time, secrets ...string) (id string, err error) {
	keys, err := parseSecrets(secrets)
	if err != nil {
		return "", err
	}
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	if id == "" || timestamp == "" {
		return "", fmt.Errorf("%w: it has no %s and %s", ErrSignature, HeaderID, HeaderTimestamp)
	}
	if !signed(header.Values(HeaderSignature), keys, id, timestamp, body) {
		return "", ErrSignature
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%w: its %s is no number", ErrTimestamp, HeaderTimestamp)
	}
	if off := now.Unix() - seconds; off > int64(Tolerance/time.Second) || off < -int64(Tolerance/time.Second) {
		return "", fmt.Errorf("%w: by %d s", ErrTimestamp, off)
	}
	return id, nil
}

// signed looks for a signature of any of the keys. Those of other versions are passed over.
func signed(given []string, keys [][]byte, id, timestamp string, body []byte) bool {
	found := false
	for _, key := range keys {
		want := []byte(signature(key, id, timestamp, body))
		for _, line := range given {
			for have := range strings.FieldsSeq(line) {
				if hmac.Equal([]byte(have), want) {
					found = true
				}
			}
		}
	}
	return found
}
