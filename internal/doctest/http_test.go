package doctest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/infra/handlerconfig"
	"github.com/tasker-go/tasker/infra/httphandler"
)

func TestEveryKeyOfHTTPNamesTheTestThatHoldsIt(t *testing.T) {
	p := readPage(t, definitionsPage)
	rows := append(p.tables(t, "### http", "key", "default", "enforced by"), p.tables(t, "### http", "in `tls`", "default", "enforced by")...)
	for _, r := range rows {
		for name := range strings.SplitSeq(r.cells["enforced by"], ", ") {
			if !testName.MatchString(code(name)) {
				t.Errorf("%s: %s is held by no test", r.at, r.first)
			}
		}
	}
}

func TestTableOfTLSNamesEveryKey(t *testing.T) {
	var named []string
	for _, r := range readPage(t, definitionsPage).tables(t, "### http", "in `tls`") {
		named = append(named, code(r.first))
	}
	err := httphandler.Validate(json.RawMessage(`{"url":"https://a.example","tls":{"nobody":1}}`))
	_, known, _ := strings.Cut(fmt.Sprint(err), "known are ")
	if diff := cmp.Diff(strings.Split(known, ", "), named); diff != "" {
		t.Errorf("(-code +page):\n%s", diff)
	}
}

func TestDefaultsAndLimitsOfHTTPAreThoseOfTheCode(t *testing.T) {
	p := readPage(t, definitionsPage)
	have := map[string]row{}
	for _, r := range append(p.tables(t, "### http", "key", "default", "limit"), p.tables(t, "### http", "in `tls`", "default")...) {
		have[code(r.first)] = r
	}
	for key, want := range map[string]string{
		"method": "GET", "redirects": fmt.Sprint(httphandler.DefaultRedirects), "min_version": httphandler.DefaultMinVersion,
		"insecure_skip_verify": "false",
	} {
		if got := code(have[key].cells["default"]); got != want {
			t.Errorf("%s: the default is %s, not %s", have[key].at, want, got)
		}
	}
	if d, err := time.ParseDuration(code(have["connect_timeout"].cells["default"])); err != nil || d != httphandler.DefaultConnectTimeout {
		t.Errorf("%s: the default is %s (%v)", have["connect_timeout"].at, httphandler.DefaultConnectTimeout, err)
	}
	accepts := func(config string) bool {
		return httphandler.Validate(json.RawMessage(`{"url":"https://a.example",`+config+`}`)) == nil
	}
	between := regexp.MustCompile(`^([0-9]+) to ([0-9]+)`)
	for _, key := range []string{"redirects", "retry_on", "permanent_on"} {
		m := between.FindStringSubmatch(have[key].cells["limit"])
		if m == nil {
			t.Fatalf("%s: no limits", have[key].at)
		}
		value := `"%s":%d`
		if key != "redirects" {
			value = `"%s":[%d]`
		}
		var low, high int
		if _, err := fmt.Sscan(m[1], &low); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(m[2], &high); err != nil {
			t.Fatal(err)
		}
		for n, ok := range map[int]bool{low - 1: false, low: true, high: true, high + 1: false} {
			if accepts(fmt.Sprintf(value, key, n)) != ok {
				t.Errorf("%s: %s of %d: accepted is %t", have[key].at, key, n, !ok)
			}
		}
	}
}

func TestSecretsOfThePageHaveThePrefixOfTheCode(t *testing.T) {
	m := regexp.MustCompile("`\\$\\{secret\\.([A-Z_]+)\\}` is the variable `([A-Z_]+)`")
	for _, l := range readPage(t, definitionsPage).lines {
		if found := m.FindStringSubmatch(l.text); found != nil {
			if found[2] != handlerconfig.SecretPrefix+found[1] {
				t.Errorf("%s:%d: the variable is %s", definitionsPage, l.number, handlerconfig.SecretPrefix+found[1])
			}
			return
		}
	}
	t.Errorf("%s does not say where secrets come from", definitionsPage)
}
