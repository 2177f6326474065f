package natsserver

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// engineUser is who this process is to its own server, when the listener is guarded.
	engineUser = "engine"
	// engineInbox begins the subjects that this process gets its answers on; nobody else hears them.
	engineInbox = "_INBOX.engine"
	// maxPartitions of a log: each has a lease that only engines may take.
	maxPartitions = 64
)

// guard lets clients in and says what each may do. It implements the server's Authentication.
type guard struct {
	token, username, password string
	engine                    string // the password of engineUser, new at every start
	clients                   *server.Permissions
}

func newGuard(o Options) *guard {
	return &guard{token: o.Token, username: o.Username, password: o.Password, engine: rand.Text(), clients: clientPermissions()}
}

// Check implements server.Authentication.
func (g *guard) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	switch {
	case opts.Username == engineUser && same(opts.Password, g.engine):
		c.RegisterUser(&server.User{Username: engineUser})
		return true
	case g.token != "" && same(opts.Token, g.token):
		c.RegisterUser(&server.User{Username: "token", Permissions: g.clients})
		return true
	case g.username != "" && same(opts.Username, g.username) && same(opts.Password, g.password):
		c.RegisterUser(&server.User{Username: g.username, Permissions: g.clients})
		return true
	case g.token == "" && g.username == "": // an open listener, which is on loopback
		c.RegisterUser(&server.User{Username: "anyone", Permissions: g.clients})
		return true
	}
	return false
}

// access is how this process connects.
func (g *guard) access() []nats.Option {
	return []nats.Option{nats.UserInfo(engineUser, g.engine), nats.CustomInboxPrefix(engineInbox)}
}

// same takes as long for a wrong secret as for the right one, whatever their lengths.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// clientPermissions are those of the processes around an engine: the command line, submitters, durable subscribers, readers of
// the log and of the feed. Only engines publish commits, own partitions and change streams (DESIGN 6, Doors): a client that
// could, could write a history that never happened.
func clientPermissions() *server.Permissions {
	deny := []string{
		// The engine's consumer of the intake; nobody else takes from it.
		"$JS.API.CONSUMER.*.TASKER_INBOX", "$JS.API.CONSUMER.*.TASKER_INBOX.>", "$JS.API.CONSUMER.MSG.NEXT.TASKER_INBOX.>", "$JS.ACK.TASKER_INBOX.>",
		"$JS.API.CONSUMER.DURABLE.CREATE.TASKER_INBOX.>", "$JS.API.CONSUMER.*.TASKER_WORK", "$JS.API.CONSUMER.*.TASKER_WORK.>",
		"$JS.API.CONSUMER.MSG.NEXT.TASKER_WORK.>",
		"$JS.API.CONSUMER.DURABLE.CREATE.TASKER_WORK.>", "$JS.ACK.TASKER_WORK.>",
	}
	for p := range maxPartitions {
		deny = append(deny, fmt.Sprintf("$KV.TASKER_LEASES.partition-%02d", p))
	}
	return &server.Permissions{
		Publish: &server.SubjectPermission{
			Allow: []string{
				"tasker.cmd.>", "tasker.submit.>", "tasker.dead.>",
				"$KV.TASKER_CURSORS.>", "$KV.TASKER_LEASES.>", // durable subscribers in other processes
				"$KV.TASKER_TOKENS.>",
				"$O.TASKER_BLOBS.>",
				"$JS.API.STREAM.MSG.DELETE.TASKER_DEAD", "$JS.API.STREAM.PURGE.TASKER_DEAD",
				"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
				"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
				"$JS.API.STREAM.SNAPSHOT.*", "$JS.SNAPSHOT.ACK.>", // nats backup
				"$JS.API.CONSUMER.>", "$JS.ACK.>", "$JS.FC.>",
				"$SYS.REQ.USER.INFO",
			},
			Deny: deny,
		},
		// Whoever listened to these would be asked in the engine's place, or read its answers.
		Subscribe: &server.SubjectPermission{
			Allow: []string{">"},
			Deny:  []string{"tasker.cmd.>", "tasker.submit.>", engineInbox + ".>", "$KV.TASKER_TOKENS.>", "$JS.API.>", "$SYS.>"},
		},
	}
}
