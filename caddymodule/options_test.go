package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// effect is what can be seen of an option: with it `see` returns want, without
// it something else.
type effect struct {
	name      string
	app, site string // lines with the option
	without   string // a line of the same block that stands for its absence; empty: none
	see       func(*rig) string
	want      string
}

// TestEffectOfEachOptionDisappearsWithoutIt loads a site with each option and
// without it.
func TestEffectOfEachOptionDisappearsWithoutIt(t *testing.T) {
	t.Setenv("SHARED_KEY", strings.Repeat("k", 32))
	for _, e := range slices.Concat(appEffects(), memberEffects(), smsEffects(), siteEffects()) {
		t.Run(e.name, func(t *testing.T) {
			if got := e.run(t, e.app, e.site); got != e.want {
				t.Errorf("with the option: %q, want %q", got, e.want)
			}
			app, site := e.without, ""
			if e.app == "" {
				app, site = "", e.without
			}
			if got := e.run(t, app, site); got == e.want {
				t.Errorf("the same without the option: %q", got)
			}
		})
	}
}

func (e effect) run(t *testing.T, app, site string) (saw string) {
	t.Run("", func(t *testing.T) {
		rg := newRig(t)
		mustLoad(t, rg.config(rg.expand(app), "http://127.0.0.1:PORT {\n@teapots header X-Teapot *\nwxgate {\nlogin /me/*\n"+
			oneExternalURL(site)+"\n}\nerror /broken oops 500\nreverse_proxy SHOP\n}\n"))
		saw = e.see(rg)
	})
	return saw
}

// oneExternalURL adds the usual external_url unless lines have one.
func oneExternalURL(lines string) string {
	if strings.Contains(lines, "external_url") {
		return lines
	}
	return lines + "\nexternal_url http://127.0.0.1:PORT"
}

func appEffects() []effect {
	return []effect{
		{name: "secret", app: "secret {env.SHARED_KEY}", see: func(rg *rig) string {
			_, err := os.Stat(filepath.Join(os.Getenv("XDG_DATA_HOME"), "caddy", "wxgate.db.secret"))
			return fmt.Sprint("a secret was made: ", err == nil)
		}, want: "a secret was made: false"},
		{name: "database", app: "database sqlite:{env.XDG_DATA_HOME}/elsewhere.db", see: func(rg *rig) string {
			_, elsewhere := os.Stat(filepath.Join(rg.dir, "elsewhere.db"))
			_, usual := os.Stat(filepath.Join(rg.dir, "caddy", "wxgate.db"))
			return fmt.Sprint(elsewhere == nil, usual == nil)
		}, want: "true false"},
		{name: "guests", app: "guests off", see: seeGuestID, want: ""},
		{name: "user_ids integer", app: "user_ids integer 5000", see: func(rg *rig) string { return seeGuestID(rg)[:1] }, want: "5"},
		{name: "user_ids uuid", app: "user_ids uuid", see: func(rg *rig) string {
			return fmt.Sprint(regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(seeGuestID(rg)))
		}, want: "true"},
		{name: "mint_limit", app: "mint_limit 2 per 1h", see: func(rg *rig) string {
			seeGuestID(rg)
			seeGuestID(rg)
			return seeGuestID(rg)
		}, want: ""},
		{name: "stale_for", app: "stale_for 1ms", see: func(rg *rig) string {
			li := rg.browser("li")
			rg.get(li, "/goods")
			rg.logIn(li, "/me/orders")
			rg.get(li, "/me/orders")
			pool.Range(func(_, v any) bool {
				_ = v.(*shared).db.Close() // the database is lost
				return false
			})
			time.Sleep(2 * time.Millisecond)
			return fmt.Sprint(rg.fetch(li, "/me/orders", nil).StatusCode)
		}, want: "503"},
		{name: "first_login", app: "first_login wechat", see: func(rg *rig) string {
			return fmt.Sprint("said in the log: ", strings.Contains(rg.log(), "first_login is wechat"))
		}, want: "said in the log: false"},
	}
}

func siteEffects() []effect {
	effects := []effect{
		{name: "external_url", site: "external_url http://localhost:PORT", see: func(rg *rig) string {
			b := rg.browser("li")
			b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, _ := rg.get(b, "/me/orders")
			return strings.TrimSuffix(resp.Header.Get("Location"), ":"+rg.port+"/me/orders?wxgate=host")
		}, want: "http://localhost"},
		{name: "prefix", site: "prefix /gate", see: func(rg *rig) string {
			return fmt.Sprint(rg.fetch(rg.browser(""), "/gate/healthz", nil).Header.Get("Cache-Control"))
		}, want: "no-store"},
		{name: "bypass", site: "bypass /me/notify", see: seeStatus("/me/notify"), want: "200 "},
		{name: "public", site: "public /goods", see: func(rg *rig) string {
			resp, _ := rg.get(rg.browser(""), "/goods")
			return fmt.Sprint(len(resp.Cookies()))
		}, want: "0"},
		{name: "login", site: "login /goods", see: seeStatus("/goods"), want: "401 login_required"},
		{name: "login of a named matcher", site: "login @teapots", see: func(rg *rig) string {
			return fmt.Sprint(rg.fetch(rg.browser(""), "/goods", http.Header{"X-Teapot": {"short"}}).StatusCode)
		}, want: "401"},
		{name: "keep_headers", site: "keep_headers X-HTTP-Method-Override", see: func(rg *rig) string {
			rg.fetch(rg.browser(""), "/goods", http.Header{"X-Http-Method-Override": {"PUT"}})
			return rg.shop.only(rg.t).header.Get("X-HTTP-Method-Override")
		}, want: "PUT"},
		{name: "return_origins", site: "return_origins https://www.example.com", see: func(rg *rig) string {
			return rg.fetch(rg.browser(""), "/me/orders", http.Header{"Origin": {"https://www.example.com"}}).Header.Get("Access-Control-Allow-Origin")
		}, want: "https://www.example.com"},
		{name: "cookie domain", site: "external_url http://shop.example.com\ncookie {\ndomain example.com\n}",
			without: "external_url http://shop.example.com", see: func(rg *rig) string {
				resp, _ := rg.get(rg.browser(""), "/goods")
				return resp.Cookies()[0].Domain
			}, want: "example.com"},
		{name: "cookie max_age", site: "cookie {\nmax_age 7d\n}", see: func(rg *rig) string {
			resp, _ := rg.get(rg.browser(""), "/goods")
			return fmt.Sprint(resp.Cookies()[0].MaxAge)
		}, want: "604800"},
		{name: "hash_routes", site: "hash_routes on", without: "hash_routes off", see: func(rg *rig) string {
			resp, body := rg.get(rg.browser("li"), "/goods")
			return fmt.Sprint(resp.StatusCode, " ", strings.Contains(body, "/wxgate/silent?return_to=%2Fgoods"))
		}, want: "200 true"},
		{name: "upstream_challenge", site: "upstream_challenge on", see: seeSaid("X-Login-Required", "login", http.StatusUnauthorized), want: "401 login_required"},
		{name: "upstream_challenge redirect_to", site: "upstream_challenge redirect_to /login.php", without: "upstream_challenge on",
			see: seeSaid("Location", "/login.php", http.StatusFound), want: "401 login_required"},
		{name: "upstream_login", site: "upstream_login on", without: "upstream_login off", see: func(rg *rig) string {
			b := rg.browser("")
			rg.shop.answerWith(http.StatusOK, "X-Wxgate-Login", "4711")
			rg.get(b, "/goods")
			rg.shop.reached()
			rg.get(b, "/goods")
			h := rg.shop.only(rg.t).header
			return h.Get("X-User-Kind") + " " + h.Get("X-User-ID")
		}, want: "member 4711"},
		{name: "shadow", site: "shadow on", without: "shadow off", see: func(rg *rig) string {
			resp, _ := rg.get(rg.browser("li"), "/me/orders")
			return fmt.Sprint(resp.StatusCode, " ", len(rg.shop.reached()), " ", len(resp.Cookies()), strings.Contains(rg.log(), `"would_be":"silent"`))
		}, want: "200 1 0 true"},
		{name: "brand name", site: "brand {\nname \"Tea & Co\"\n}", see: seeLoginPage(`<p class="brand">Tea &amp; Co</p>`), want: "true"},
		{name: "brand logo", site: "brand {\nlogo testdata/logo.svg\n}", see: seeLoginPage(`/wxgate/logo?v=`), want: "true"},
		{name: "brand colour", site: "brand {\ncolour c8102e\n}", see: seeLoginPage(`:root{--go:#c8102e;--go-ink:#fff}`), want: "true"},
		{name: "brand contact", site: "brand {\ncontact 400-123-4567\n}", see: func(rg *rig) string {
			_, body := rg.get(rg.browser(""), "/wxgate/nothing")
			return fmt.Sprint(strings.Contains(body, "400-123-4567"))
		}, want: "true"},
		{name: "assertion audience", site: "assertion {\naudience https://erp.example.com\n}", see: seeClaim("aud"), want: "https://erp.example.com"},
		{name: "assertion ttl", site: "assertion {\nttl 60s\n}", see: func(rg *rig) string {
			c := rg.member()
			return fmt.Sprint(c["exp"].(float64) - c["iat"].(float64))
		}, want: "65"},
		{name: "assertion key", site: "assertion {\nalgorithm HS256\nkey {env.SHARED_KEY}\n}", without: "assertion {\nalgorithm ES256\n}", see: seeAlgorithm, want: "HS256"},
		{name: "claims openid", site: "assertion {\nclaims openid\n}", see: func(rg *rig) string {
			return fmt.Sprint(rg.member()["openid"] == rg.wechat.OpenID("li", testAppID))
		}, want: "true"},
		{name: "claims unionid", site: "assertion {\nclaims openid unionid\n}", without: "assertion {\nclaims openid\n}", see: func(rg *rig) string {
			c := rg.member()
			return fmt.Sprint(c["unionid"] != nil, c["openid"] != nil)
		}, want: "true true"},
		{name: "claims phone", app: "sms log", site: "assertion {\nclaims phone\n}", see: seePhoneClaim, want: "+8613800138001"},
	}
	for _, alg := range []string{"RS256", "EdDSA"} {
		effects = append(effects, effect{name: "assertion algorithm " + alg, site: "assertion {\nalgorithm " + alg + "\n}", see: seeAlgorithm, want: alg})
	}
	for which, usual := range map[string]string{"user_id": "X-User-ID", "kind": "X-User-Kind", "phone_verified": "X-User-Phone-Verified",
		"assertion": "X-User-Assertion", "previous": "X-User-Previous-ID", "openid": ""} {
		effects = append(effects, effect{name: "header " + which, site: "header " + which + " X-Shop-" + which, see: func(rg *rig) string {
			rg.member()
			h := rg.last.header
			return fmt.Sprint(h.Get("X-Shop-"+which) != "", usual != "" && h.Get(usual) != "")
		}, want: "true false"})
	}
	return effects
}

// seeGuestID is the id the shop is told of a new visitor.
func seeGuestID(rg *rig) string {
	rg.get(rg.browser(""), "/goods")
	return rg.shop.only(rg.t).header.Get("X-User-ID")
}

// seeStatus is the status and the problem that a script gets.
func seeStatus(path string) func(*rig) string {
	return func(rg *rig) string {
		resp := rg.fetch(rg.browser(""), path, nil)
		var problem struct{ Code string }
		_ = json.NewDecoder(resp.Body).Decode(&problem) // the shop answers without one
		return fmt.Sprint(resp.StatusCode, " ", problem.Code)
	}
}

// seeLoginPage says whether the login page holds a text.
func seeLoginPage(text string) func(*rig) string {
	return func(rg *rig) string {
		_, body := rg.get(rg.browser("li"), "/wxgate/login")
		return fmt.Sprint(strings.Contains(body, text))
	}
}

// seeSaid is the status and the problem that a script gets when the shop
// answers with a header.
func seeSaid(name, value string, status int) func(*rig) string {
	return func(rg *rig) string {
		rg.shop.answerWith(status, name, value)
		b := rg.browser("")
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp := rg.fetch(b, "/goods", nil)
		var problem struct{ Code string }
		_ = json.NewDecoder(resp.Body).Decode(&problem) // the shop answers without one
		return fmt.Sprint(resp.StatusCode, " ", problem.Code)
	}
}

func seeClaim(name string) func(*rig) string {
	return func(rg *rig) string { return fmt.Sprint(rg.member()[name]) }
}

func seeAlgorithm(rg *rig) string {
	rg.member()
	var header struct{ Alg string }
	rg.decode(0, &header)
	return header.Alg
}

// member logs li in and returns the claims of his assertion. The request that
// carried it is rg.last.
func (rg *rig) member() map[string]any {
	rg.t.Helper()
	li := rg.browser("li")
	rg.get(li, "/goods")
	rg.logIn(li, "/me/orders")
	all := rg.shop.reached()
	rg.last = all[len(all)-1]
	claims := map[string]any{}
	rg.decode(1, &claims)
	return claims
}

// decode reads a part of the assertion of the last request, under whatever name
// it came.
func (rg *rig) decode(part int, into any) {
	rg.t.Helper()
	for _, values := range rg.last.header {
		if parts := strings.Split(values[0], "."); strings.HasPrefix(values[0], "eyJ") && len(parts) == 3 {
			raw, err := base64.RawURLEncoding.DecodeString(parts[part])
			if err != nil {
				rg.t.Fatal(err)
			}
			if err := json.Unmarshal(raw, into); err != nil {
				rg.t.Fatal(err)
			}
			return
		}
	}
	rg.t.Fatalf("no assertion in %v", rg.last.header)
}

// TestSiteUsesTheOfficialAccountItNames has two accounts in the App.
func TestSiteUsesTheOfficialAccountItNames(t *testing.T) {
	for _, appid := range []string{testAppID, "wx5555555555555555"} {
		rg := newRig(t)
		mustLoad(t, rg.config("official_account wx5555555555555555 hush",
			"http://127.0.0.1:PORT {\nwxgate {\nexternal_url http://127.0.0.1:PORT\nofficial_account "+appid+"\n}\n}\n"))
		b := rg.browser("li")
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, _ := rg.get(b, "/goods")
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || to.Query().Get("appid") != appid {
			t.Errorf("%s: sent to %s, %v", appid, to, err)
		}
	}
}

// TestVisitorIsSentToTheWeChatOfTheConfiguration: to the real one, to another
// one, or to none.
func TestVisitorIsSentToTheWeChatOfTheConfiguration(t *testing.T) {
	const account = "official_account wx1111111111111111 hush\n"
	for app, want := range map[string]string{
		account: "https://open.weixin.qq.com/connect/oauth2/authorize",
		account + "endpoints {\nopen http://127.0.0.1:9001\n}": "http://127.0.0.1:9001/connect/oauth2/authorize",
		"": "",
	} {
		rg := newRig(t)
		mustLoad(t, rg.expand(globals(t, app)+"http://127.0.0.1:PORT {\nwxgate {\nexternal_url http://127.0.0.1:PORT\n}\n}\n"))
		b := rg.browser("li")
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, _ := rg.get(b, "/goods")
		if to, _, _ := strings.Cut(resp.Header.Get("Location"), "?"); to != want {
			t.Errorf("%q: sent to %q, want %q", app, to, want)
		}
	}
}

// TestCallsToWeChatTakeTheProxy counts them on their way.
func TestCallsToWeChatTakeTheProxy(t *testing.T) {
	rg := newRig(t)
	var calls atomic.Int32
	target, err := url.Parse(rg.wechat.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	cfg := rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n")
	mustLoad(t, strings.Replace(cfg, "\tapi "+rg.wechat.URL, "\tapi http://api.weixin.invalid\n\tproxy "+proxy.URL, 1))
	rg.logIn(rg.browser("li"), "/me/orders")
	if calls.Load() == 0 {
		t.Error("no call took the proxy")
	}
}
