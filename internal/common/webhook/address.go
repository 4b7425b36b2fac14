package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// ErrRefused marks an address that webhooks may not call.
var ErrRefused = errors.New("orchestration.webhooks.allow_private_addresses is off")

// CheckAddress says whether the address that a name was resolved to, with its
// port, may be called.
func CheckAddress(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the address %s does not parse: %w", address, ErrRefused)
	}
	if !public(at.Addr()) {
		return fmt.Errorf("the address %s is not public: %w", at.Addr(), ErrRefused)
	}
	return nil
}

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

// public reports whether an address is one of the internet at large.
func public(a netip.Addr) bool {
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
			return public(netip.AddrFrom4([4]byte(raw[at : at+4])))
		}
	}
	return true
}

// CheckURL says what is wrong with the URL of a webhook.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("the url must look like https://example.com/path")
	case u.User != nil:
		return errors.New("the url must not hold a user or a password; receivers check the signature")
	case u.Fragment != "":
		return errors.New("the url must not have a fragment")
	}
	return nil
}

// CheckPublic refuses a URL that names an address which is not public, as far as
// that shows without resolving a name.
func CheckPublic(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return nil //nolint:nilerr // CheckURL says so
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	address, err := netip.ParseAddr(host)
	if err == nil && !public(address) || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return fmt.Errorf("the url names an address that is not public: %w", ErrRefused)
	}
	return nil
}
