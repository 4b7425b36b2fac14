// Package publicnet tells addresses of the public internet from those that lead
// into somebody's own network.
package publicnet

import "net/netip"

// reserved are networks that are not public, beyond those that net/netip knows
// by name (RFC 6890 and its registries).
var reserved = parsePrefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10")

// translated are networks whose addresses hold an IPv4 address, at this byte.
var translated = map[netip.Prefix]int{
	netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2, netip.MustParsePrefix("::/96"): 12,
}

func parsePrefixes(all ...string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(all))
	for i, p := range all {
		prefixes[i] = netip.MustParsePrefix(p)
	}
	return prefixes
}

// Has reports whether an address is one of the internet at large. An address that
// holds one of IPv4 counts as that one.
func Has(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	for p, at := range translated {
		if p.Contains(a) {
			raw := a.As16()
			return Has(netip.AddrFrom4([4]byte(raw[at : at+4])))
		}
	}
	return true
}
