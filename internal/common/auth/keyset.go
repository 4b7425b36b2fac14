package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/publicnet"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

// Bounds on fetching keys.
const (
	fetchTimeout = 5 * time.Second
	fetchPause   = 10 * time.Second // between two tries, whatever tokens name
	maxKeySet    = 256 << 10        // bytes
)

// A source is where keys are fetched from, and how.
type source struct {
	url            string
	refresh, stale time.Duration
	allowPrivate   bool
}

func sourceOf(cfg *config.Credentials) source {
	return source{cfg.JWKSURL, cfg.JWKSRefreshInterval.Duration(), cfg.JWKSMaxStale.Duration(), cfg.JWKSAllowPrivateAddresses}
}

// A keySet keeps the keys of a JSON Web Key Set. They are fetched when a token
// needs them, and again when they are older than the refresh interval, or when a
// token names one that is not there. Keys that cannot be fetched again are good
// for a while longer.
type keySet struct {
	source source
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	keys    []signingkey.Key
	fetched time.Time     // when they were; zero: never
	tried   time.Time     // when fetching last began
	busy    chan struct{} // closed when the fetch under way ends; nil: none is
}

func newKeySet(s source, log *slog.Logger) *keySet {
	dialer := &net.Dialer{Timeout: fetchTimeout}
	if !s.allowPrivate {
		dialer.Control = onlyPublic
	}
	return &keySet{source: s, log: log, now: time.Now, client: &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// No proxy: it would connect where this process must not.
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: fetchTimeout, MaxResponseHeaderBytes: 32 << 10,
		},
	}}
}

// onlyPublic refuses to connect to addresses in somebody's own network. It sees
// the address after the name was resolved.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !publicnet.Has(at.Addr()) {
		return fmt.Errorf("the address %s is not public, and jwks_allow_private_addresses is off", address)
	}
	return nil
}

// find returns the keys of that id, all of them when it is empty. The error says
// that there are none that are still good.
func (s *keySet) find(ctx context.Context, id string) ([]signingkey.Key, error) {
	keys, age, err := s.current()
	found := named(keys, id)
	if err == nil && age <= s.source.refresh && len(found) > 0 {
		return found, nil
	}
	// Who has keys that may still be used need not wait for somebody else's fetch.
	if busy := s.fetch(ctx); busy != nil && len(found) == 0 {
		select {
		case <-busy:
		case <-ctx.Done():
		}
	}
	keys, _, err = s.current()
	return named(keys, id), err
}

func named(keys []signingkey.Key, id string) []signingkey.Key {
	if id == "" {
		return append([]signingkey.Key{}, keys...)
	}
	var found []signingkey.Key
	for _, k := range keys {
		if k.ID == id {
			found = append(found, k)
		}
	}
	return found
}

var errNoKeys = errors.New("no keys could be fetched for some time")

// current returns the keys that are still good, and their age.
func (s *keySet) current() (keys []signingkey.Key, age time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age = s.now().Sub(s.fetched); !s.fetched.IsZero() && age <= s.source.refresh+s.source.stale {
		return s.keys, age, nil
	}
	return nil, age, errNoKeys
}

// fetch fetches the keys, unless that was tried a moment ago. Where a fetch is
// under way it returns what is closed at its end. A request that goes away does
// not end it: others need the keys too.
func (s *keySet) fetch(ctx context.Context) (busy <-chan struct{}) {
	s.mu.Lock()
	if busy := s.busy; busy != nil {
		s.mu.Unlock()
		return busy
	}
	if !s.tried.IsZero() && s.now().Sub(s.tried) < fetchPause {
		s.mu.Unlock()
		return nil
	}
	ended := make(chan struct{})
	s.busy, s.tried = ended, s.now()
	s.mu.Unlock()

	keys, err := s.get(context.WithoutCancel(ctx))
	if err != nil {
		s.log.WarnContext(ctx, "keys for tokens not fetched", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys, s.fetched = keys, s.now()
	}
	s.busy = nil
	close(ended)
	return nil
}

func (s *keySet) get(ctx context.Context) ([]signingkey.Key, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.source.url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch keys: the answer is %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(body) > maxKeySet {
		return nil, fmt.Errorf("read keys: the answer is longer than %d bytes", maxKeySet)
	}
	return parseKeySet(body)
}
