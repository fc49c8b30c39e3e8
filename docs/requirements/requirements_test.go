// Package requirements holds what the gateway promises, line by line, and the
// tests that show each line. docs/features.md is made from it:
//
//	make features
package requirements

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write docs/features.md anew")

const page = "../features.md"

// A document is one of the lists beside this file.
type document struct {
	Title string
	About string // what the list is, in a sentence or two
	Parts []part
}

type part struct {
	Title string
	Lines []line
}

// A line is one promise. Tests names who would fail without it, each as
// package.Test or package.Test/part, where a package is called as its folder.
type line struct {
	ID    string
	Holds string
	Tests []string
}

func parse(raw []byte) (d document, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	err = dec.Decode(&d)
	return d, err
}

// documents reads the lists in the order of the page.
func documents(t *testing.T) (all []document) {
	t.Helper()
	for _, name := range []string{"security.yaml", "linking.yaml", "contract.yaml"} {
		all = append(all, read(t, name))
	}
	return all
}

func read(t *testing.T, name string) document {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := parse(raw)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// problems tells what is wrong with the lists.
func problems(all []document, tests map[string]*testPackage) (found []string) {
	for _, d := range all {
		ids := map[string]bool{}
		for _, p := range d.Parts {
			for _, l := range p.Lines {
				for _, problem := range l.problems(tests) {
					found = append(found, l.ID+": "+problem)
				}
				if ids[l.ID] {
					found = append(found, l.ID+": there are two of it")
				}
				ids[l.ID] = true
			}
		}
	}
	return found
}

func (l line) problems(tests map[string]*testPackage) (found []string) {
	if l.ID == "" || l.Holds == "" {
		found = append(found, "says nothing")
	}
	if len(l.Tests) == 0 {
		found = append(found, "no test shows it")
	}
	for i, name := range l.Tests {
		if _, err := find(name, tests); err != nil {
			found = append(found, err.Error())
		}
		if slices.Contains(l.Tests[:i], name) {
			found = append(found, name+" is named twice")
		}
	}
	return found
}

// find returns the file of a test.
func find(name string, tests map[string]*testPackage) (file string, err error) {
	test, part, parted := strings.Cut(name, "/")
	pkg, test, _ := strings.Cut(test, ".")
	p := tests[pkg]
	if p == nil || p.files[test] == "" {
		return "", fmt.Errorf("there is no test %s.%s", pkg, test)
	}
	if p.skips[test] {
		return "", fmt.Errorf("%s.%s may be skipped", pkg, test)
	}
	file = p.files[test]
	if parted && !p.parts[file][part] && !p.parts[""][part] {
		return "", fmt.Errorf("%s.%s has no part %q", pkg, test, part)
	}
	return file, nil
}

func TestEveryPromiseHasATest(t *testing.T) {
	for _, problem := range problems(documents(t), testPackages(t, os.DirFS("../.."))) {
		t.Error(problem)
	}
}

func TestThePageShowsTheseLists(t *testing.T) {
	made := render(documents(t), testPackages(t, os.DirFS("../..")))
	if *update {
		if err := os.WriteFile(page, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(made, "\n"), strings.Split(string(raw), "\n")); diff != "" {
		t.Errorf("docs/features.md is not what these lists make; run: make features\n%s", diff)
	}
}

// render makes the page.
func render(all []document, tests map[string]*testPackage) string {
	var b strings.Builder
	b.WriteString("# What holds, and what shows it\n\n" +
		"<!-- Made from docs/requirements by: make features -->\n\n" +
		"Each line is a promise of the gateway, with the tests that fail where it is broken. " +
		"Behind a slash stands the part of the test that shows it. `make test` fails where a line has no test.\n")
	for _, d := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", d.Title, d.About)
		for _, p := range d.Parts {
			fmt.Fprintf(&b, "\n### %s\n\n| | what holds | shown by |\n|---|---|---|\n", p.Title)
			for _, l := range p.Lines {
				var shown []string
				for _, name := range l.Tests {
					file, _ := find(name, tests)
					shown = append(shown, fmt.Sprintf("[%s](../%s)", cell(name), file))
				}
				fmt.Fprintf(&b, "| %s | %s | %s |\n", l.ID, cell(l.Holds), strings.Join(shown, "<br>"))
			}
		}
	}
	return b.String()
}

// cell lets a text stand in a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// Whoever adds a row to the tables of account linking says here what shows it.
func TestEveryRowOfTheTablesIsAPromise(t *testing.T) {
	raw, err := os.ReadFile("../linking.md")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, p := range read(t, "linking.yaml").Parts {
		for _, l := range p.Lines {
			ids[l.ID] = true
		}
	}
	for _, row := range regexp.MustCompile(`\b(G[0-9]|N[0-9][bc]?|W[0-9]+|P[0-9]|O[0-9])\b`).FindAllString(string(raw), -1) {
		if !ids[row] {
			t.Errorf("row %s of docs/linking.md is no promise", row)
			ids[row] = true // said once
		}
	}
}

func TestFaultsOfAListAreFound(t *testing.T) {
	tree := fstest.MapFS{
		"internal/gate/a_test.go":       {Data: []byte("package gate\n\nfunc TestA(t *testing.T) { t.Run(\"one part\", nil) }\n\nfunc TestB(t *testing.T) { t.Skip() }\n\nfunc Testimony() {}\n")},
		"internal/gate/b_test.go":       {Data: []byte("package gate\n\nconst other = \"elsewhere\"\n")},
		"internal/gate/testdata/x.yaml": {Data: []byte("- id: L01\n")},
	}
	tests := testPackages(t, fs.FS(tree))
	for name, tt := range map[string]struct {
		lines string
		want  []string
	}{
		"in order":           {"- {id: A1, holds: it holds, tests: [gate.TestA, gate.TestA/one part, gate.TestA/L01]}", nil},
		"no test":            {"- {id: A1, holds: it holds}", []string{"A1: no test shows it"}},
		"unknown test":       {"- {id: A1, holds: it holds, tests: [gate.TestC]}", []string{"A1: there is no test gate.TestC"}},
		"a skipped test":     {"- {id: A1, holds: it holds, tests: [gate.TestB]}", []string{"A1: gate.TestB may be skipped"}},
		"unknown package":    {"- {id: A1, holds: it holds, tests: [gates.TestA]}", []string{"A1: there is no test gates.TestA"}},
		"no test by name":    {"- {id: A1, holds: it holds, tests: [gate.Testimony]}", []string{"A1: there is no test gate.Testimony"}},
		"unknown part":       {"- {id: A1, holds: it holds, tests: [gate.TestA/two parts]}", []string{`A1: gate.TestA has no part "two parts"`}},
		"part of another":    {"- {id: A1, holds: it holds, tests: [gate.TestA/elsewhere]}", []string{`A1: gate.TestA has no part "elsewhere"`}},
		"a test named twice": {"- {id: A1, holds: it holds, tests: [gate.TestA, gate.TestA]}", []string{"A1: gate.TestA is named twice"}},
		"one id twice":       {"- {id: A1, holds: it holds, tests: [gate.TestA]}\n  - {id: A1, holds: and this, tests: [gate.TestA]}", []string{"A1: there are two of it"}},
		"nothing promised":   {"- {id: A1, tests: [gate.TestA]}", []string{"A1: says nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := parse([]byte("title: A\nparts:\n- title: B\n  lines:\n  " + tt.lines + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, problems([]document{d}, tests)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
