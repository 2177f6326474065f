package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

// natsAccess is what a connection to an external NATS needs besides its URL. Every part may come from the environment, so
// that no secret has to stand on a command line, where `ps` shows it.
type natsAccess struct{ user, password, passwordFile, creds, nkey, ca, cert, key, inbox string }

// The variables. They are used by every verb that is given a URL; a context of the nats command line has its own.
const (
	envNATSUser         = "TASKER_NATS_USER"
	envNATSPassword     = "TASKER_NATS_PASSWORD"
	envNATSPasswordFile = "TASKER_NATS_PASSWORD_FILE"
	envNATSCreds        = "TASKER_NATS_CREDS"
	envNATSNKey         = "TASKER_NATS_NKEY"
	envNATSCA           = "TASKER_NATS_CA"
	envNATSCert         = "TASKER_NATS_CERT"
	envNATSKey          = "TASKER_NATS_KEY"
	envNATSInbox        = "TASKER_NATS_INBOX"
)

// natsFlags are its flags, by name, with their variables.
var natsFlags = []struct {
	name, variable, help string
	value                func(*natsAccess) *string
}{
	{"nats-user", envNATSUser, "user of an external NATS, also " + envNATSUser + "; its password is " + envNATSPassword, func(a *natsAccess) *string { return &a.user }},
	{"nats-password-file", envNATSPasswordFile, "file with the password of that user, also " + envNATSPasswordFile, func(a *natsAccess) *string { return &a.passwordFile }},
	{"nats-creds", envNATSCreds, "credentials file for an external NATS, also " + envNATSCreds, func(a *natsAccess) *string { return &a.creds }},
	{"nats-nkey", envNATSNKey, "file with an nkey seed for an external NATS, also " + envNATSNKey, func(a *natsAccess) *string { return &a.nkey }},
	{"nats-ca", envNATSCA, "certificates (PEM) that an external NATS is trusted by, also " + envNATSCA, func(a *natsAccess) *string { return &a.ca }},
	{"nats-cert", envNATSCert, "certificate (PEM) of this client for an external NATS, also " + envNATSCert, func(a *natsAccess) *string { return &a.cert }},
	{"nats-key", envNATSKey, "its private key (PEM), also " + envNATSKey, func(a *natsAccess) *string { return &a.key }},
	{"nats-inbox", envNATSInbox, "prefix of the subjects that answers come to, where the user may not listen to _INBOX.>, also " + envNATSInbox, func(a *natsAccess) *string { return &a.inbox }},
}

func (a *natsAccess) add(cmd *cobra.Command) {
	for _, f := range natsFlags {
		cmd.Flags().StringVar(f.value(a), f.name, "", f.help)
	}
}

// check refuses flags that say nothing without --nats-url.
func (a *natsAccess) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("nats-url") {
		return nil
	}
	for _, f := range natsFlags {
		if cmd.Flags().Changed(f.name) {
			return usageError("--%s is for an external NATS: name it with --nats-url; a context of the nats command line has its own credentials", f.name)
		}
	}
	return nil
}

// environment fills in what no flag said. A flag for one way to log in hides the variables of the other.
func (a *natsAccess) environment() {
	// The ways to log in, of which one is used.
	ways := map[string]bool{envNATSUser: a.user != "" || a.passwordFile != "", envNATSCreds: a.creds != "", envNATSNKey: a.nkey != ""}
	ways[envNATSPasswordFile] = ways[envNATSUser]
	said := ways[envNATSUser] || ways[envNATSCreds] || ways[envNATSNKey]
	for _, f := range natsFlags {
		v := f.value(a)
		chosen, isWay := ways[f.variable]
		if *v == "" && (!isWay || !said || chosen) {
			*v = os.Getenv(f.variable)
		}
	}
	if a.user != "" && a.passwordFile == "" {
		a.password = os.Getenv(envNATSPassword)
	}
}

// options are those of the connection. What is missing or contradicts itself is told before anything is dialled.
func (a *natsAccess) options() ([]nats.Option, error) {
	var opts []nats.Option
	if err := a.exclusive(); err != nil {
		return nil, err
	}
	switch {
	case a.user == "" && a.passwordFile != "":
		return nil, usageError("there is a password file for NATS and no user: set --nats-user or %s", envNATSUser)
	case a.user != "":
		password, err := a.secret()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserInfo(a.user, password))
	case a.creds != "":
		if err := readable("--nats-creds", a.creds); err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserCredentials(a.creds))
	case a.nkey != "":
		nkey, err := nats.NkeyOptionFromSeed(a.nkey)
		if err != nil {
			return nil, badInput(fmt.Errorf("--nats-nkey: %w", err), "")
		}
		opts = append(opts, nkey)
	}
	if a.cert != "" {
		if _, err := tls.LoadX509KeyPair(a.cert, a.key); err != nil {
			return nil, badInput(fmt.Errorf("--nats-cert, --nats-key: %w", err), "")
		}
		opts = append(opts, nats.ClientCert(a.cert, a.key))
	}
	if a.ca != "" {
		if err := readable("--nats-ca", a.ca); err != nil {
			return nil, err
		}
		opts = append(opts, nats.RootCAs(a.ca))
	}
	if a.inbox != "" {
		if strings.ContainsAny(a.inbox, "*> \t") || strings.HasSuffix(a.inbox, ".") {
			return nil, usageError("--nats-inbox %q cannot begin a subject: give something like _INBOX.engine", a.inbox)
		}
		opts = append(opts, nats.CustomInboxPrefix(a.inbox))
	}
	return opts, nil
}

// exclusive refuses two ways to log in, and half of one.
func (a *natsAccess) exclusive() error {
	switch {
	case a.user != "" && a.creds != "":
		return usageError("either a user or a credentials file for NATS: %s and %s are both set", envNATSUser, envNATSCreds)
	case a.nkey != "" && (a.user != "" || a.creds != ""):
		return usageError("either an nkey or another way to log in to NATS: %s is set, and %s or %s as well", envNATSNKey, envNATSUser, envNATSCreds)
	case (a.cert == "") != (a.key == ""):
		return usageError("a certificate for NATS needs its key, and a key its certificate: %s and %s belong together", envNATSCert, envNATSKey)
	}
	return nil
}

func (a *natsAccess) secret() (string, error) {
	if a.passwordFile == "" {
		if a.password == "" {
			return "", usageError("user %s of NATS has no password: set %s, or name a file with --nats-password-file", a.user, envNATSPassword)
		}
		return a.password, nil
	}
	text, err := os.ReadFile(a.passwordFile)
	if err != nil {
		return "", badInput(fmt.Errorf("--nats-password-file: %w", err), "")
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", badInput(fmt.Errorf("--nats-password-file: %s is empty", a.passwordFile), "")
	}
	return password, nil
}

func readable(flag, path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("is a folder")}
	}
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", flag, err), "")
	}
	return nil
}

// useURL makes the configuration one for an external NATS at the URL, with the access.
func (a natsAccess) useURL(c *tasker.Config, url string) error {
	a.environment()
	opts, err := a.options()
	if err != nil {
		return err
	}
	c.URL, c.NATSOptions = url, opts
	return nil
}
