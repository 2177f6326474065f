// Package remote connects examples to the NATS that the environment names: that of tasker serve, or of the compose file.
package remote

import (
	"net/url"
	"os"
	"slices"

	"github.com/nats-io/nats.go"
)

// NATS is where engines run.
type NATS struct{ URL string }

// FromEnvironment reads NATS_URL; default nats://127.0.0.1:4222.
func FromEnvironment() NATS {
	if u := os.Getenv("NATS_URL"); u != "" {
		return NATS{u}
	}
	return NATS{nats.DefaultURL}
}

// Options are what a connection needs besides the URL. Users of the roles in deploy/nats/permissions may listen to their own
// inbox only, which is named for them.
func (n NATS) Options() []nats.Option {
	u, err := url.Parse(n.URL)
	if err != nil || u.User == nil {
		return nil
	}
	if _, password := u.User.Password(); !password { // a token
		return nil
	}
	return []nats.Option{nats.CustomInboxPrefix("_INBOX." + u.User.Username())}
}

// Connect opens a connection; it fits tasker.Config.
func (n NATS) Connect(more ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(n.URL, slices.Concat(n.Options(), more)...)
}
