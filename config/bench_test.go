package config

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// benchTree is the shipped tree as both sides of the comparison can read it: the
// plain decoder knows no numbered tables.
func benchTree(b testing.TB) fstest.MapFS {
	b.Helper()
	tree := shippedWith(b, nil)
	file := tree["base/orchestration.toml"]
	const header = "[orchestration.backoff.default_backoff_seconds]\n0 = 1\n1 = 2\n2 = 4\n3 = 8\n4 = 16\n"
	text := strings.Replace(string(file.Data), header, "", 1)
	text = strings.Replace(text, "[orchestration.backoff]\n", "[orchestration.backoff]\ndefault_backoff_seconds = [1, 2, 4, 8, 16]\n", 1)
	if text == string(file.Data) || strings.Contains(text, header) {
		b.Fatal("the numbered table has changed")
	}
	file.Data = []byte(text)
	return tree
}

// BenchmarkLoad loads and validates the complete context of one environment:
// six files.
func BenchmarkLoad(b *testing.B) {
	opts := options(Test, "")
	opts.FS = benchTree(b)
	b.ReportAllocs()
	for b.Loop() {
		load(b, ContextComplete, opts)
	}
}

// BenchmarkPlainDecode decodes the same files one over the other into the same
// struct, and nothing else: no variables, no ranges, no places, no rules. Like a
// load it refuses unknown keys.
func BenchmarkPlainDecode(b *testing.B) {
	benchmarkDecode(b, func(data []byte, cfg *Config) error {
		return toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(cfg)
	})
}

// BenchmarkLaxDecode is BenchmarkPlainDecode without a look at unknown keys.
func BenchmarkLaxDecode(b *testing.B) {
	benchmarkDecode(b, func(data []byte, cfg *Config) error { return toml.Unmarshal(data, cfg) })
}

func benchmarkDecode(b *testing.B, decode func([]byte, *Config) error) {
	tree := benchTree(b)
	b.ReportAllocs()
	for b.Loop() {
		decodeFiles(b, tree, decode)
	}
}

func decodeFiles(b *testing.B, tree fs.FS, decode func([]byte, *Config) error) {
	cfg := &Config{}
	for _, section := range ContextComplete.sections() {
		for _, layer := range []string{"base/", "environments/test/"} {
			data, err := fs.ReadFile(tree, layer+section+".toml")
			if err == nil {
				err = decode(data, cfg)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSideBySide takes turns between a load and a lax decode, and compares
// the fastest tenth of each: on a machine that others use too, only runs that
// nobody interrupted tell anything.
func BenchmarkSideBySide(b *testing.B) {
	opts := options(Test, "")
	opts.FS = benchTree(b)
	var loads, decodes []time.Duration
	for b.Loop() {
		began := time.Now()
		load(b, ContextComplete, opts)
		between := time.Now()
		decodeFiles(b, opts.FS, func(data []byte, cfg *Config) error { return toml.Unmarshal(data, cfg) })
		loads = append(loads, between.Sub(began))
		decodes = append(decodes, time.Since(between))
	}
	slices.Sort(loads)
	slices.Sort(decodes)
	tenth := len(loads) / 10
	b.ReportMetric(float64(loads[tenth]), "ns/load")
	b.ReportMetric(float64(decodes[tenth]), "ns/decode")
	b.ReportMetric(float64(loads[tenth])/float64(decodes[tenth]), "load/decode")
}

// BenchmarkValidateAll validates every context in every environment.
func BenchmarkValidateAll(b *testing.B) {
	tree := benchTree(b)
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range Environments() {
			for _, c := range Contexts() {
				opts := options(e, "")
				opts.FS, opts.Offline = tree, true
				load(b, c, opts)
			}
		}
	}
}

// TestLoadAllocations keeps a load cheap.
func TestLoadAllocations(t *testing.T) {
	opts := options(Test, "")
	opts.FS = shippedWith(t, nil)
	const most = 400
	if got := testing.AllocsPerRun(10, func() { load(t, ContextComplete, opts) }); got > most {
		t.Errorf("a load allocates %.0f times, want at most %d", got, most)
	}
}
