package webhooks

import (
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/webhook"
)

// newClient returns a client that follows no redirect, uses no proxy and, unless
// told otherwise, connects to public addresses only. It looks at the address it
// is about to connect to, after the name was resolved, so a name that changes
// its mind does not get around it.
func newClient(cfg config.Webhooks) *http.Client {
	dialer := &net.Dialer{Timeout: cfg.Timeout.Duration()}
	if !cfg.AllowPrivateAddresses {
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return webhook.CheckAddress(address) }
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: cfg.Timeout.Duration(),
			MaxResponseHeaderBytes: maxAnswer,
		},
	}
}
