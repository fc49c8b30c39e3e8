package caddymodule

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documentedOption is a row of the tables of options in docs/configuration.md,
// which are made of this package's comments.
type documentedOption struct {
	block    string // parseApp, sms, parseHandler or parseAPI
	within   string // the option in whose block it stands; empty: none
	usage    string
	examples []string
}

// name is what tests of effects call it.
func (o documentedOption) name() string {
	name, _, _ := strings.Cut(o.usage, " ")
	if o.within != "" && !strings.Contains(o.within, "|") {
		name = o.within + " " + name
	}
	return name
}

func documentedOptions(t *testing.T) (all []documentedOption) {
	t.Helper()
	raw, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := regexp.MustCompile(`(?s)<!-- options of (\w+) -->\n(.*?)<!-- end -->`).FindAllStringSubmatch(string(raw), -1)
	for _, table := range tables {
		for row := range strings.Lines(strings.ReplaceAll(table[2], `\|`, "\x00")) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), " | ")
			if len(cells) != 4 || !strings.HasPrefix(cells[0], " `") {
				continue
			}
			usage := strings.Trim(strings.ReplaceAll(cells[0], "\x00", "|"), " `")
			o := documentedOption{block: table[1], usage: usage}
			if within, inner, found := strings.Cut(strings.TrimSuffix(usage, " }"), " { "); found {
				o.within, o.usage = within, inner
			}
			for _, example := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3], -1) {
				o.examples = append(o.examples, example[1])
			}
			all = append(all, o)
		}
	}
	if len(all) < 60 {
		t.Fatalf("found only %d options", len(all))
	}
	return all
}

// TestExamplesOfTheReferenceAreRead, each in the block that it belongs to.
func TestExamplesOfTheReferenceAreRead(t *testing.T) {
	options := documentedOptions(t)
	blocks := map[string]string{"parseApp": "{\nwxgate {\n%s\n}\n}", "sms": "{\nwxgate {\n%s\n}\n}", "parseHandler": ":80 {\nwxgate {\n%s\n}\n}", "parseAPI": ":80 {\nwxgate_api {\n%s\n}\n}"}
	for _, o := range options {
		if len(o.examples) == 0 {
			t.Errorf("no example of %s", o.usage)
		}
		for _, example := range o.examples {
			lines := example
			switch {
			case o.within != "":
				lines = opening(options, o) + " {\n" + example + "\n}"
			case slices.ContainsFunc(options, func(inner documentedOption) bool { return inner.block == o.block && opening(options, inner) == example }):
				continue // it is read with the options of its block
			}
			if o.block == "parseHandler" {
				lines = oneExternalURL(lines)
			}
			caddyfile := fmt.Sprintf(blocks[o.block], lines)
			if got := adaptOrError(t, caddyfile); !strings.HasPrefix(got, "{") {
				t.Errorf("%s: %s\n%s", o.usage, got, caddyfile)
			}
		}
	}
}

// opening is the line that opens the block of an option: an example of it, if it
// has words of its own.
func opening(options []documentedOption, inner documentedOption) string {
	if inner.within == "" {
		return ""
	}
	outer, _, _ := strings.Cut(inner.within, "|")
	for _, o := range options {
		if o.block == inner.block && o.within == "" && strings.HasPrefix(o.examples[0]+" ", outer+" ") {
			return o.examples[0]
		}
	}
	return outer
}
