package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nowhere is a machine without a gateway: commands run, and nobody answers.
func nowhere(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), log: new(logs)}
	g.write("map.csv", "old,new\na,b\n")
	g.write("users.csv", "id,mobile,openid\n1,13800138000,o1\n")
	return g
}

func TestCommandsThatAreWrong(t *testing.T) {
	g := nowhere(t)
	for _, tt := range []struct{ line, says string }{
		{"user nonsense", `there is no command "nonsense"`},
		{"wxgate nonsense", `there is no command "nonsense"`},
		{"user find", "usage: wxgate user find <anything>"},
		{"user find 1 2", "usage: wxgate user find <anything>"},
		{"user show", "usage: wxgate user show <id>"},
		{"user show 1 --nonsense", "unknown flag: --nonsense"},
		{"user merge 1 --reason x", "usage: wxgate user merge <from> <into>"},
		{"user merge 1 2 --yes", "--reason is missing"},
		{"user unbind 1 --reason x --yes", "--appid, --openid or --unionid"},
		{"user cancel --reason x --yes", "either an id, or --appid and --openid"},
		{"user cancel 1 --openid o --appid a --reason x", "either an id, or --appid and --openid"},
		{"user cancel --openid o --reason x", "either an id, or --appid and --openid"},
		{"user cancel 1 --yes", "--reason is missing"},
		{"user revoke 1 --yes", "--reason is missing"},
		{"conflict close 1", "--reason is missing"},
		{"conflict list 1", "usage: wxgate conflict list"},
		{"conflict list --limit many", "invalid argument"},
		{"operation list 1 2", "usage: wxgate operation list [subject]"},
		{"app rebind a --yes", "--reason is missing"},
		{"app map-openids map.csv --from a --reason x", "--from and --to are needed"},
		{"app map-openids none.csv --from a --to b --reason x", "none.csv"},
		{"app map-openids /dev/null/x --from a --to b --reason x", "/dev/null/x"},
		{"import users.csv --yes", "--reason is missing"},
		{"import none.csv --reason x --yes", "none.csv"},
		{"import users.txt --reason x --yes", "--format csv or --format ndjson"},
		{"import users.csv --format xml --reason x --yes", "--format csv or --format ndjson"},
		{"import users.csv --column id --reason x --yes", "must be formatted as key=value"},
		{"import users.csv --problems ./users.csv --dry-run", "would overwrite the file"},
		{"import - --format csv --reason x", "standard input cannot be read twice"},
		{"export accounts.csv", "--reason is missing"},
		{"export users.csv --reason x", "users.csv exists already"},
		{"export none/accounts.csv --reason x", "none/accounts.csv.part"},
		{"repair", "usage: wxgate repair <appid>"},
		{"repair a --yes", "--reason is missing"},
		{"repair a --rate fast --dry-run", "invalid argument"},
		{"event list --address a:b:c", "is no address of an admin endpoint"},
		{"event list --address localhost", "like localhost:2019"},
		{"event list --timeout soon", "invalid argument"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			got := g.do(strings.Fields(tt.line)...)
			if got.code != 2 || !strings.HasPrefix(got.err, "Error: ") || !strings.Contains(got.err, tt.says) || got.out != "" {
				t.Errorf("exit %d\nstdout: %s\nstderr: %s", got.code, got.out, got.err)
			}
		})
	}
}

// TestGatewayNotRunning: each command says so and what to look at, and nothing
// is asked for before.
func TestGatewayNotRunning(t *testing.T) {
	g := nowhere(t)
	for _, line := range []string{
		"user find 1", "user show 1", "user merge 1 2 --reason x --yes", "user unbind 1 --appid a --reason x --yes",
		"user cancel 1 --reason x", "user revoke 1 --reason x --yes --json", "conflict list", "conflict close 1 --reason x",
		"event list", "event follow", "operation list", "app rebind a --reason x --dry-run",
		"app map-openids map.csv --from a --to b --reason x --yes", "wxgate user find 1",
		"import users.csv --reason x --yes", "import users.csv --dry-run", "export accounts.csv --reason x", "repair a --dry-run",
	} {
		t.Run(line, func(t *testing.T) {
			got := g.do(strings.Fields(line)...)
			if got.code != 4 || !strings.Contains(got.err, "does not answer at unix/"+g.path("admin")) ||
				!strings.Contains(got.err, "--address or CADDY_ADMIN") || got.out != "" {
				t.Errorf("exit %d\nstdout: %s\nstderr: %s", got.code, got.out, got.err)
			}
		})
	}
}

// helpPages returns what --help says, by command.
func helpPages(t *testing.T, g *gateway) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for todo := []string{"wxgate"}; len(todo) > 0; todo = todo[1:] {
		page := g.must(append(strings.Fields(todo[0]), "--help")...)
		pages[todo[0]] = page
		_, list, _ := strings.Cut(page, "\nCommands:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.Lines(list) {
			todo = append(todo, strings.TrimPrefix(todo[0]+" "+strings.Fields(line)[0], "wxgate "))
		}
	}
	return pages
}

// TestHelpShowsWhatCanBeTyped: each example of each command's help goes as far
// as the gateway that is not there.
func TestHelpShowsWhatCanBeTyped(t *testing.T) {
	g := nowhere(t)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if page := g.must("help", "user", "merge"); !strings.Contains(page, "\nUsage:\n  wxgate user merge <from> <into>") {
		t.Errorf("asked with the word in front, it says\n%s", page)
	}
	examples := 0
	for name, page := range helpPages(t, g) {
		if !strings.Contains(page, "\nUsage:\n  wxgate") || strings.Contains(page, "caddy wxgate") || strings.Contains(page, "wxgate wxgate") {
			t.Errorf("%s is not called by its name:\n%s", name, page)
		}
		_, list, _ := strings.Cut(page, "\nExamples:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		if list == "" && !strings.Contains(page, "\nCommands:\n") {
			t.Errorf("%s has no example", name)
		}
		for line := range strings.Lines(list) {
			examples++
			cmd := g.command()
			shell := exec.Command("sh", "-c", line)
			shell.Dir, shell.Env = cmd.Dir, append(cmd.Env, "PATH="+filepath.Dir(bin)+":/usr/bin:/bin")
			if got := g.finish(shell); got.code != 4 {
				t.Errorf("%s: exit %d: %s", strings.TrimSpace(line), got.code, got.err)
			}
		}
	}
	if examples < 15 {
		t.Errorf("only %d examples were found", examples)
	}
}
