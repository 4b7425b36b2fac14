package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

func newConfigDocsCommand(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "docs",
		Short: "Print the reference of all keys, or write all documents",
		Long: "Print the reference of all keys as Markdown. With --output all documents are written\n" +
			"into a directory: the reference, the JSON Schema and an annotated file per section.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			files, err := documents()
			if err != nil {
				return err
			}
			if output == "" {
				_, err := env.Stdout.Write(files[referenceFile])
				return err
			}
			for _, name := range sortedKeys(files) {
				target := filepath.Join(output, name)
				if err := writeBelow(target, files[name]); err != nil {
					return err
				}
				fmt.Fprintf(env.Stderr, "wrote %s\n", target)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "directory to write into")
	return cmd
}

// The names of the documents.
const (
	referenceFile = "configuration-reference.md"
	schemaFile    = "schema/tasker.schema.json"
)

// documents returns everything that is made from the fields, by file name.
func documents() (map[string][]byte, error) {
	s, err := jsonSchema()
	if err != nil {
		return nil, err
	}
	var schema bytes.Buffer
	enc := json.NewEncoder(&schema)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	reference, err := referenceDocument()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{referenceFile: reference, schemaFile: schema.Bytes()}
	base := config.Base()
	for _, section := range base.Keys() {
		files["schema/"+section+".toml"] = annotated(section, base.Lookup(section))
	}
	return files, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// annotated returns the file of a section with what there is to say above each
// key. It is valid, and loads to what base does.
func annotated(section string, table *tomltree.Value) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "#:schema ./%s\n#\n", filepath.Base(schemaFile))
	comment(&b, "Every key of "+section+".toml with the value it has in base. Made by tasker-cli config docs.")
	annotate(&b, []string{section}, table)
	return b.Bytes()
}

// annotate writes the table at path.
func annotate(b *bytes.Buffer, path []string, table *tomltree.Value) {
	b.WriteByte('\n')
	if e := config.FindEntry(strings.Join(path, ".")); e.Doc != "" {
		comment(b, e.Doc)
	}
	fmt.Fprintf(b, "[%s]\n", tomltree.DottedKey(path...))
	for _, key := range table.Keys() {
		v := table.Lookup(key)
		if v.Kind() == tomltree.Table {
			continue
		}
		e := config.FindEntry(strings.Join(path, ".") + "." + key)
		b.WriteByte('\n')
		comment(b, e.Doc)
		comment(b, kindText(e)+".")
		fmt.Fprintf(b, "%s = %s\n", tomltree.DottedKey(key), v.Inline())
	}
	for _, key := range table.Keys() {
		if v := table.Lookup(key); v.Kind() == tomltree.Table {
			annotate(b, append(slices.Clip(path), key), v)
		}
	}
}

func comment(b *bytes.Buffer, text string) {
	for _, line := range wrap(text, 78) {
		fmt.Fprintf(b, "# %s\n", line)
	}
}

// kindText says in a sentence without its full stop what values a key takes.
func kindText(e *config.Entry) string {
	text := strings.ToUpper(e.Type[:1]) + e.Type[1:]
	if e.Unit != "" {
		text += " (" + e.Unit + ")"
	}
	if e.Bounds != "" {
		text += ", " + e.Bounds
	}
	if len(e.Choices) > 0 {
		text += ": " + strings.Join(e.Enum, ", ")
	}
	if e.Secret {
		text += ", secret"
	}
	return text
}

// referenceDocument returns a page of all keys.
func referenceDocument() ([]byte, error) {
	overrides, err := shippedOverrides()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# Configuration reference\n\n" +
		"Every key of the tree, as the comments and tags in the code describe it. Made by `tasker-cli config\n" +
		"docs`; `tasker-cli config explain KEY` says the same of one key, with its value in each environment.\n" +
		"How files are found and laid over each other: [configuration.md](configuration.md).\n\n" +
		"*Default* is the value of the shipped base, *overrides* are those of the shipped environments. A key\n" +
		"marked † may be left out of every file, one marked ↻ changes in a running server that loads its files\n" +
		"anew (SIGHUP); the others need a restart. One that is **not yet live** is checked and kept, and no test\n" +
		"proves that it changes what the system does; `tasker-cli config detect-unused` lists these.\n")
	config.Reference().Walk(func(e *config.Entry) {
		if !e.IsTable() || e.Key == "" {
			return
		}
		if !strings.Contains(e.Key, ".") {
			fmt.Fprintf(&b, "\n## %s.toml\n", e.Key)
		}
		writeReference(&b, e, overrides)
	})
	return b.Bytes(), nil
}

// writeReference writes the part of one table.
func writeReference(b *bytes.Buffer, table *config.Entry, overrides map[string]string) {
	if table.Kind == tomltree.Named || table.Kind == tomltree.Rows && len(table.Entries) == 0 {
		return // what is below it says it
	}
	fmt.Fprintf(b, "\n### [%s]\n\n", table.Key)
	if table.Doc != "" {
		fmt.Fprintf(b, "%s\n\n", sentence(table))
	}
	if table.Component != "" {
		fmt.Fprintf(b, "Read by %s.\n\n", table.Component)
	}
	head := false
	for _, e := range table.Entries {
		if e.IsTable() && e.Kind != tomltree.Rows {
			continue
		}
		if !head {
			head = true
			b.WriteString("| key | values | default | overrides | description |\n|---|---|---|---|---|\n")
		}
		name := "`" + e.Name() + "`"
		if e.Field.Default != "" {
			name += " †"
		}
		if e.IsLive() {
			name += " ↻"
		}
		description := sentence(e) + choicesText(e)
		if e.Component != table.Component {
			description += " Read by " + e.Component + "."
		}
		if isNotYetLive(e) {
			description += " **Not yet live.**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, cellText(kindText(e)), code(e.Base), overrides[e.Key], cellText(description))
	}
}

// choicesText says what the choices of a key mean.
func choicesText(e *config.Entry) string {
	var b strings.Builder
	for _, c := range e.Choices {
		if c.Doc != "" {
			fmt.Fprintf(&b, " `%s`: %s.", c.Text, c.Doc)
		}
	}
	return b.String()
}

// sentence returns the description of e, with a capital letter where the name
// stood that it begins with.
func sentence(e *config.Entry) string {
	return strings.Replace(e.Doc, e.Name(), "`"+e.Name()+"`", 1)
}

func cellText(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

// code sets a value as code, cut short where a table would burst.
func code(value string) string {
	const most = 60
	if value == "" {
		return ""
	}
	if len(value) > most {
		value = value[:most] + "…"
	}
	return "`" + cellText(value) + "`"
}

// shippedOverrides says for each key what the shipped environments make of it.
func shippedOverrides() (map[string]string, error) {
	overrides := map[string]string{}
	for _, e := range config.Environments() {
		loaded, err := config.Resolve(config.ContextComplete, config.Options{
			Environment: string(e), FS: config.Shipped(), Offline: true,
			LookupEnv: func(string) (string, bool) { return "", false },
		})
		if err != nil {
			return nil, err
		}
		for _, s := range loaded.Settings() {
			if top := s.Chain[0]; strings.HasPrefix(top.Pos.File(), "environments/") {
				text := fmt.Sprintf("%s: %s", e, code(top.Text))
				overrides[s.Key] = strings.TrimPrefix(overrides[s.Key]+", "+text, ", ")
			}
		}
	}
	return overrides, nil
}
