package webhook

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestSign holds the signature to the example of the Standard Webhooks
// libraries.
func TestSign(t *testing.T) {
	t.Parallel()
	key, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	a, b := NewSecret(), NewSecret()
	if key, err := ParseSecret(a); err != nil || len(key) != 32 || a == b {
		t.Errorf("made %s and %s: %v", a, b, err)
	}
	for _, bad := range []string{
		"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!", "whsec_c2hvcnQ=", "whsec_" + strings.Repeat("AAAA", 22),
	} {
		if _, err := ParseSecret(bad); err == nil {
			t.Errorf("%s is taken for a secret", bad)
		}
	}
}

// TestPublic tells addresses of the internet from those that a stranger must not
// have called.
func TestPublic(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"8.8.8.8": true, "172.15.0.1": true, "172.32.0.1": true, "100.63.0.1": true, "2606:4700::1": true,
		"64:ff9b::808:808": true, "::ffff:8.8.8.8": true, "2002:808:808::1": true,
		"127.0.0.1": false, "127.255.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "192.0.0.8": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fd00::1": false, "ff02::1": false, "2001:db8::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "::7f00:1": false, "fec0::1": false,
	} {
		port := netip.AddrPortFrom(netip.MustParseAddr(address), 443).String()
		if err := CheckAddress(port); (err == nil) != want || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", port, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://example.com/hook?a=b": "", "http://example.com:8080": "", "https://[2606:4700::1]/": "",
		"": "must look like", "example.com": "must look like", "ftp://example.com": "must look like", "https://": "must look like",
		"https://:80/": "must look like", "http://a b/": "must look like", "file:///etc/passwd": "must look like",
		"https://user@example.com": "user", "https://example.com/#a": "fragment",
		"http://localhost/": "not public", "http://LOCALHOST.:80/": "not public", "http://a.localhost/": "not public",
		"http://127.0.0.1/": "not public", "http://[::1]:80/": "not public", "http://169.254.169.254/latest": "not public",
	} {
		shape, public := CheckURL(url), CheckPublic(url)
		err := shape
		if shape == nil {
			err = public
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
		if (shape == nil) != (want == "" || want == "not public") {
			t.Errorf("%q with private addresses: %v", url, shape)
		}
	}
}
