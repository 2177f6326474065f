package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/tasker-go/tasker/domain"
)

// EnvPrefix begins the names of the variables that ${secret.name} reads.
const EnvPrefix = "TASKER_SECRET_"

// Limits of a file.
const (
	maxFile     = 1 << 20 // bytes
	MaxWebhooks = 100
)

// fileConfig is a file, as it is written.
type fileConfig struct {
	Webhooks []fileWebhook `yaml:"webhooks"`
}

type fileWebhook struct {
	Name        string             `yaml:"name"`
	URL         string             `yaml:"url"`
	Types       []domain.EventType `yaml:"types"`
	Namespaces  []string           `yaml:"namespaces"`
	Definitions []string           `yaml:"definitions"`
	Secret      string             `yaml:"secret"`
	Previous    string             `yaml:"previous_secret"`
	Headers     map[string]string  `yaml:"headers"`
	Timeout     string             `yaml:"timeout"`
	Concurrency int                `yaml:"concurrency"`
	Tries       int                `yaml:"tries"`
	From        string             `yaml:"from"`
	Allow       []string           `yaml:"allow"`
	CAFile      string             `yaml:"ca_file"`
}

// ReadFile reads webhooks from a YAML file (docs/feed-and-webhooks.md) and checks them as New does. Secrets stand in the
// environment, ${secret.name} reads TASKER_SECRET_name: in url, secret, previous_secret and the values of headers; getenv is
// os.Getenv. The error is about the first thing that is wrong, and holds no secret.
func ReadFile(path string, getenv func(string) string) ([]Config, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator's file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	list, err := parse(text, getenv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

func parse(text []byte, getenv func(string) string) (list []Config, err error) {
	defer func() { // what a parser does with an odd file must not end the process
		if r := recover(); r != nil {
			list, err = nil, fmt.Errorf("not valid YAML: %v", r)
		}
	}()
	loader, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithKnownFields())
	if err != nil {
		return nil, err
	}
	var file fileConfig
	if err := loader.Load(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := loader.Load(&fileConfig{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the first document: one file holds one list of webhooks")
	}
	if n := len(file.Webhooks); n == 0 || n > MaxWebhooks {
		return nil, fmt.Errorf("webhooks: the list has %d entries, it must have 1 to %d", n, MaxWebhooks)
	}
	for _, w := range file.Webhooks {
		c, err := w.config(getenv)
		if err == nil {
			_, err = New(c, Options{Event: unused})
		}
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(other Config) bool { return other.Name == c.Name }) {
			return nil, &ConfigError{Webhook: c.Name, Field: "name", Problem: "is that of another one: each needs its own, because its cursor is kept under it"}
		}
		list = append(list, c)
	}
	return list, nil
}

// config reads what a Config has in another form.
func (w *fileWebhook) config(getenv func(string) string) (Config, error) {
	c := Config{
		Name: w.Name, Types: w.Types, Namespaces: w.Namespaces, Definitions: w.Definitions,
		Concurrency: w.Concurrency, Tries: w.Tries, CAFile: w.CAFile,
	}
	bad := func(field, format string, args ...any) (Config, error) {
		return c, &ConfigError{Webhook: w.Name, Field: field, Problem: fmt.Sprintf(format, args...)}
	}
	for _, secret := range []struct{ field, value string }{{"secret", w.Secret}, {"previous_secret", w.Previous}} {
		if secret.value != "" && !strings.Contains(secret.value, "${secret.") {
			return bad(secret.field, "must not stand in the file: write ${secret.NAME}, and set %sNAME in the environment", EnvPrefix)
		}
	}
	if w.Secret == "" {
		return bad("secret", "is missing: write ${secret.NAME}, and set %sNAME in the environment. %s", EnvPrefix, ErrSecret)
	}
	if w.Headers != nil {
		c.Headers = map[string]string{}
	}
	for _, text := range []struct {
		field, value string
		into         func(string)
	}{
		{"url", w.URL, func(s string) { c.URL = s }},
		{"secret", w.Secret, func(s string) { c.Secret = s }},
		{"previous_secret", w.Previous, func(s string) { c.Previous = s }},
	} {
		value, err := expand(text.value, getenv)
		if err != nil {
			return bad(text.field, "%s", err)
		}
		text.into(value)
	}
	for name, value := range w.Headers {
		value, err := expand(value, getenv)
		if err != nil {
			return bad("headers", "%s: %s", name, err)
		}
		c.Headers[name] = value
	}
	if w.Timeout != "" {
		d, err := time.ParseDuration(w.Timeout)
		if err != nil || d <= 0 {
			return bad("timeout", "is %q: write it like 10s", w.Timeout)
		}
		c.Timeout = d
	}
	for _, text := range w.Allow {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return bad("allow", "holds %q: write a network such as 10.1.0.0/16", text)
		}
		c.Allow = append(c.Allow, network.Masked())
	}
	from, ok := map[string]domain.Start{
		"": domain.FromNew, "new": domain.FromNew, "oldest": domain.FromOldest, "beginning": domain.FromBeginning,
	}[w.From]
	if !ok {
		return bad("from", "is %q: it must be new, oldest or beginning", w.From)
	}
	c.From = from
	return c, nil
}

// expand puts the values of secrets into a text.
func expand(text string, getenv func(string) string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		inner, after, closed := strings.Cut(rest, "}")
		name, isSecret := strings.CutPrefix(inner, "secret.")
		if !closed || !isSecret || !isName(name) {
			return "", errors.New("holds a ${...} that is not ${secret.NAME}")
		}
		value := getenv(EnvPrefix + name)
		if value == "" {
			return "", fmt.Errorf("needs %s%s in the environment of the engine, and it is not set", EnvPrefix, name)
		}
		out.WriteString(value)
		text = after
	}
}

// unused stands in for a description where a webhook is only checked.
func unused(context.Context, domain.Record) (domain.CloudEvent, error) {
	return domain.CloudEvent{}, errors.New("this webhook is only checked")
}
