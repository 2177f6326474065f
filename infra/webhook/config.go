package webhook

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Defaults and limits of Config.
const (
	DefaultTimeout     = 10 * time.Second
	MaxTimeout         = time.Minute
	DefaultConcurrency = 4
	MaxConcurrency     = 64
	MaxTries           = 1000
	MaxName            = 100 // bytes
)

// Config is one webhook. Name, URL and Secret are required.
type Config struct {
	// Name of the webhook and of its cursor: 1 to MaxName of A-Z a-z 0-9 _ -. Under another name it begins anew.
	Name string
	// URL is https, or http for targets that Allow names. A user and password in it go into an Authorization header.
	URL string
	// Types of events; none means every fact (domain.Subscription).
	Types []domain.EventType
	// Namespaces and Definitions ("order", or "order@1.4.0") leave everything else out, and the facts without a task; none
	// means all.
	Namespaces, Definitions []string
	// Secret signs deliveries; Previous does, too, while receivers change from one to the next. See SecretPrefix.
	Secret, Previous string
	// Headers of every delivery.
	Headers map[string]string
	// Timeout of a delivery, until the receiver's status is there. Default DefaultTimeout, at most MaxTimeout.
	Timeout time.Duration
	// Concurrency is how many deliveries run at once, of different tasks. Default DefaultConcurrency, at most MaxConcurrency.
	Concurrency int
	// Tries of an event before it is parked. Default 10, which is about nine minutes.
	Tries int
	// From is where a new name begins. Default domain.FromNew.
	From domain.Start
	// Allow lists networks to which deliveries may go although they are not the public internet: loopback, private,
	// link-local and the like are refused otherwise, whatever the name in URL resolves to.
	Allow []netip.Prefix
	// CAFile holds the PEM certificates to trust, instead of the system's.
	CAFile string
}

// ConfigError says what is wrong with a webhook. It never holds a secret.
type ConfigError struct {
	Webhook string // its name
	Field   string
	Problem string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("webhook %q: %s %s", e.Webhook, e.Field, e.Problem)
}

// complete fills in the defaults, and says what is wrong.
func (c *Config) complete() error {
	bad := func(field, format string, args ...any) error {
		return &ConfigError{Webhook: c.Name, Field: field, Problem: fmt.Sprintf(format, args...)}
	}
	if !isName(c.Name) || len(c.Name) > MaxName {
		return bad("name", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxName)
	}
	for _, n := range []struct {
		field string
		value *int
		def   int
		most  int
	}{{"concurrency", &c.Concurrency, DefaultConcurrency, MaxConcurrency}, {"tries", &c.Tries, 10, MaxTries}} {
		if *n.value == 0 {
			*n.value = n.def
		}
		if *n.value < 1 || *n.value > n.most {
			return bad(n.field, "is %d: it must be 1 to %d", *n.value, n.most)
		}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Timeout < 0 || c.Timeout > MaxTimeout {
		return bad("timeout", "is %s: it must be more than 0 and at most %s", c.Timeout, MaxTimeout)
	}
	types, err := domain.NewEventSet(c.Types)
	if err != nil {
		return bad("types", "holds a name that is none: %s", err)
	}
	if live := types.NamedLive(); len(live) > 0 {
		return bad("types", "holds %s, which no log has", live[0])
	}
	for _, of := range c.Definitions {
		if name, version, versioned := strings.Cut(of, "@"); name == "" || versioned && version == "" {
			return bad("definitions", "holds %q: write a name such as order, or name and version such as order@1.4.0", of)
		}
	}
	if _, err := parseSecret(c.Secret); err != nil {
		return bad("secret", "cannot be used: %s", err)
	}
	if c.Previous != "" {
		if _, err := parseSecret(c.Previous); err != nil {
			return bad("previous_secret", "cannot be used: %s", err)
		}
	}
	return c.checkHeaders(bad)
}

// reserved headers are the delivery's own, or the connection's.
var reserved = []string{
	HeaderID, HeaderTimestamp, HeaderSignature, "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Host",
	"Expect", "Upgrade", "Trailer", "Te", "Accept-Encoding", "Proxy-Authorization",
}

func (c *Config) checkHeaders(bad func(field, format string, args ...any) error) error {
	for name, value := range c.Headers {
		switch {
		case !isToken(name):
			return bad("headers", "holds %q, which is no name of a header", name)
		case slices.Contains(reserved, http.CanonicalHeaderKey(name)):
			return bad("headers", "holds %s, which a delivery sets itself", name)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return bad("headers", "%s holds a control character", name)
		}
	}
	return nil
}

// target is the URL, checked as far as it can be without asking anybody. Errors leave out what may be secret in it.
func (c *Config) target() (*url.URL, error) {
	bad := func(format string, args ...any) error {
		return &ConfigError{Webhook: c.Name, Field: "url", Problem: fmt.Sprintf(format, args...)}
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, bad("cannot be read") // the error holds the text
	case u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, bad("must be like https://shop.example/hooks")
	case u.Fragment != "":
		return nil, bad("must not have a fragment (#): it is never sent")
	case u.Scheme == "http" && len(c.Allow) == 0:
		return nil, bad("must be https: http is for targets inside of a network that allow names")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := permitted(ip, c.Allow, u.Scheme == "http"); err != nil {
			return nil, bad("is not allowed: %s", err)
		}
	}
	return u, nil
}

// roots are the certificates to trust; nil = the system's.
func (c *Config) roots() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, &ConfigError{Webhook: c.Name, Field: "ca_file", Problem: "cannot be read: " + err.Error()}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, &ConfigError{Webhook: c.Name, Field: "ca_file", Problem: c.CAFile + " holds no PEM certificate"}
	}
	return pool, nil
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// isToken: RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

var errNoHandler = errors.New("a description of events is required")
