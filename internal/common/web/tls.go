package web

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
)

// accept answers what comes in by a listener, encrypted if so configured.
func (a *API) accept(server *http.Server, listener net.Listener) error {
	files := a.rules.Load().tls
	if !files.Enabled {
		return server.Serve(listener)
	}
	c := &certificate{}
	if _, err := c.read(files); err != nil {
		_ = listener.Close() // nothing was accepted
		return fmt.Errorf("%s.tls: %w", a.settings.Section, err)
	}
	server.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := c.read(a.inForce(hello.Context()).tls)
			if err != nil {
				a.settings.Log.ErrorContext(hello.Context(), "certificate not read again; the one of before stays in use", "error", err)
			}
			return pair, nil
		},
	}
	return server.ServeTLS(listener, "", "")
}

// A certificate is read from its files when they have changed.
type certificate struct {
	mu     sync.Mutex
	files  config.TLS
	stamps [2]time.Time // when the files were last changed
	pair   *tls.Certificate
}

// read returns the certificate in the files. With an error, which comes once for
// each change, it is the one of before.
func (c *certificate) read(files config.TLS) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stamps [2]time.Time
	for i, name := range []string{files.CertPath, files.KeyPath} {
		if info, err := os.Stat(name); err == nil { // loading says what is wrong
			stamps[i] = info.ModTime()
		}
	}
	if c.files == files && c.stamps == stamps {
		return c.pair, nil
	}
	c.files, c.stamps = files, stamps
	pair, err := tls.LoadX509KeyPair(files.CertPath, files.KeyPath)
	if err != nil {
		return c.pair, fmt.Errorf("read the certificate: %w", err)
	}
	c.pair = &pair
	return c.pair, nil
}
