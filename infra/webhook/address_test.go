package webhook

import (
	"net/netip"
	"testing"
)

func TestOnlyPublicAddressesAreSentTo(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
		"100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1", "2001:db8::1", "2001::1",
		"2002:7f00:1::", "2002:a9fe:a9fe::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "3fff::1", "5f00::1",
	} {
		if err := permitted(netip.MustParseAddr(text), nil, false); err == nil {
			t.Errorf("%s was permitted", text)
		}
	}
	for _, text := range []string{"1.1.1.1", "172.15.0.1", "172.32.0.1", "9.9.9.9", "2606:4700::1", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"} {
		if err := permitted(netip.MustParseAddr(text), nil, false); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if err := permitted(netip.MustParseAddr(text), prefixes("10.0.0.0/8"), true); err == nil {
			t.Errorf("%s was permitted without TLS", text)
		}
	}
	allow := prefixes("10.1.0.0/16", "fd00::/8")
	for text, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true, "fd12::1": true, "10.2.0.1": false, "127.0.0.1": false,
	} {
		for _, plain := range []bool{true, false} {
			if err := permitted(netip.MustParseAddr(text), allow, plain); (err == nil) != want {
				t.Errorf("%s, plain %v: %v, want permitted = %v", text, plain, err, want)
			}
		}
	}
}
