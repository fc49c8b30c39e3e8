package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const monitoringDir = "../../docs/monitoring/"

// promtool runs Prometheus' own checks.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	must(t, err)
	return string(raw)
}

// metricsIn are the metrics that a text speaks of.
func metricsIn(text string) []string {
	var names []string
	for _, name := range regexp.MustCompile(`\bwxgate_[a-z_]+\b`).FindAllString(text, -1) {
		names = append(names, strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// documented are the metrics of the table in docs/operations.md, which another
// test compares with those that there are.
func documented(t *testing.T) []string {
	t.Helper()
	_, section, _ := strings.Cut(readFile(t, "../../docs/operations.md"), "\n## Metrics\n")
	var rows []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| `wxgate_") {
			rows = append(rows, cells[1])
		}
	}
	return metricsIn(strings.Join(rows, " "))
}

func TestAlertsAreSetOffByWhatTheySayAndByNothingElse(t *testing.T) {
	dir, rules := t.TempDir(), readFile(t, monitoringDir+"alerts.yaml")
	must(t, os.WriteFile(filepath.Join(dir, "alerts_under_test.yaml"), []byte(rules), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "test.yaml"), []byte(readFile(t, "testdata/alerts.yaml")), 0o644))
	promtool(t, dir, "check", "rules", "alerts_under_test.yaml")
	promtool(t, dir, "test", "rules", "test.yaml")
	for _, name := range metricsIn(rules) {
		if !slices.Contains(documented(t), name) {
			t.Errorf("there is no metric %s", name)
		}
	}
	g := prepare(t)
	for _, words := range regexp.MustCompile("`wxgate ([a-z -]+)`").FindAllStringSubmatch(rules, -1) {
		if out, err := g.command(append(strings.Fields(words[1]), "--help")...).CombinedOutput(); err != nil || !strings.Contains(string(out), words[1]) {
			t.Errorf("an alert names %s: %v\n%s", words[0], err, out)
		}
	}
}

// Every metric has its place on the dashboard, and Prometheus understands what
// it is asked there.
func TestTheDashboardShowsEveryMetric(t *testing.T) {
	raw := readFile(t, monitoringDir+"grafana.json")
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal([]byte(raw), &dashboard))
	type rule struct {
		Record, Expr string
	}
	var rules []rule
	var shown strings.Builder
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			shown.WriteString(target.Expr + "\n")
			rules = append(rules, rule{"shown", strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")})
		}
	}
	if diff := cmp.Diff(documented(t), metricsIn(shown.String())); diff != "" {
		t.Errorf("metrics of docs/operations.md and of the dashboard (-want +got):\n%s", diff)
	}
	groups, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "shown", "rules": rules}}})
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "shown.yaml"), groups, 0o644))
	promtool(t, dir, "check", "rules", "--lint=none", "shown.yaml")
}
