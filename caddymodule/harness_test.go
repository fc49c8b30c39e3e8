package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// load makes the one Caddy of this process run a Caddyfile. What a test loads
// is stopped at its end. Where the same port was served before, the new
// configuration is alone there afterwards.
func load(t *testing.T, caddyfile string) error {
	t.Helper()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		return err
	}
	if err := caddy.Load(cfg, true); err != nil {
		return err
	}
	for _, listen := range listening.FindAllSubmatch(cfg, -1) {
		dbtest.AwaitOneServer(t, string(listen[1]))
	}
	return nil
}

// listening finds the ports of servers in a configuration.
var listening = regexp.MustCompile(`"listen":\["[^"]*:(\d+)"\]`)

// mustLoad is load for a Caddyfile that has to work.
func mustLoad(t *testing.T, caddyfile string) {
	t.Helper()
	if err := load(t, caddyfile); err != nil {
		t.Fatal(err)
	}
}

// globals are the global options of a test: no admin endpoint, nothing kept
// after the test, logs in a file of the test's own.
func globals(t *testing.T, app string) string {
	t.Helper()
	dir := dataDir(t)
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	debug
	storage file_system %s
	log {
		output file %s
		level DEBUG
	}
	wxgate {
		%s
	}
}
`, filepath.Join(dir, "storage"), logFile(dir), strings.ReplaceAll(strings.TrimSpace(app), "\n", "\n\t\t"))
}

// dataDir makes Caddy's data directory one of the test's own.
func dataDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("XDG_DATA_HOME"); strings.HasPrefix(dir, os.TempDir()) {
		return dir
	}
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	return dir
}

func logFile(dir string) string { return filepath.Join(dir, "caddy.log") }
