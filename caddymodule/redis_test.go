package caddymodule

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// sharing is the part of the global option that names a Redis.
func sharing(url string) string { return "secret " + strings.Repeat("k", 32) + "\nredis " + url + "\n" }

// TestALoginUnderWayIsKeptInRedis: it outlives the gateway it began on.
func TestALoginUnderWayIsKeptInRedis(t *testing.T) {
	server := dbtest.StartRedis(t, "--requirepass", "hush")
	t.Setenv("REDIS_URL", server.URL())
	for app, want := range map[string]bool{"secret " + strings.Repeat("k", 32): false, sharing("{env.REDIS_URL}"): true} {
		t.Run(app, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{app: app, site: "login /me/*"})
			li := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			callback := li.beginLogin("/me/orders")
			stop(t)
			if n := openDatabases(); n != 0 {
				t.Errorf("%d shares are left", n)
			}
			rg.run(setup{app: app, site: "login /me/*"})
			got := li.get(callback)
			if _, kind := rg.told(); (got.Request.URL.Path == "/me/orders" && kind == "member") != want {
				t.Errorf("he is at %s as %q, %v", got.Request.URL, kind, got.StatusCode)
			}
			if strings.Contains(rg.log(), "hush") {
				t.Error("the log tells the password")
			}
		})
	}
}

// beginLogin taps the button of the login page and returns where WeChat sends
// the visitor back to.
func (d *device) beginLogin(returnTo string) (callback string) {
	d.rg.t.Helper()
	d.get(returnTo)
	to := d.stay("/wxgate/login?go=wechat&return_to="+returnTo, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
	callback = d.stay(to.Header.Get("Location")).Header.Get("Location")
	if !strings.Contains(callback, "/wxgate/callback/") {
		d.rg.t.Fatalf("he is sent to %q", callback)
	}
	return callback
}

// until waits for what servers do by themselves.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

// TestARedisFailsOver: a login that was under way ends well.
func TestARedisFailsOver(t *testing.T) {
	for name, end := range map[string]func(*dbtest.Redis){"stopped": (*dbtest.Redis).Kill, "frozen": (*dbtest.Redis).Freeze} {
		t.Run(name, func(t *testing.T) {
			servers := dbtest.StartSentinels(t)
			rg := newRig(t)
			rg.run(setup{app: sharing(servers.URL()), site: "login /me/*"})
			li := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			callback := li.beginLogin("/me/orders")
			until(t, "the replica knows the login", func() bool {
				return servers.Replica.Do(t, "EVAL", `"return #redis.call('KEYS','wxgate:store:state:*')"`, "0") == "1"
			})
			end(servers.Master)
			if got := rg.elsewhere().get("/goods"); got.StatusCode != http.StatusOK {
				t.Errorf("meanwhile a page is %d", got.StatusCode)
			}
			ready := rg.elsewhere()
			until(t, "the replica is the master", func() bool {
				info, err := servers.Replica.Ask("INFO", "replication")
				return err == nil && strings.Contains(info, "role:master")
			})
			until(t, "the gateway has found it", func() bool { return ready.fetch(http.MethodGet, "/wxgate/readyz").body == "ready\n" })
			got := li.get(callback)
			if _, kind := rg.told(); got.Request.URL.Path != "/me/orders" || kind != "member" {
				t.Errorf("he is at %s as %q", got.Request.URL, kind)
			}
		})
	}
}

func TestRedisURLsOfTheDocumentation(t *testing.T) {
	raw, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^WXGATE_REDIS='(.*)'$`).FindAllStringSubmatch(string(raw), -1)
	if len(shown) != 3 {
		t.Errorf("%d URLs are shown", len(shown))
	}
	for _, s := range shown {
		r, err := session.OpenRedis(s[1])
		if err != nil {
			t.Errorf("%s: %v", s[1], err)
			continue
		}
		_ = r.Close()
	}
}

// askForCode asks for a code to a phone, as the page does.
func (d *device) askForCode(phone string) reply {
	body := `{"phone":"` + phone + `"}`
	return d.fetch(http.MethodPost, "/wxgate/phone/code", func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
	})
}

// TestARedisIsGoneForAWhile: what visitors meet is in docs/operations.md.
func TestARedisIsGoneForAWhile(t *testing.T) {
	server := dbtest.StartRedis(t)
	rg := newRig(t)
	rg.run(setup{app: sharing(server.URL()) + "sms log\nfirst_login wechat", site: "login /me/*"})
	known, guest := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept}), rg.elsewhere()
	known.logIn()
	guest.get("/goods")
	for _, out := range []struct {
		name, phone string
		begin, end  func()
	}{
		{"stopped", "13800138001", server.Kill, func() { server.Restart(t) }},
		{"frozen", "13800138002", server.Freeze, server.Thaw},
		{"emptied", "13800138003", func() { server.Do(t, "FLUSHALL") }, func() {}},
	} {
		out.begin()
		if got := known.get("/me/orders"); got.StatusCode != http.StatusOK || got.Request.URL.Path != "/me/orders" {
			t.Errorf("%s: a member gets %d at %s", out.name, got.StatusCode, got.Request.URL)
		}
		rg.silently(out.name + ", a new visitor")
		if _, kind := rg.tell(rg.elsewhere()); kind != "guest" {
			t.Errorf("%s: a new visitor elsewhere is %q", out.name, kind)
		}
		if got := guest.fetch(http.MethodGet, "/wxgate/healthz"); got.StatusCode != http.StatusOK {
			t.Errorf("%s: healthz says %d", out.name, got.StatusCode)
		}
		if out.name != "emptied" {
			for range 2 { // the second is not too early either
				if got := guest.askForCode(out.phone); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
					t.Errorf("%s: who asks for a code gets %d %v %s", out.name, got.StatusCode, got.Header, got.body)
				}
			}
			if got := guest.fetch(http.MethodGet, "/wxgate/readyz"); got.StatusCode != http.StatusOK || got.body != "ready\nredis unavailable\n" {
				t.Errorf("%s: readyz says %d %q", out.name, got.StatusCode, got.body)
			}
		}
		out.end()
		until(t, "redis is back", func() bool { return guest.fetch(http.MethodGet, "/wxgate/readyz").body == "ready\n" })
		next := rg.elsewhere()
		next.get("/goods")
		if got := next.askForCode(out.phone); got.StatusCode != http.StatusAccepted {
			t.Errorf("%s: afterwards who asks for a code gets %d %s", out.name, got.StatusCode, got.body)
		}
		if got := known.get("/me/orders"); got.StatusCode != http.StatusOK || got.Request.URL.Path != "/me/orders" {
			t.Errorf("%s: afterwards a member gets %d at %s", out.name, got.StatusCode, got.Request.URL)
		}
	}
}

// tell opens a page and says who the shop was told.
func (rg *rig) tell(d *device) (id, kind string) {
	rg.t.Helper()
	d.get("/goods")
	return rg.told()
}

// silently wants a person new to this site, whom WeChat knows, to be recognised
// without a word.
func (rg *rig) silently(name string) {
	rg.t.Helper()
	d := rg.inWeChat(wechattest.Person{Name: name, Follower: true})
	d.get("/goods")
	if me := d.fetch(http.MethodGet, "/wxgate/me"); !strings.Contains(me.body, testAppID) {
		rg.t.Errorf("%s is not recognised: %s, after %v", name, me.body, d.hops)
	}
}

// TestUnreachableRedisStopsNobody, and it is found when it comes.
func TestUnreachableRedisStopsNobody(t *testing.T) {
	server := dbtest.StartRedis(t)
	server.Kill()
	rg := newRig(t)
	rg.run(setup{app: sharing(server.URL()) + "sms log"})
	rg.silently("li")
	guest := rg.elsewhere()
	guest.get("/goods")
	if got := guest.askForCode("13800138001"); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without Redis: %d", got.StatusCode)
	}
	server.Restart(t)
	until(t, "codes are sent", func() bool { return guest.askForCode("13800138001").StatusCode == http.StatusAccepted })
}

// TestReloadsKeepOneRedis: no login in flight is lost, and no connection is
// left behind.
func TestReloadsKeepOneRedis(t *testing.T) {
	server := dbtest.StartRedis(t)
	rg := newRig(t)
	for _, line := range []string{"", "login /me/*", "login /me/* /x"} {
		rg.run(setup{app: sharing(server.URL()), site: line})
		rg.silently("li " + line)
		clients := strings.Count(server.Do(t, "CLIENT", "LIST"), " sub=1 ")
		if clients != 1 {
			t.Errorf("%q: %d subscribers", line, clients)
		}
	}
	if err := reload(t, rg.caddyfile(setup{app: sharing(server.URL()), site: "prefix wxgate"})); err == nil {
		t.Error("a wrong configuration is loaded")
	}
	rg.silently("wang")
	stop(t)
	settles(t, 1, func() int { return strings.Count(server.Do(t, "CLIENT", "LIST"), " addr=127") })
	if n := openDatabases(); n != 0 {
		t.Errorf("%d shares are left", n)
	}
}
