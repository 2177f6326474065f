package webhook

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
)

func environment(name string) string {
	return map[string]string{
		"TASKER_SECRET_a": secretA, "TASKER_SECRET_b": secretB + "\n", "TASKER_SECRET_token": "t0ken-of-the-receiver",
		"TASKER_SECRET_weak": "hunter2hunter2", "TASKER_SECRET_lines": "x\r\nX-Evil: 1", "a": "not meant for webhooks",
	}[name]
}

func TestAFileSaysEverythingThatAConfigDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "webhooks.yaml")
	text := `webhooks:
  - name: billing
    url: https://u:${secret.token}@billing.example/hooks?x=1
    types: [task.completed, custom.*]
    namespaces: [shop]
    definitions: [order, refund@1.2.0]
    secret: ${secret.a}
    previous_secret: ${secret.b}
    headers: {Authorization: "Bearer ${secret.token}", X-Team: payments}
    timeout: 1500ms
    concurrency: 8
    tries: 3
    from: oldest
    allow: [10.1.2.3/16, "fd00::/8"]
  - name: least
    url: https://other.example
    secret: ${secret.a}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path, environment)
	if err != nil {
		t.Fatal(err)
	}
	want := []Config{
		{
			Name: "billing", URL: "https://u:t0ken-of-the-receiver@billing.example/hooks?x=1", Types: []domain.EventType{domain.TaskCompletedType, "custom.*"},
			Namespaces: []string{"shop"}, Definitions: []string{"order", "refund@1.2.0"}, Secret: secretA, Previous: secretB + "\n",
			Headers: map[string]string{"Authorization": "Bearer t0ken-of-the-receiver", "X-Team": "payments"},
			Timeout: 1500 * time.Millisecond, Concurrency: 8, Tries: 3, From: domain.FromOldest,
			Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")},
		},
		{Name: "least", URL: "https://other.example", Secret: secretA, From: domain.FromNew},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestAWrongFileIsRefusedAndSaysNoSecret(t *testing.T) {
	hook := func(lines ...string) string {
		have := strings.Join(lines, "\n")
		all := []string{}
		for _, line := range []string{"name: x", "url: https://x.example", "secret: ${secret.a}"} {
			if key, _, _ := strings.Cut(line, ":"); !strings.Contains("\n"+have, "\n"+key+":") {
				all = append(all, line)
			}
		}
		return "webhooks:\n  - " + strings.Join(append(all, lines...), "\n    ") + "\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":                    {"", "0 entries"},
		"no list":                  {"webhooks: []", "0 entries"},
		"not YAML":                 {"webhooks: [", "yaml"},
		"not a mapping":            {"- a", "yaml"},
		"unknown field":            {hook("retries: 3"), "retries"},
		"field twice":              {"webhooks:\n  - name: a\n    name: b\n", "name"},
		"two documents":            {hook() + "---\n" + hook(), "more behind"},
		"two of a name":            {hook() + strings.TrimPrefix(hook(), "webhooks:\n"), "is that of another one"},
		"no name":                  {hook("name: ''"), "name must be 1 to 100"},
		"odd name":                 {hook("name: a.b"), "name must be 1 to 100"},
		"no url":                   {hook("url: ''"), "must be like https://"},
		"url without scheme":       {hook("url: x.example/hooks"), "must be like https://"},
		"other scheme":             {hook("url: file:///etc/passwd"), "must be like https://"},
		"url that cannot be read":  {hook(`url: "https://x.example/%zz?k=${secret.token}"`), "url cannot be read"},
		"url with a fragment":      {hook("url: https://x.example/#a"), "fragment"},
		"plain http":               {hook("url: http://x.example"), "must be https"},
		"loopback":                 {hook("url: https://127.0.0.1/"), "127.0.0.1 is not a public address"},
		"metadata of a cloud":      {hook("url: https://[::ffff:169.254.169.254]/"), "169.254.169.254 is not a public address"},
		"http to elsewhere":        {hook("url: http://9.9.9.9/", "allow: [10.0.0.0/8]"), "without TLS"},
		"unknown type":             {hook("types: [task.complete]"), "task.complete"},
		"live signal":              {hook("types: [step.handle]"), "step.handle, which no log has"},
		"half a definition":        {hook("definitions: [order@]"), `"order@"`},
		"no secret":                {hook("secret: ''"), "TASKER_SECRET_NAME"},
		"secret in the file":       {hook("secret: " + secretA), "must not stand in the file"},
		"second secret in it":      {hook("previous_secret: " + secretB), "must not stand in the file"},
		"secret that is not set":   {hook("secret: ${secret.nobody}"), "TASKER_SECRET_nobody in the environment of the engine, and it is not set"},
		"secret that is weak":      {hook("secret: ${secret.weak}"), "openssl rand -base64 32"},
		"the whole environment":    {hook("headers: {X: '${a}'}"), "not ${secret.NAME}"},
		"half a variable":          {hook("headers: {X: '${secret.a'}"), "not ${secret.NAME}"},
		"another variable":         {hook("headers: {X: '${secret.a/../b}'}"), "not ${secret.NAME}"},
		"odd header":               {hook("headers: {'a b': c}"), `"a b", which is no name of a header`},
		"reserved header":          {hook("headers: {webhook-id: c}"), "which a delivery sets itself"},
		"header with lines":        {hook("headers: {X: '${secret.lines}'}"), "X holds a control character"},
		"timeout without unit":     {hook("timeout: 10"), `"10": write it like 10s`},
		"long timeout":             {hook("timeout: 1h"), "at most 1m0s"},
		"negative timeout":         {hook("timeout: -1s"), "write it like 10s"},
		"too many at once":         {hook("concurrency: 65"), "it must be 1 to 64"},
		"negative tries":           {hook("tries: -1"), "it must be 1 to 1000"},
		"odd beginning":            {hook("from: yesterday"), "new, oldest or beginning"},
		"address without its bits": {hook("allow: [10.0.0.1]"), "a network such as"},
		"no certificates":          {hook("ca_file: /dev/null"), "no PEM certificate"},
		"missing certificates":     {hook("ca_file: /nowhere/ca.pem"), "ca_file cannot be read"},
		"merge bomb":               {"a: &a [x,x,x]\nwebhooks: &b [*a,*a]\n", "yaml"},
	} {
		list, err := parse([]byte(c.text), environment)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want an error with %q", name, list, err, c.want)
			continue
		}
		for _, secret := range []string{strings.TrimPrefix(secretA, SecretPrefix), strings.TrimPrefix(secretB, SecretPrefix), "t0ken", "hunter2", "Evil"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error says a secret: %v", name, err)
			}
		}
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none.yaml"), environment); err == nil {
		t.Error("a file that is not there was read")
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(large, environment); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a file of more than %d bytes: %v", maxFile, err)
	}
}
