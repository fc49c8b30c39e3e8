// Package docs tests the pages of this folder. What they show of Caddyfiles and
// commands is run where it belongs, in caddymodule and cmd/wxgate.
package docs

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run TestConfigurationReference . -update

var update = flag.Bool("update", false, "write the tables of configuration.md again")

// TestConfigurationReference holds the tables of configuration.md to the code:
// the comments of the parser say which words there are, those of the fields that
// they are stored in say what they mean.
func TestConfigurationReference(t *testing.T) {
	src := readSource(t, "../caddymodule")
	raw, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	marked := regexp.MustCompile(`(?s)(<!-- options of (\w+) -->\n).*?(<!-- end -->)`)
	tables := 0
	got := marked.ReplaceAllStringFunc(string(raw), func(section string) string {
		tables++
		m := marked.FindStringSubmatch(section)
		table, err := src.table(m[2])
		if err != nil {
			t.Error(err)
		}
		return m[1] + table + m[3]
	})
	if tables != 4 {
		t.Errorf("%d tables are marked, not 4", tables)
	}
	if *update && !t.Failed() {
		if err := os.WriteFile("configuration.md", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(raw), got); diff != "" {
		t.Errorf("configuration.md is stale, run: make reference (-page +code)\n%s", diff)
	}
}

// TestParserKnowsTheOptionsOfTheReference, no more and no less.
func TestParserKnowsTheOptionsOfTheReference(t *testing.T) {
	src := readSource(t, "../caddymodule")
	listed := map[string]bool{}
	var list func(lines []line)
	list = func(lines []line) {
		for _, l := range lines {
			for _, name := range l.names() {
				listed[name] = true
			}
			list(l.block)
		}
	}
	for _, name := range []string{"parseApp", "sms", "parseHandler", "parseAPI"} {
		list(src.grammar(name))
	}
	for _, whole := range []string{"wxgate", "wxgate_api", "sms aliyun", "sms tencent", "sms webhook", "sms log"} {
		delete(listed, whole)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(src.parsed())), slices.Sorted(maps.Keys(listed))); diff != "" {
		t.Errorf("options that the parser reads, and those that its comments show (-read +shown)\n%s", diff)
	}
}

// TestKindsOfWordsAreExplained: configuration.md says how each <word> is written,
// and explains none that is not there.
func TestKindsOfWordsAreExplained(t *testing.T) {
	raw, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	legend, tables, _ := strings.Cut(string(raw), "\n## The global option\n")
	kinds := func(rows string) []string {
		found := map[string]bool{}
		for _, cell := range regexp.MustCompile("(?m)^\\| (`.*?`) \\| ").FindAllStringSubmatch(rows, -1) {
			for _, kind := range regexp.MustCompile(`<([a-z. ]+)>`).FindAllStringSubmatch(cell[1], -1) {
				found[kind[1]] = true
			}
		}
		return slices.Sorted(maps.Keys(found))
	}
	if diff := cmp.Diff(kinds(tables), kinds(legend)); diff != "" {
		t.Errorf("(-used +explained)\n%s", diff)
	}
}

// rows are the options of a block: as the parser shows them, and the struct that
// says what they mean.
type rows struct {
	lines  []line
	of     string
	within string // the words before the block; empty: the outermost one
}

// table writes the options that a function parses as a table in Markdown.
func (s *source) table(function string) (string, error) {
	var b strings.Builder
	b.WriteString("| option | default | meaning | example |\n|---|---|---|---|\n")
	lines := s.grammar(function)
	if outer := map[string]string{"parseApp": "App", "parseHandler": "Handler", "parseAPI": "API"}[function]; outer != "" {
		err := s.write(&b, rows{lines: lines[0].block, of: outer})
		return b.String(), err
	}
	for _, l := range lines {
		carrier := strings.TrimPrefix(l.names()[0], "sms ")
		if err := s.write(&b, rows{lines: []line{l}, of: "SMS" + strings.ToUpper(carrier[:1]) + carrier[1:]}); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func (s *source) write(b *strings.Builder, r rows) error {
	for _, l := range r.lines {
		var found []*option
		for _, name := range l.names() {
			o := s.structs[r.of].find(name, l.usage)
			if o == nil {
				return fmt.Errorf("no field of %s has an example of %s", r.of, name)
			}
			found = append(found, o)
		}
		first, rest, _ := strings.Cut(l.usage, " ")
		for i, name := range l.names() {
			usage := l.usage
			if found[0] != found[len(found)-1] { // each has a field of its own
				usage = strings.TrimSpace(name + " " + rest)
			} else if i > 0 {
				break
			}
			if err := found[i].write(b, usage, l, r.within); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if l.block == nil {
			continue
		}
		if err := s.write(b, rows{lines: l.block, of: found[0].inner, within: strings.Join(l.names(), "|")}); err != nil {
			return fmt.Errorf("%s: %w", first, err)
		}
	}
	return nil
}

// write writes the row of an option; one that is nothing but a block has none.
func (o *option) write(b *strings.Builder, usage string, l line, within string) error {
	if o.examples == nil {
		return nil
	}
	if o.meaning == "" || o.byDefault == "" && !o.isType {
		return fmt.Errorf("its comment lacks a meaning or a default")
	}
	if within != "" {
		usage = within + " { " + usage + " }"
	}
	meaning := regexp.MustCompile(`docs/(\w+\.md(?:#[\w-]+)?)`).ReplaceAllStringFunc(o.meaning, func(page string) string {
		name, _, _ := strings.Cut(page, "#")
		return "[" + name + "](" + strings.TrimPrefix(page, "docs/") + ")"
	})
	if l.repeatable {
		meaning += " Repeatable."
	}
	var examples []string
	for _, e := range o.examples {
		examples = append(examples, "`"+e+"`")
	}
	cells := []string{"`" + usage + "`", o.byDefault, meaning, strings.Join(examples, ", ")}
	for i := range cells {
		cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
	}
	_, err := fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	return err
}
