package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/common/publicnet"
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
	if !publicnet.Has(at.Addr()) {
		return fmt.Errorf("the address %s is not public: %w", at.Addr(), ErrRefused)
	}
	return nil
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
	if err == nil && !publicnet.Has(address) || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return fmt.Errorf("the url names an address that is not public: %w", ErrRefused)
	}
	return nil
}
