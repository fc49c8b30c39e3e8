package caddymodule

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/goleak"
)

// references returns how many configurations share the one open database.
func references(t *testing.T) int {
	t.Helper()
	var keys []any
	pool.Range(func(key, _ any) bool { keys = append(keys, key); return true })
	if len(keys) != 1 {
		t.Fatalf("the pool holds %v", keys)
	}
	n, _ := pool.References(keys[0])
	return n
}

// steadyWorkers are what follows invalidations, long requests, the hours and
// merges.
const steadyWorkers = 4

// workers counts the goroutines of the gateway, without those of database
// servers that tests have in common.
func workers() (n int) {
	buf := make([]byte, 4<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		ours := strings.Contains(stack, "/wxgate/internal/") || strings.Contains(stack, "caddymodule.(*App)")
		if ours && !strings.Contains(stack, "/internal/dbtest") {
			n++
		}
	}
	return n
}

// settles waits until f returns want.
func settles(t *testing.T, want int, f func() int) {
	t.Helper()
	for range 500 {
		if f() == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("got %d, want %d", f(), want)
}

// failing are configurations that fail at different moments, with the rig's
// database.
func failing(rg *rig) map[string]string {
	site := "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n"
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		rg.t.Fatal(err)
	}
	rg.t.Cleanup(func() { taken.Close() })
	return map[string]string{
		"before anything is open":    rg.config("stale_for soon", site),
		"in opening a database":      rg.config("database sqlite:/nonexistent/wxgate.db", site),
		"in a site":                  strings.Replace(rg.config("", site), "login ", "prefix nonsense\nlogin ", 1),
		"in a site's second half":    rg.config("", site+"http://127.0.0.1:PORT/x {\nwxgate {\nexternal_url nonsense\n}\n}\n"),
		"in starting":                rg.config("", "http://127.0.0.1:PORT {\nroute {\nreverse_proxy SHOP\nGATE\n}\n}\n"),
		"in starting another server": rg.config("", site+"http://127.0.0.1:"+strings.TrimPrefix(taken.Addr().String(), "127.0.0.1:")+" {\nbind tcp/127.0.0.1\nrespond hello\n}\n"),
	}
}

// TestFailedReloadLeavesTheRunningConfigurationAlone: the database stays open
// for it, and once.
func TestFailedReloadLeavesTheRunningConfigurationAlone(t *testing.T) {
	rg := newRig(t)
	mustLoad(t, rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n"))
	li := rg.browser("li")
	rg.logIn(li, "/me/orders")
	for name, cfg := range failing(rg) {
		t.Run(name, func(t *testing.T) {
			if err := reload(t, cfg); err == nil {
				t.Fatal("loaded")
			}
			if n := references(t); n != 1 {
				t.Errorf("%d references to the database", n)
			}
			settles(t, steadyWorkers, workers)
			if resp, body := rg.get(li, "/me/orders"); resp.StatusCode != http.StatusOK || body != "shop /me/orders" {
				t.Errorf("the member gets %d %q", resp.StatusCode, body)
			}
		})
	}
}

// TestReloadLosesNoLoginUnderWay: sent to WeChat by one configuration, back at
// the next but one, after a failed attempt at another.
func TestReloadLosesNoLoginUnderWay(t *testing.T) {
	rg := newRig(t)
	cfg := rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n")
	mustLoad(t, cfg)
	li := rg.browser("li")
	li.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/wxgate/callback/") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, _ := rg.get(li, "/goods?from=home")
	callback := resp.Header.Get("Location")
	if !strings.Contains(callback, "/wxgate/callback/") {
		t.Fatalf("not at WeChat: %d %s", resp.StatusCode, callback)
	}
	for _, next := range []string{cfg, failing(rg)["in starting"], strings.Replace(cfg, "login /me/*", "login /me/* /x/*", 1)} {
		_ = reload(t, next) // one of them fails, as it should
	}
	li.CheckRedirect = nil
	resp, body := rg.get(li, callback)
	if resp.Request.URL.RequestURI() != "/goods?from=home" || body != "shop /goods?from=home" {
		t.Errorf("after the callback at %s: %d %q", resp.Request.URL, resp.StatusCode, body)
	}
	if h := rg.shop.only(t).header; h.Get("X-User-Kind") != "guest" {
		t.Errorf("the shop is told %q", h["X-User-Kind"])
	}
}

// TestReloadUnderLoad changes the configuration while visitors come and go.
// Each of them stays who he is.
func TestReloadUnderLoad(t *testing.T) {
	rg := newRig(t)
	cfg := rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n")
	mustLoad(t, cfg)
	done := make(chan struct{})
	var visitors sync.WaitGroup
	for range 4 {
		visitors.Go(func() { rg.comeAndGo(done) })
	}
	for i := range 10 {
		if err := reload(t, strings.Replace(cfg, "login /me/*", fmt.Sprintf("login /me/* /x%d", i), 1)); err != nil {
			t.Error(err)
		}
		if n := references(t); n != 1 {
			t.Errorf("%d references to the database", n)
		}
	}
	close(done)
	visitors.Wait()
	settles(t, steadyWorkers, workers)
	ids := map[string]bool{}
	for _, s := range rg.shop.reached() {
		ids[s.header.Get("X-User-ID")] = true
	}
	if len(ids) != 4 || ids[""] {
		t.Errorf("4 visitors had the ids %v", ids)
	}
}

// comeAndGo opens a page again and again, until done, as one visitor.
func (rg *rig) comeAndGo(done chan struct{}) {
	b := rg.browser("")
	for {
		select {
		case <-done:
			return
		default:
			if resp, body := rg.get(b, "/goods"); body != "shop /goods" {
				rg.t.Errorf("%d %q", resp.StatusCode, body)
			}
		}
	}
}

// TestStopLeavesNothingBehind compares with a Caddy that never had the gate.
func TestStopLeavesNothingBehind(t *testing.T) {
	rg := newRig(t)
	mustLoad(t, rg.expand(globals(t, "")+"http://127.0.0.1:PORT {\nrespond hello\n}\n"))
	stop(t)
	ignored := goleak.IgnoreCurrent()
	for range 3 {
		mustLoad(t, rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n"))
		rg.get(rg.browser("li"), "/me/orders")
		stop(t)
		if n := openDatabases(); n != 0 {
			t.Errorf("%d databases are left open", n)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // the browser's
	goleak.VerifyNone(t, ignored)
}

// TestSessionOfASecretThatWasTakenAwayIsWorthNothing, though it was in memory.
func TestSessionOfASecretThatWasTakenAwayIsWorthNothing(t *testing.T) {
	rg := newRig(t)
	first, second := strings.Repeat("a", 32), strings.Repeat("b", 32)
	site := "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n"
	mustLoad(t, rg.config("secret "+first, site))
	li := rg.browser("li")
	rg.logIn(li, "/me/orders")
	rg.get(li, "/me/orders")
	if err := reload(t, rg.config("secret "+second+"\nsecret "+first, site)); err != nil {
		t.Fatal(err)
	}
	if resp, body := rg.get(li, "/me/orders"); body != "shop /me/orders" {
		t.Errorf("with the secret second: %d %q", resp.StatusCode, body)
	}
	if err := reload(t, rg.config("secret "+second, site)); err != nil {
		t.Fatal(err)
	}
	if resp := rg.fetch(li, "/me/orders", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("with the secret taken away: %d", resp.StatusCode)
	}
}

// reload is load without a stop at the end of the test, which the first load
// has arranged.
func reload(t *testing.T, caddyfile string) error {
	t.Helper()
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		t.Fatal(err)
	}
	return caddy.Load(cfg, true)
}

func stop(t *testing.T) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestSecretIsMadeOnceAndForItsOwnerAlone starts many at once on one database.
func TestSecretIsMadeOnceAndForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wxgate.db.secret")
	var mu sync.Mutex
	secrets := map[string]bool{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			secret, err := (&App{log: slog.New(slog.DiscardHandler)}).madeSecret(path)
			if err != nil || len(secret) < 32 {
				t.Errorf("%d bytes, %v", len(secret), err)
			}
			mu.Lock()
			defer mu.Unlock()
			secrets[secret] = true
		})
	}
	wg.Wait()
	if len(secrets) != 1 {
		t.Errorf("%d different secrets", len(secrets))
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestSecretFileThatWasCutShortIsAnError(t *testing.T) {
	dir := write(t, "wxgate.db.secret", "short\n")
	_, err := (&App{log: slog.New(slog.DiscardHandler)}).madeSecret(filepath.Join(dir, "wxgate.db.secret"))
	if err == nil || !strings.Contains(err.Error(), "holds 5 bytes, at least 32 are needed") {
		t.Errorf("got %v", err)
	}
}
