package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// errLarge ends the reading of an answer that no provider gives.
var errLarge = fmt.Errorf("the provider's answer has more than %d bytes", maxKeys)

func body(text []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(text)) }

// checkKeys refuses what is no set of keys, so that it does not pass for one without the key that is asked for.
func checkKeys(text []byte) error {
	if len(text) > maxKeys {
		return errLarge
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("the provider's keys cannot be read: %w", err)
	}
	if len(set.Keys) == 0 {
		return errors.New("the provider has no keys")
	}
	return nil
}

// limited is a client whose answers end at a limit.
func limited(client *http.Client) *http.Client {
	own := *client
	to := own.Transport
	if to == nil {
		to = http.DefaultTransport
	}
	own.Transport = limitedTransport{to}
	return &own
}

type limitedTransport struct{ to http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.to.RoundTrip(r)
	if err == nil {
		response.Body = &limitedBody{ReadCloser: response.Body, left: maxKeys}
	}
	return response, err
}

type limitedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
