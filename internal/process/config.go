package process

import (
	"log/slog"

	"github.com/tasker-systems/tasker-go/config"
)

// LoadConfig loads what a process of the given context runs by and logs where
// it came from, what there is to say against it, and what was converted from
// the layout of v1.
func LoadConfig(c config.Context, log *slog.Logger) (*config.Config, error) {
	loaded, err := config.Resolve(c, config.Options{})
	if err != nil {
		return nil, err
	}
	log.Info("configuration loaded", "context", c, "environment", loaded.Config.Common.Environment, "sources", loaded.Sources)
	for _, p := range loaded.Warnings.Problems {
		log.Warn("configuration", "code", p.Code, "key", p.Key, "says", p.Message, "at", p.Pos.String(), "fix", p.Fix)
	}
	for _, note := range loaded.Notes {
		log.Info("configuration converted from the layout of v1", "note", note.String())
	}
	return loaded.Config, nil
}
