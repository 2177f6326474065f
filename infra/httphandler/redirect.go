package httphandler

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

const idempotencyKey = "Idempotency-Key"

// private are headers that say who asks, or what for. They stay with the host that the definition names.
var private = []string{
	"Authorization", "Cookie", "Cookie2", "Proxy-Authorization", "Www-Authenticate", idempotencyKey, "Referer",
}

// redirect decides whether next is sent; via are the requests before it. Once a redirect has left the host, nothing
// private is sent any more, also when a later one leads back: its address is another one's choice.
func (x *exchange) redirect(next *http.Request, via []*http.Request) error {
	switch {
	case x.c.Redirects == 0:
		return http.ErrUseLastResponse
	case len(via) > x.c.Redirects:
		return fmt.Errorf("stopped after %d redirects", x.c.Redirects)
	}
	if x.away = x.away || !sameHost(via[0].URL, next.URL); !x.away {
		return nil
	}
	for _, name := range slices.Concat(private, x.secretHeaders) {
		next.Header.Del(name)
	}
	address := next.URL.String()
	switch {
	case x.secretBody && next.Body != nil:
		return x.refuse(next.URL, "the body holds a secret")
	case x.hidden.text(address, 0) != address:
		return x.refuse(next.URL, "the address holds a secret")
	}
	return nil
}

func (x *exchange) refuse(to *url.URL, why string) error {
	return &domain.Failure{Kind: domain.KindPermanent, Code: "REDIRECT", Err: fmt.Errorf(
		"%s was redirected to another host, %s, and %s: write the url of that host, or set redirects to 0", x.what, to.Host, why)}
}

// sameHost reports whether b is served by whom a names: the same name and port, or the same name when b only adds TLS at
// the standard ports.
func sameHost(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	return a.Scheme == b.Scheme && port(a) == port(b) || a.Scheme == "http" && b.Scheme == "https" && port(a) == "80" && port(b) == "443"
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// withoutURL takes off what http.Client puts around an error.
func withoutURL(err error) error {
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		return outer.Err
	}
	return err
}
