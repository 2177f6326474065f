package httphandler

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Values of proxy that are no url.
const (
	proxyEnvironment = ""
	proxyNone        = "none"
)

var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

func checkURL(template string) error {
	if template == "" {
		return errors.New("is missing: write it like https://shop.example/orders/${context.order}")
	}
	if err := handlerconfig.CheckSecret(template); err != nil {
		return err
	}
	text, ok := handlerconfig.Sample(template) // with values that may stand for a host, a port and a key
	if !ok {
		return nil
	}
	_, err := parseURL(text)
	return err
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q begins neither with http:// nor with https://", text)
	case u.Host == "":
		return nil, fmt.Errorf("%q has no host", text)
	}
	return u, nil
}

func checkProxy(template string) error {
	if template == proxyEnvironment || template == proxyNone {
		return nil
	}
	if err := handlerconfig.CheckSecret(template); err != nil {
		return err
	}
	text, ok := handlerconfig.Sample(template)
	if !ok {
		return nil
	}
	_, err := parseProxy(text)
	return err
}

func parseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err == nil && (!slices.Contains(proxySchemes, u.Scheme) || u.Host == "") {
		err = fmt.Errorf("%q is no proxy: write it like http://proxy.example:3128, with http, https, socks5 or socks5h, "+
			"none for a direct connection, or leave it out for the proxy of the environment", text)
	}
	return u, err
}

func checkHeader(value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("a header cannot hold line breaks and other control characters")
	}
	return nil
}

// isToken: RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
