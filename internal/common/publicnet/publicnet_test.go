package publicnet_test

import (
	"net/netip"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/publicnet"
)

// TestBorders goes to both sides of where networks end; what hides an address of
// IPv4 is looked through.
func TestBorders(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"9.255.255.255": true, "10.0.0.0": false, "10.255.255.255": false, "11.0.0.0": true,
		"169.253.255.255": true, "169.254.0.0": false, "192.167.255.255": true, "192.168.0.0": false,
		"198.17.255.255": true, "198.19.255.255": false, "198.20.0.0": true, "239.255.255.255": false,
		"2606:4700::1": true, "fdff::1": false, "febf::1": false, "::ffff:169.254.169.254": false,
		"64:ff9b::a9fe:a9fe": false, "2002:a9fe:a9fe::": false, "2002:909:909::": true,
	} {
		if got := publicnet.Has(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
}
