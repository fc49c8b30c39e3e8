package caddymodule

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// load makes the one Caddy of this process run a Caddyfile. What a test loads
// is stopped at its end.
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
	return caddy.Load(cfg, true)
}

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

// portsTaken counts the ports that freePort has given.
var portsTaken atomic.Int32

// freePort returns a port that nobody listens on, never the same twice. It is
// below the range from which systems take the ports of outgoing connections
// and of listeners on port 0, so that none of those takes it before Caddy does.
func freePort(t *testing.T) string {
	t.Helper()
	const first, count = 20000, 12000
	for range 1000 {
		port := strconv.Itoa(first + (97*os.Getpid()+int(portsTaken.Add(1)))%count)
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		l.Close()
		return port
	}
	t.Fatalf("none of 1000 ports from %d on is free", first)
	return ""
}
