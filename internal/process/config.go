package process

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tasker-systems/tasker-go/config"
)

// LoadConfig loads what a process of the given context runs by and logs where
// it came from, what there is to say against it, and what was converted from
// the layout of v1. Until ctx ends, SIGHUP has it loaded anew: values that may
// change while the process runs do, the log names those that need a restart, and
// files that cannot be used change nothing.
func LoadConfig(ctx context.Context, c config.Context, log *slog.Logger) (*config.Live, error) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	live, err := config.LoadLive(c, config.Options{})
	if err != nil {
		signal.Stop(hangups)
		return nil, err
	}
	LogConfig(ctx, log, live.Loaded())
	Limit(ctx, live.Current(), log)
	go func() {
		defer signal.Stop(hangups)
		for {
			select {
			case <-hangups:
				reload(ctx, live, log)
			case <-ctx.Done():
				return
			}
		}
	}()
	return live, nil
}

// reload loads the configuration anew and logs what came of it.
func reload(ctx context.Context, live *config.Live, log *slog.Logger) {
	changes, err := live.Reload()
	if err != nil {
		log.ErrorContext(ctx, "configuration not reloaded; the values of before stay in effect", "error", err)
		return
	}
	for _, a := range changes.Applied {
		log.InfoContext(ctx, "setting changed", "key", a.Key, "from", a.From, "to", a.To)
	}
	for _, key := range changes.Pending {
		log.WarnContext(ctx, "setting changes at the next restart", "key", key)
	}
	logRemarks(ctx, log, live.Loaded())
	log.InfoContext(ctx, "configuration reloaded",
		append(describe(live.Loaded()), "changed", len(changes.Applied), "need_restart", len(changes.Pending))...)
}

// LogConfig logs where a configuration comes from and its hash, after what there
// is to say against it and what was converted from the layout of v1.
func LogConfig(ctx context.Context, log *slog.Logger, loaded *config.Loaded) {
	logRemarks(ctx, log, loaded)
	log.InfoContext(ctx, "configuration loaded", describe(loaded)...)
}

func describe(loaded *config.Loaded) []any {
	return []any{
		"context", loaded.Context, "environment", loaded.Config.Common.Environment, "hash", loaded.Hash(), "sources", loaded.Sources,
	}
}

func logRemarks(ctx context.Context, log *slog.Logger, loaded *config.Loaded) {
	for _, p := range loaded.Warnings.Problems {
		log.WarnContext(ctx, "configuration", "code", p.Code, "key", p.Key, "says", p.Message, "at", p.Pos.String(), "fix", p.Fix)
	}
	for _, note := range loaded.Notes {
		log.InfoContext(ctx, "configuration converted from the layout of v1", "note", note.String())
	}
}
