package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// fetchPatience is how long a server may take to tell its configuration.
const fetchPatience = 10 * time.Second

// fetchSide asks a running server for its configuration, which it tells as
// {environment, common, orchestration and worker if it has them, metadata}.
func fetchSide(ctx context.Context, server string) (*side, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return nil, usage(errors.New("the server's URL does not look like http://127.0.0.1:8080")) // it may hold a password
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/config"
	}
	body, err := fetch(ctx, u)
	if err != nil {
		return nil, &ExitError{Code: ExitIO, Err: fmt.Errorf("ask %s: %w", u.Redacted(), err)}
	}
	var doc map[string]json.RawMessage
	var metadata serverMetadata
	err = json.Unmarshal(body, &doc)
	if err == nil && doc["metadata"] != nil {
		err = json.Unmarshal(doc["metadata"], &metadata)
	}
	if err != nil || doc["common"] == nil {
		return nil, &ExitError{Code: ExitIO, Err: fmt.Errorf("ask %s: the answer is no configuration", u.Redacted())}
	}
	s := &side{name: u.Redacted(), cells: map[string]cell{}}
	for _, section := range []string{"common", "orchestration", "worker"} {
		if tree := doc[section]; tree != nil && string(tree) != "null" {
			s.sections = append(s.sections, section)
			if err := s.addJSON(section, tree, metadata); err != nil {
				return nil, &ExitError{Code: ExitIO, Err: fmt.Errorf("ask %s: %w", u.Redacted(), err)}
			}
		}
	}
	return s, nil
}

// serverMetadata is what a server says of its configuration.
type serverMetadata struct {
	Redacted []string `json:"redacted_fields"`
	Values   map[string]struct {
		Origin string `json:"origin"`
		Hash   string `json:"hash"`
	} `json:"values"`
}

func fetch(ctx context.Context, u *url.URL) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err // without the URL, which may hold a password
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20)) // a configuration has 100 kB
	if err == nil && resp.StatusCode != http.StatusOK {
		var problem struct {
			Detail string `json:"detail"`
		}
		err = fmt.Errorf("the answer is %s", resp.Status)
		if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
			err = fmt.Errorf("%w: %s", err, problem.Detail)
		}
	}
	return body, err
}

// addJSON adds the settings below key.
func (s *side) addJSON(key string, tree json.RawMessage, metadata serverMetadata) error {
	var table map[string]json.RawMessage
	if err := json.Unmarshal(tree, &table); err != nil {
		canonical, err := canonicalJSON(tree)
		if err != nil {
			return err
		}
		e := config.FindEntry(key)
		secret := slices.Contains(metadata.Redacted, key) || e != nil && e.Secret && canonical != `""`
		s.keys = append(s.keys, key)
		told := metadata.Values[key]
		s.cells[key] = cell{
			Value: canonical, Origin: told.Origin, canonical: canonical, unknown: secret || strings.Contains(canonical, "***"),
			fingerprint: func() (string, error) { return told.Hash, nil },
		}
		return nil
	}
	for name, below := range table {
		if err := s.addJSON(key+"."+tomltree.DottedKey(name), below, metadata); err != nil {
			return err
		}
	}
	slices.Sort(s.keys)
	return nil
}
