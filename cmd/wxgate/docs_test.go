package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCommandsOfTheDocumentation runs what the pages show, in their order,
// against a gateway with the people of aDay, one for each page.
func TestCommandsOfTheDocumentation(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, page := range append(pages, "../../README.md") {
		commands := commandsOf(t, page)
		if len(commands) == 0 {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			g := newGateway(t, "", aDay)
			g.write("map.csv", "old,new\no-li,n-li\no-new,n-new\n")
			g.write("customers.csv", "id,mobile,openid,unionid,registered\n42,13700137000,o-sun,u-sun,1714521600\n43,,o-qian,,\n")
			for _, command := range commands {
				ran++
				warns := command == "wxgate doctor" // of the pretend WeChat
				if got := g.shell(command); got.code != 0 && !(warns && got.code == 7) {
					t.Errorf("%s: exit %d\n%s%s", command, got.code, got.out, got.err)
				}
			}
		})
	}
	if ran < 10 {
		t.Errorf("only %d commands were found", ran)
	}
}

// TestTranscriptsOfTheDocumentation holds what pages show of a terminal to what
// the commands print, in the order of the page, on a day of aDay.
func TestTranscriptsOfTheDocumentation(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)(```console\n)(.*?)(```)")
	ran := 0
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := len(shown.FindAll(raw, -1))
		if ran += blocks; blocks == 0 {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			g := newGateway(t, "", aDay)
			got := shown.ReplaceAllStringFunc(string(raw), func(block string) string {
				m := shown.FindStringSubmatch(block)
				said := g.replay(m[2])
				if strings.Contains(said, "\nexit ") {
					t.Errorf("a command that fails is shown:\n%s", said)
				}
				return m[1] + said + m[3]
			})
			if *update {
				if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(raw), got); diff != "" {
				t.Errorf("(-page +got)\n%s", diff)
			}
		})
	}
	if ran < 5 {
		t.Errorf("only %d transcripts were found", ran)
	}
}

// commandsOf returns the lines of a page's shell blocks that run the gateway's
// own commands.
func commandsOf(t *testing.T, page string) (commands []string) {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(raw), "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		for _, line := range strings.Split(block, "\n") {
			if strings.HasPrefix(line, "wxgate ") {
				commands = append(commands, line)
			}
		}
	}
	return commands
}

// TestDocumentedRoutesAreTheRoutes, and the codes that are named are answered
// by those that exist.
func TestDocumentedRoutesAreTheRoutes(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	routes := regexp.MustCompile("(?m)^\\| (GET|POST) `(/wxgate/[a-z/-]+)` \\|").FindAllStringSubmatch(string(raw), -1)
	if len(routes) < 13 {
		t.Fatalf("found %d routes", len(routes))
	}
	g := newGateway(t, "", nil)
	for _, route := range routes {
		status, header, _ := g.ask("PUT", route[2], "", "")
		if allow := header.Get("Allow"); status != 405 || allow != route[1] {
			t.Errorf("%s %s: %d, allows %q", route[1], route[2], status, allow)
		}
	}
}
