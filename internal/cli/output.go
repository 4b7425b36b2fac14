package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print the result as JSON")
}

// printJSON prints v indented.
func printJSON(env Env, v any) error { return encodeTo(env, v, "  ") }

// printJSONLine prints v in one line.
func printJSONLine(env Env, v any) error { return encodeTo(env, v, "") }

func encodeTo(env Env, v any, indent string) error {
	var b bytes.Buffer // so that nothing is printed of what does not encode
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	_, err := env.Stdout.Write(b.Bytes())
	return err
}

// printYAML prints v as YAML: what it is as JSON, in the same order.
func printYAML(env Env, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	var node yaml.Node // YAML takes JSON as it is
	if err := yaml.Unmarshal(raw, &node); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	unstyle(&node)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&node), enc.Close()); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	_, err = env.Stdout.Write(b.Bytes())
	return err
}

// unstyle has a node, and all below it, written as YAML usually is. A string keeps
// its quotes where it would be read as something else without.
func unstyle(n *yaml.Node) {
	n.Style = 0
	for _, below := range n.Content {
		unstyle(below)
	}
}

// printTable prints a table.
func printTable(env Env, t *table) {
	for _, line := range t.lines(newScreen(env, env.Stdout)) {
		fmt.Fprintln(env.Stdout, line)
	}
}

// counted is a number and what it counts: 1 step, 2 steps, 4,000 steps.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(n) + " " + noun
}

// thousands writes a number that is not negative with commas.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// milliseconds writes a span of time as people read it: 4.2 ms, 1.25 s.
func milliseconds(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
}
