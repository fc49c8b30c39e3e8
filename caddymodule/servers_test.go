package caddymodule

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

const site = "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n"

// onServers runs a test with a rig on each kind of database server.
func onServers(t *testing.T, f func(*testing.T, *rig, dbtest.Engine)) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) { f(t, newRig(t), e) })
	}
}

// on is the part of the global option that names a server's database.
func on(databaseURL string) string {
	return "secret " + strings.Repeat("k", 32) + "\ndatabase " + databaseURL
}

// opened returns the database that the running configuration has open.
func opened(t *testing.T) (s *shared) {
	t.Helper()
	references(t)
	pool.Range(func(_, v any) bool { s = v.(*shared); return false })
	return s
}

// member is who a page of members is shown to.
func member(rg *rig, b *http.Client) string {
	rg.t.Helper()
	rg.shop.reached()
	if resp, body := rg.get(b, "/me/orders"); resp.StatusCode != http.StatusOK || body != "shop /me/orders" {
		rg.t.Fatalf("%d %q", resp.StatusCode, body)
	}
	return rg.shop.only(rg.t).header.Get("X-User-ID")
}

// TestAccountsOnAServer: what is on a server survives whatever happens to the
// gateway, which never holds more connections than its one pool has.
func TestAccountsOnAServer(t *testing.T) {
	onServers(t, func(t *testing.T, rg *rig, e dbtest.Engine) {
		server := dbtest.Shared(t, e)
		database := server.Database(t)
		t.Setenv("SERVER_URL", database)
		mustLoad(t, rg.config(on("{env.SERVER_URL}"), site))
		li := rg.browser("li")
		rg.logIn(li, "/me/orders")
		id, before := member(rg, li), opened(t)
		if id == "" {
			t.Fatal("the member has no id")
		}

		// The same database, in other words. Visitors keep all connections busy.
		done := make(chan struct{})
		var visitors sync.WaitGroup
		for range 24 {
			visitors.Go(func() { rg.comeAndGo(done) })
		}
		most := 0
		for range 5 {
			if err := reload(t, strings.Replace(rg.config(on(database), site), "login /me/*", "login /me/* /x/*", 1)); err != nil {
				t.Error(err)
			}
			most = max(most, server.Connections(t, database))
		}
		close(done)
		visitors.Wait()
		if opened(t) != before {
			t.Error("a reload has opened the database again")
		}
		if most == 0 || most > 16 {
			t.Errorf("%d connections, want 16 at most", most)
		}
		if got := member(rg, li); got != id {
			t.Errorf("%s is %s after the reload", id, got)
		}

		stop(t)
		if n := openDatabases(); n != 0 {
			t.Errorf("%d databases are left open", n)
		}
		for begun := time.Now(); server.Connections(t, database) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > time.Minute {
				t.Fatalf("%d connections are left open", server.Connections(t, database))
			}
		}
		mustLoad(t, rg.config(on(database), site))
		if got := member(rg, li); got != id {
			t.Errorf("%s is %s after the restart", id, got)
		}
		if got := member(rg, rg.browser("li")); got != id { // recognised without a word
			t.Errorf("%s is %s in another browser", id, got)
		}
		tellsNoPassword(t, database, rg.log())
		if files, _ := filepath.Glob(filepath.Join(rg.dir, "caddy", "wxgate.db*")); len(files) > 0 {
			t.Errorf("there are files: %v", files)
		}
	})
}

// tellsNoPassword looks for the password of a URL, as it is and as it is
// written there.
func tellsNoPassword(t *testing.T, databaseURL, text string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	_, written, _ := strings.Cut(u.User.String(), ":")
	for _, s := range []string{secret, written, url.QueryEscape(secret)} {
		if s == "" || strings.Contains(text, s) {
			t.Errorf("the password stands in %q", text)
		}
	}
}

// TestAServerThatRefusesIsToldWithoutThePassword, in the error and in the log.
func TestAServerThatRefusesIsToldWithoutThePassword(t *testing.T) {
	onServers(t, func(t *testing.T, rg *rig, e dbtest.Engine) {
		right := dbtest.Shared(t, e).Database(t)
		wrong := strings.Replace(right, "@127", "X@127", 1)
		mustLoad(t, rg.config(on(right), site))
		err := reload(t, rg.config(on(wrong), site))
		if err == nil || !strings.Contains(err.Error(), "the server refuses the user or his password") {
			t.Fatalf("got %v", err)
		}
		tellsNoPassword(t, wrong, err.Error()+rg.log())
		if n := references(t); n != 1 {
			t.Errorf("%d references to the database", n)
		}
		rg.logIn(rg.browser("li"), "/me/orders")
	})
}

// TestADatabaseServerIsGoneForAWhile: known members are served from memory,
// who wants to log in is told to wait, and all is well when it is back.
func TestADatabaseServerIsGoneForAWhile(t *testing.T) {
	onServers(t, func(t *testing.T, rg *rig, e dbtest.Engine) {
		server := dbtest.Start(t, e)
		database := server.Database(t)
		mustLoad(t, rg.config(on(database), site))
		li, guest := rg.browser("li"), rg.browser("")
		rg.logIn(li, "/me/orders")
		rg.get(guest, "/goods")
		id := member(rg, li)
		for round, out := range []struct{ begin, end func() }{
			{server.Kill, func() { server.Restart(t) }},
			{server.Freeze, server.Thaw},
		} {
			out.begin()
			if got := member(rg, li); got != id {
				t.Errorf("%d: %s is %s in the meantime", round, id, got)
			}
			if resp, body := rg.get(guest, "/goods"); body != "shop /goods" {
				t.Errorf("%d: a guest gets %d %q", round, resp.StatusCode, body)
			}
			if resp, _ := rg.get(rg.browser("li"), "/me/orders"); resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%d: who wants to log in gets %d", round, resp.StatusCode)
			}
			if resp, _ := rg.get(guest, "/wxgate/readyz"); resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%d: readyz says %d", round, resp.StatusCode)
			}
			out.end()
			settles(t, http.StatusOK, func() int { resp, _ := rg.get(guest, "/wxgate/readyz"); return resp.StatusCode })
			if got := member(rg, rg.browser("li")); got != id { // recognised without a word
				t.Errorf("%d: %s is %s in another browser", round, id, got)
			}
			if got := member(rg, li); got != id {
				t.Errorf("%d: %s is %s afterwards", round, id, got)
			}
		}
	})
}
