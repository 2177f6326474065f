package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// AddressError: a webhook's name leads to a place that is not on the public internet.
type AddressError struct {
	Address netip.Addr
	Plain   bool // it is public, and http goes to allowed networks only
}

func (e *AddressError) Error() string {
	if e.Plain {
		return fmt.Sprintf("%s is not in a network of allow, and only those are sent to without TLS", e.Address)
	}
	return fmt.Sprintf("%s is not a public address: if it is meant, name its network in allow, such as %s/%d", e.Address, e.Address, e.Address.BitLen())
}

// private lists, besides what netip.Addr knows itself, what is not on the public internet (the registries of special-purpose
// addresses of IANA), and the ways to write an IPv4 address inside of an IPv6 one.
var private = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"240.0.0.0/4",
	"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
)

// nat64 is how hosts without IPv4 write an IPv4 address (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// permitted says why nothing may be sent to the address.
func permitted(ip netip.Addr, allow []netip.Prefix, plain bool) error {
	ip = ip.Unmap().WithZone("")
	if inside(ip, allow) {
		return nil
	}
	if nat64.Contains(ip) { // what the gateway makes of it counts
		last := ip.As16()
		return permitted(netip.AddrFrom4([4]byte(last[12:])), allow, plain)
	}
	if plain {
		return &AddressError{ip, true}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || inside(ip, private) {
		return &AddressError{ip, false}
	}
	return nil
}

func inside(ip netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// dialer asks permitted about the address that a name has led to, so that nothing can change in between.
func dialer(allow []netip.Prefix, plain bool, timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%q is no address: %w", address, err)
		}
		return permitted(at.Addr(), allow, plain)
	}}
}
