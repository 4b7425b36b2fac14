package process_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/process"
)

// TestLogger: level and format are what the environment says.
func TestLogger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ level, format, want string }{
		{"", "", "level=INFO msg=info\nlevel=WARN msg=warn\n"},
		{"WARN", "text", "level=WARN msg=warn\n"},
		{"warn", "json", `"level":"WARN","msg":"warn"}` + "\n"},
		{"nonsense", "JSON", `"level":"INFO","msg":"info"}` + "\n" + `"level":"WARN","msg":"warn"}` + "\n"},
	} {
		var out bytes.Buffer
		log := process.Logger(&out, tt.level, tt.format)
		log.Debug("debug")
		log.Info("info")
		log.Warn("warn")
		var got strings.Builder
		for line := range strings.Lines(out.String()) {
			got.WriteString(line[strings.Index(strings.ToLower(line), "level")-offset(tt.format):]) // what follows the time
		}
		if got.String() != tt.want {
			t.Errorf("%+v: got %s", tt, out.String())
		}
	}
}

// offset is by how much a key is longer than its name.
func offset(format string) int {
	if strings.EqualFold(format, "json") {
		return len(`"`)
	}
	return 0
}
