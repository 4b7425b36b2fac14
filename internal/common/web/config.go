package web

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// configuration is the answer of /config.
type configuration struct {
	Body struct {
		Environment   config.Environment `json:"environment"`
		Common        Object             `json:"common"`
		Orchestration *Object            `json:"orchestration,omitempty"`
		Worker        *Object            `json:"worker,omitempty"`
		Metadata      configMetadata     `json:"metadata"`
	}
}

type configMetadata struct {
	Timestamp time.Time      `json:"timestamp" doc:"When the answer was made"`
	LoadedAt  time.Time      `json:"loaded_at" doc:"When the configuration was last loaded"`
	Source    string         `json:"source" enum:"runtime"`
	Context   config.Context `json:"context" doc:"What it was loaded for"`
	Sources   []string       `json:"sources" doc:"The files, each laid over the ones before it"`
	Hash      string         `json:"hash" doc:"Of all values but secrets; equal configurations have equal hashes"`
	Redacted  []string       `json:"redacted_fields" doc:"The keys whose value is not, or not wholly, shown"`
	Pending   []string       `json:"pending_restart" doc:"The keys to which the files now give a value that needs a restart"`
	// Values has an entry for every setting.
	Values map[string]configOrigin `json:"values" doc:"By key: where the value comes from, and a hash to compare it by"`
}

type configOrigin struct {
	Origin string `json:"origin" doc:"The layers of the value, the one in effect first; shows no secret"`
	Hash   string `json:"hash" doc:"Of key and value, the same in every process; slow to make for secrets, so that guessing is"`
}

// HandleConfig adds GET /config, which says what configuration is in effect,
// where each value comes from, and no secret. In production known callers alone
// may see it.
func HandleConfig(a *API, needs permission.Permission, p config.Provider) {
	var answer configAnswer
	Handle(a, Route{
		ID: "config", Method: http.MethodGet, Path: "/config", Group: "system", Permission: needs, Aside: true,
		Summary: "Say what configuration is in effect, without its secrets",
		Detail:  "Refused in production where the server does not know who calls.",
		Codes:   []Code{Forbidden, NotFound},
	}, func(ctx context.Context, _ *struct{}) (*configuration, error) {
		live, ok := p.(*config.Live)
		if !ok {
			return nil, newProblem(NotFound, "the program was given its configuration as values, which have no origin; "+
				"one that loads it with config.LoadLive can tell", requestID(ctx))
		}
		if live.Current().Common.Environment == config.Production && auth.CallerOf(ctx) == nil {
			return nil, newProblem(Forbidden, "in production the configuration is shown to known callers only, and this server does "+
				"not ask who calls; tasker-cli config dump shows what the files come to", requestID(ctx))
		}
		return answer.of(live)
	})
}

// configAnswer is the answer to the last request: fingerprints of secrets take
// long to make.
type configAnswer struct {
	mu     sync.Mutex
	loaded *config.Loaded
	made   *configuration
}

func (c *configAnswer) of(live *config.Live) (*configuration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if loaded := live.Loaded(); c.loaded != loaded {
		made, err := newConfiguration(loaded)
		if err != nil {
			return nil, err
		}
		c.loaded, c.made = loaded, made
	}
	out := *c.made
	out.Body.Metadata.Timestamp, out.Body.Metadata.LoadedAt = time.Now().UTC(), live.Stats().Last.UTC()
	out.Body.Metadata.Pending = append([]string{}, live.Pending()...)
	return &out, nil
}

func newConfiguration(loaded *config.Loaded) (*configuration, error) {
	tree, redacted := config.Redact(loaded.Effective())
	out := &configuration{}
	out.Body.Environment = loaded.Config.Common.Environment
	for _, section := range tree.Keys() {
		data, err := tree.Lookup(section).MarshalJSON()
		if err != nil {
			return nil, err
		}
		switch object := (Object{data}); section {
		case "common":
			out.Body.Common = object
		case "orchestration":
			out.Body.Orchestration = &object
		case "worker":
			out.Body.Worker = &object
		}
	}
	values := map[string]configOrigin{}
	for _, s := range loaded.Settings() {
		hash, err := s.Fingerprint()
		if err != nil {
			return nil, err
		}
		values[s.Key] = configOrigin{Origin: s.Origin(), Hash: hash}
	}
	out.Body.Metadata = configMetadata{
		Source: "runtime", Context: loaded.Context, Sources: loaded.Sources, Hash: loaded.Hash(),
		Redacted: append([]string{}, redacted...), Values: values,
	}
	return out, nil
}
