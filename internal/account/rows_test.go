package account

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source reads files of this package, all in one.
func source(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("there is no %s", pattern)
	}
	var all strings.Builder
	for _, f := range files {
		raw, err := os.ReadFile(f)
		must(t, err)
		all.Write(raw)
	}
	return all.String()
}

// The tables are the specification. Whoever lays them beside the code finds
// each row where it is decided, and each row at work in a case or in a test
// whose name begins with it.
func TestEveryRowIsDecidedAndTested(t *testing.T) {
	doc, err := os.ReadFile("../../docs/linking.md")
	must(t, err)
	rows := append(regexp.MustCompile(`\b(G[0-9]|N[0-9][bc]?|W[0-9]+|P[0-9]|O[0-9])\b`).FindAllString(string(doc), -1), "N-")
	slices.Sort(rows)
	rows = slices.Compact(rows)
	if len(rows) != 6+9+19+7+5 {
		t.Errorf("the tables have %d rows: %v", len(rows), rows)
	}

	decided := source(t, "decide*.go") + source(t, "link.go")
	tested := map[string]bool{}
	for _, name := range regexp.MustCompile(`\{"([A-Z][0-9-]+[bc]?)[:"]`).FindAllStringSubmatch(source(t, "*_test.go"), -1) {
		tested[name[1]] = true
	}
	for _, c := range readCases(t) {
		for _, row := range c.Rows {
			tested[row] = true
		}
	}
	for _, row := range rows {
		if !tested[row] {
			t.Errorf("row %s has neither a case nor a test", row)
		}
		if row[0] != 'O' && !regexp.MustCompile(`\b`+row+`\b`).MatchString(decided) && row != "N-" {
			t.Errorf("row %s is not named where it is decided", row)
		}
	}
	for _, row := range regexp.MustCompile(`\b(G[0-9]|N[0-9][bc]?|W[0-9]+|P[0-9])\b`).FindAllString(decided, -1) {
		if !slices.Contains(rows, row) {
			t.Errorf("the code names row %s, and the tables do not", row)
		}
	}
}

// What a decision may answer is expected by a case or by a table of this package.
func TestEveryCodeIsTested(t *testing.T) {
	decided := source(t, "decide*.go") + source(t, "link.go")
	expected := source(t, "testdata/linking.yaml") + source(t, "*_test.go")
	for _, code := range regexp.MustCompile(`(Code[A-Za-z]+) +Code = "([a-z_]+)"`).FindAllStringSubmatch(source(t, "account.go"), -1) {
		if regexp.MustCompile(`\b`+code[1]+`\b`).MatchString(decided) && !regexp.MustCompile(`(code: |, )`+code[2]+`\b`).MatchString(expected) {
			t.Errorf("nothing expects %s", code[2])
		}
	}
}
