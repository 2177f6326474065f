package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tasker-go/tasker"
)

// setNATS empties all variables but those given.
func setNATS(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{envNATSUser, envNATSPassword, envNATSPasswordFile, envNATSCreds, envNATSNKey, envNATSCA, envNATSCert, envNATSKey, envNATSInbox} {
		t.Setenv(name, variables[name])
	}
}

func TestAnInboxOfItsOwnIsAllThatAUserNeedsToHear(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, Users: []*server.User{
		{Username: "engine", Password: "e", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"echo"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.engine.>"}},
		}},
		{Username: "echo", Password: "x"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	echo, err := nats.Connect(s.ClientURL(), nats.UserInfo("echo", "x"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(echo.Close)
	if _, err := echo.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := echo.Flush(); err != nil {
		t.Fatal(err)
	}
	setNATS(t, map[string]string{envNATSUser: "engine", envNATSPassword: "e", envNATSInbox: "_INBOX.engine"})
	var c tasker.Config
	if err := (natsAccess{}).useURL(&c, s.ClientURL()); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(c.URL, c.NATSOptions...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	answer, err := nc.RequestWithContext(t.Context(), "echo", []byte("hello"))
	if err != nil || string(answer.Data) != "hello" {
		t.Fatalf("%v %v", answer, err)
	}
}

func TestAFlagHidesTheVariablesOfTheOtherWayToLogIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for name, c := range map[string]struct {
		flags     natsAccess
		variables map[string]string
		want      natsAccess
	}{
		"a user, with variables for a credentials file": {
			natsAccess{user: "ann"}, map[string]string{envNATSCreds: file, envNATSPassword: "p"}, natsAccess{user: "ann", password: "p"},
		},
		"a credentials file, with variables for a user": {
			natsAccess{creds: file}, map[string]string{envNATSUser: "bob", envNATSPassword: "p", envNATSPasswordFile: file}, natsAccess{creds: file},
		},
		"an nkey, with variables for the others": {
			natsAccess{nkey: file}, map[string]string{envNATSUser: "bob", envNATSPassword: "p", envNATSCreds: file}, natsAccess{nkey: file},
		},
		"a user, with a variable for an nkey": {
			natsAccess{user: "ann"}, map[string]string{envNATSNKey: file, envNATSPassword: "p"}, natsAccess{user: "ann", password: "p"},
		},
		"a password file goes before a password": {
			natsAccess{}, map[string]string{envNATSUser: "bob", envNATSPassword: "p", envNATSPasswordFile: file}, natsAccess{user: "bob", passwordFile: file},
		},
		"a flag goes before its own variable": {
			natsAccess{inbox: "a", ca: "b"}, map[string]string{envNATSInbox: "c", envNATSCA: "d"}, natsAccess{inbox: "a", ca: "b"},
		},
		"a password without a user is nobody's": {natsAccess{}, map[string]string{envNATSPassword: "p"}, natsAccess{}},
	} {
		t.Run(name, func(t *testing.T) {
			setNATS(t, c.variables)
			have := c.flags
			have.environment()
			if have != c.want {
				t.Errorf("%+v, want %+v", have, c.want)
			}
		})
	}
}

func TestErrorsOfAccessDoNotSayThePassword(t *testing.T) {
	setNATS(t, map[string]string{envNATSUser: "ann", envNATSPassword: "s3cret", envNATSCreds: "c"})
	a := natsAccess{}
	a.environment()
	if _, err := a.options(); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

func TestAnNKeyLogsInByItsSeed(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, Nkeys: []*server.NkeyUser{{Nkey: public}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	setNATS(t, map[string]string{envNATSNKey: file})
	var c tasker.Config
	if err := (natsAccess{}).useURL(&c, s.ClientURL()); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(c.URL, c.NATSOptions...)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if nc, err := nats.Connect(c.URL); err == nil {
		nc.Close()
		t.Error("the server lets everybody in")
	}
	for want, a := range map[string]natsAccess{
		"either an nkey or another way": {nkey: file, user: "ann"}, "--nats-nkey": {nkey: file + "x"}, "belong together": {key: file},
		"--nats-cert, --nats-key": {cert: file, key: file},
	} {
		if _, err := a.options(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), string(seed)) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
