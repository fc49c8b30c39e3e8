package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Whatever Caddyfile the documentation shows can be pasted and loads.
func TestCaddyfilesOfTheDocumentationLoad(t *testing.T) {
	dataDir(t)
	for _, name := range []string{"WX_OA_SECRET", "WX_OTHER_SECRET", "WX_WEB_SECRET", "SMS_ID", "SMS_KEY", "WXGATE_SECRET", "WXGATE_SECRET_NEW", "WXGATE_SECRET_OLD", "SHOP_KEY"} {
		t.Setenv(name, strings.Repeat(name+" ", 4))
	}
	t.Setenv("HOOK_SECRET", hookSecret)
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
