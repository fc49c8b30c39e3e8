package caddymodule

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// Whatever Caddyfile the documentation shows can be pasted and loads.
func TestCaddyfilesOfTheDocumentationLoad(t *testing.T) {
	dataDir(t)
	for _, name := range []string{"WX_OA_SECRET", "WX_OTHER_SECRET", "WX_WEB_SECRET", "WX_MP_SECRET", "SMS_ID", "SMS_KEY", "WXGATE_SECRET", "WXGATE_SECRET_NEW", "WXGATE_SECRET_OLD", "WX_APP_SECRET", "SHOP_KEY", "WXGATE_API_KEY"} {
		t.Setenv(name, strings.Repeat(name+" ", 4))
	}
	t.Setenv("HOOK_SECRET", hookSecret)
	t.Setenv("WXGATE_REDIS", "redis://127.0.0.1:1")
	t.Setenv("WXGATE_DATABASE", dbtest.Shared(t, dbtest.Postgres).Database(t))
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../README.md") {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range blocks(string(raw), "caddyfile") {
			found++
			t.Run(fmt.Sprintf("%s %d", filepath.Base(page), i+1), func(t *testing.T) { validate(t, block) })
		}
	}
	if found < 5 {
		t.Errorf("only %d Caddyfiles were found", found)
	}
	root, err := os.ReadFile("../Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("root", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if err := os.Mkdir("data", 0o700); err != nil {
			t.Fatal(err)
		}
		validate(t, string(root))
	})
	t.Run("root in production", func(t *testing.T) {
		t.Chdir(t.TempDir())
		text := strings.ReplaceAll(inProduction(t, string(root)), "/var/lib/wxgate/", "")
		for _, rest := range []string{"sandbox", "127.0.0.1:9001", "127.0.0.1:8080", "whsec_", "production:"} {
			if strings.Contains(text, rest) {
				t.Errorf("%s is left:\n%s", rest, text)
			}
		}
		validate(t, text)
	})
}

// inProduction does with a Caddyfile what the comments that begin with
// `production:` say: it lets what they hold take the place of the line below, and
// of the block that this line opens, unless they open it themselves.
func inProduction(t *testing.T, caddyfile string) string {
	t.Helper()
	var out, instead []string
	changes, skipping := 0, 0 // in how many blocks
	for line := range strings.Lines(caddyfile) {
		word := strings.TrimSpace(line)
		text, found := strings.CutPrefix(word, "# production: ")
		switch {
		case found:
			instead = append(instead, text+"\n")
		case skipping > 0:
			if word == "}" {
				skipping--
			}
		case instead == nil && strings.HasPrefix(word, "#"):
		case instead == nil:
			out = append(out, line)
		default:
			changes++
			opens := strings.Count(strings.Join(instead, ""), "{\n") > strings.Count(strings.Join(instead, ""), "}\n")
			if instead[0] != "remove\n" {
				out = append(out, instead...)
			}
			if strings.HasSuffix(word, "{") && !opens {
				skipping = 1
			}
			instead = nil
		}
	}
	if changes < 10 {
		t.Fatalf("only %d lines change in production", changes)
	}
	return strings.Join(out, "")
}

// What the documentation tells to make on a server is enough for the gateway,
// with a URL of the form that it shows.
func TestDatabasesOfTheDocumentationAreEnough(t *testing.T) {
	raw, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for e, title := range map[dbtest.Engine]string{dbtest.Postgres: "-- PostgreSQL\n", dbtest.MariaDB: "-- MariaDB\n"} {
		t.Run(string(e), func(t *testing.T) {
			server := dbtest.Shared(t, e)
			// The server has a user of that name, and keeps what an earlier run of this test has made.
			ours := strings.NewReplacer("wxgate", "documented"+strings.ToLower(rand.Text()), "'%'", "'127.0.0.1'")
			for _, block := range blocks(string(raw), "sql") {
				statements, found := strings.CutPrefix(block, title)
				for _, statement := range strings.Split(strings.TrimSpace(statements), ";") {
					if found && statement != "" {
						server.Exec(t, ours.Replace(statement))
					}
				}
			}
			_, shown, _ := strings.Cut(string(raw), "\nWXGATE_DATABASE='"+map[dbtest.Engine]string{dbtest.Postgres: "postgres", dbtest.MariaDB: "mysql"}[e])
			shown, _, _ = strings.Cut(shown, "?")
			scheme, _, _ := strings.Cut(server.Database(t), "://")
			rg := newRig(t)
			mustLoad(t, rg.config(on(scheme+ours.Replace(strings.Replace(shown, "10.0.0.7", server.Addr(), 1))), site))
			rg.logIn(rg.browser("li"), "/me/orders")
		})
	}
}

// blocks returns the fenced blocks of one language.
func blocks(markdown, lang string) (all []string) {
	for _, part := range strings.Split(markdown, "```"+lang+"\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		all = append(all, block+"\n")
	}
	return all
}

func validate(t *testing.T, caddyfile string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	caddyfile = strings.ReplaceAll(caddyfile, "sqlite:wxgate.db", "sqlite:"+dir+"/wxgate.db")
	adapter := caddyconfig.GetAdapter("caddyfile")
	raw, warnings, err := adapter.Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("%v\n%s", err, caddyfile)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("%s", w)
		}
	}
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&cfg); err != nil {
		t.Errorf("%v\n%s", err, caddyfile)
	}
}
