package caddymodule

import (
	"database/sql"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// TestEachDocumentedOptionHasItsEffectTested reads the tables of the
// documentation, so that no option is added without a test of what it does.
func TestEachDocumentedOptionHasItsEffectTested(t *testing.T) {
	tested := []string{ // with a test of their own, here or in options_test.go
		"official_account", "website", "mini_program", "verification_file", "callback_host", "first_login", "linking", "stale_for", "endpoints api", "endpoints open", "endpoints proxy", "sandbox", "redis", "key", "allow", "mobile_app",
		// in TestCarriersSendWithWhatIsConfigured
		"sms aliyun access_key_id", "sms aliyun access_key_secret", "sms aliyun sign_name", "sms aliyun template", "sms aliyun code_param", "sms aliyun region", "sms aliyun endpoint",
		"sms tencent secret_id", "sms tencent secret_key", "sms tencent sdk_app_id", "sms tencent sign_name", "sms tencent template", "sms tencent params", "sms tencent region", "sms tencent endpoint",
		"sms webhook secret", "new_members secret", "webhook secret", // by whoever checks a signature
	}
	for _, e := range slices.Concat(appEffects(), memberEffects(), smsEffects(), siteEffects()) {
		tested = append(tested, strings.Replace(e.name, "claims ", "assertion claims ", 1))
	}
	for _, o := range documentedOptions(t) {
		for name := range strings.SplitSeq(o.name(), "|") {
			if name == "unionid" {
				name = "official_account" // whose test is about nothing else
			}
			if !slices.ContainsFunc(tested, func(test string) bool { return test == name || strings.HasPrefix(test, name+" ") }) {
				t.Errorf("no test shows the effect of %s", name)
			}
		}
	}
}

func TestFirstSecretSealsAndAllOpen(t *testing.T) {
	const first, second = "secret aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "secret bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n"
	rg := newRig(t)
	d := rg.elsewhere()
	visit := func(app string) string {
		rg.run(setup{app: app})
		d.get("/goods")
		id, _ := rg.told()
		return id
	}
	id := visit(first)
	if again := visit(second + first); again != id || id == "" {
		t.Errorf("a new secret in front: %s became %s", id, again)
	}
	if other := visit(second); other == id {
		t.Error("a session outlived its secret")
	}
	sealedBySecond := d.cookies()["wxgate"]
	if visit(first + second); d.cookies()["wxgate"] != sealedBySecond {
		t.Error("a session that a later secret opens was replaced")
	}
}

// breakDatabase takes the tables from under a running gateway, as an operator's
// wrong hand may.
func (rg *rig) breakDatabase() {
	rg.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(rg.dir, "caddy", "wxgate.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		rg.t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"user", "revocation", "invalidation"} {
		if _, err := db.ExecContext(rg.t.Context(), "ALTER TABLE wxgate_"+table+" RENAME TO gone_"+table); err != nil {
			rg.t.Fatal(err)
		}
	}
}

func TestKnownUsersAreServedForStaleForWithoutADatabase(t *testing.T) {
	for _, tt := range []struct {
		app   string
		stale int // the status of a member in the end
	}{{"stale_for 1s", http.StatusServiceUnavailable}, {"", http.StatusOK}} {
		t.Run(tt.app, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{app: tt.app, site: "login /me/*"})
			known, unknown := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept}), rg.elsewhere()
			known.logIn()
			unknown.get("/goods")
			known.fetch(http.MethodGet, "/me/orders")
			rg.breakDatabase()
			// The gateway looks every 2 s whether it can read what has changed.
			time.Sleep(4 * time.Second)
			if got := known.fetch(http.MethodGet, "/me/orders"); got.StatusCode != tt.stale {
				t.Errorf("a member: %d %s, want %d", got.StatusCode, got.body, tt.stale)
			}
			if got := unknown.fetch(http.MethodGet, "/goods"); got.StatusCode != http.StatusOK {
				t.Errorf("a guest's page: %d %s", got.StatusCode, got.body)
			}
		})
	}
}

func TestMintLimitHoldsForItsWindow(t *testing.T) {
	for app, want := range map[string]int{"": 3, "mint_limit 1": 1, "mint_limit 1 per 1ms": 3} {
		t.Run(app, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{app: app})
			ids := map[string]bool{}
			for range 3 {
				rg.elsewhere().get("/goods")
				if id, _ := rg.told(); id != "" {
					ids[id] = true
				}
				time.Sleep(2 * time.Millisecond)
			}
			if len(ids) != want {
				t.Errorf("%q: %d of 3 visitors became guests, want %d", app, len(ids), want)
			}
		})
	}
}

// TestCodesAreExchangedAtTheAPIOfTheConfiguration has a proxy that lets nobody
// through, so that the real WeChat is never called.
func TestCodesAreExchangedAtTheAPIOfTheConfiguration(t *testing.T) {
	for api, want := range map[string]string{
		"":                                "CONNECT //api.weixin.qq.com:443",
		"api http://wechat.example\n":     "GET http://wechat.example/sns/oauth2/access_token",
		"api https://wechat.example:8443": "CONNECT //wechat.example:8443",
	} {
		t.Run(api, func(t *testing.T) {
			rg := newRig(t)
			var mu sync.Mutex
			var asked []string
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				u := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path}
				asked = append(asked, r.Method+" "+u.String())
				w.WriteHeader(http.StatusBadGateway)
			}))
			t.Cleanup(proxy.Close)
			rg.run(setup{endpoints: "endpoints {\nopen " + rg.wechat.URL + "\nproxy " + proxy.URL + "\n" + api + "\n}"})
			got := rg.inWeChat(wechattest.Person{Name: "li"}).get("/goods")
			if _, kind := rg.told(); got.StatusCode != http.StatusOK || kind != "guest" {
				t.Errorf("%q: a visitor whom WeChat does not know got %d as %q", api, got.StatusCode, kind)
			}
			mu.Lock()
			if len(asked) == 0 || asked[0] != want {
				t.Errorf("%q: the proxy was asked for %q, want %q", api, asked, want)
			}
			mu.Unlock()
		})
	}
}

func TestSandboxIsNeededBesideAPublicSite(t *testing.T) {
	rg := newRig(t)
	public := setup{external: "https://shop.example.com"}
	if err := load(t, rg.caddyfile(public)); err == nil || !strings.Contains(err.Error(), "sandbox on") {
		t.Errorf("without the option: %v", err)
	}
	public.app = "sandbox off"
	if err := load(t, rg.caddyfile(public)); err == nil || !strings.Contains(err.Error(), "sandbox on") {
		t.Errorf("with the option off: %v", err)
	}
	public.app = "sandbox on"
	rg.run(public)
	if got := rg.elsewhere().get("/goods"); got.StatusCode != http.StatusOK {
		t.Errorf("with the option: %d", got.StatusCode)
	}
}

// TestWhomALevelTellsTheShop compares the levels that ask for nothing.
func TestWhomALevelTellsTheShop(t *testing.T) {
	type telling struct{ newcomer, member, cookie, cacheable bool }
	for line, want := range map[string]telling{
		"":                  {newcomer: true, member: true, cookie: true},
		"public /page":      {member: true, cacheable: true},
		"bypass /page":      {cacheable: true},
		"public @page":      {member: true, cacheable: true},
		"bypass @page":      {cacheable: true},
		"bypass /page/deep": {newcomer: true, member: true, cookie: true},
	} {
		t.Run(line, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{around: "@page path /page", site: line})
			first := rg.elsewhere().get("/page")
			newcomer, _ := rg.told()
			d := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			d.logIn()
			d.get("/page")
			_, kind := rg.told()
			got := telling{newcomer != "", kind == "member", first.Header.Get("Set-Cookie") != "", first.Header.Get("Cache-Control") == "public, max-age=60"}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestRulesJudgeWhatAKeptHeaderSays: a shop that obeys X-Original-URL serves
// the orders for this request.
func TestRulesJudgeWhatAKeptHeaderSays(t *testing.T) {
	for line, want := range map[string]int{"": http.StatusOK, "keep_headers X-Original-URL": http.StatusUnauthorized} {
		t.Run(line, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{site: "login /me/*\n" + line})
			got := rg.elsewhere().fetch(http.MethodGet, "/goods", func(r *http.Request) { r.Header.Set("X-Original-URL", "/me/orders") })
			if got.StatusCode != want {
				t.Errorf("%q: %d, want %d", line, got.StatusCode, want)
			}
			if want == http.StatusOK && rg.shop.last(t).header.Get("X-Original-URL") != "" {
				t.Errorf("%q: the header arrived", line)
			}
		})
	}
}

func TestReturnToLeadsToListedOriginsAlone(t *testing.T) {
	const to = "https://www.example.com/spring"
	for line, want := range map[string]string{
		"": "/", "return_origins https://www.example.com": to, "return_origins https://other.example.com": "/",
	} {
		t.Run(line, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{site: line})
			d := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			d.logIn()
			if got := d.stay("/wxgate/login?return_to=" + url.QueryEscape(to)); got.Header.Get("Location") != want {
				t.Errorf("%q: sent to %q, want %q", line, got.Header.Get("Location"), want)
			}
		})
	}
}

func TestShopVerifiesWithTheKeyOfTheConfiguration(t *testing.T) {
	for _, key := range []string{strings.Repeat("k", 32), strings.Repeat("q", 40)} {
		t.Run(key, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{site: "assertion {\nalgorithm HS256\nkey " + key + "\n}"})
			rg.elsewhere().get("/goods")
			signed := rg.shop.last(t).header.Get("X-User-Assertion")
			for _, try := range []string{key, key + "x"} {
				_, err := jwt.Parse(signed, func(*jwt.Token) (any, error) { return []byte(try), nil },
					jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(rg.url("")), jwt.WithAudience(rg.url("")))
				if (err == nil) != (try == key) {
					t.Errorf("signed with %s, verified with %s: %v", key, try, err)
				}
			}
		})
	}
	rg := newRig(t)
	if err := load(t, rg.caddyfile(setup{site: "assertion {\nalgorithm HS256\n}"})); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("without a key: %v", err)
	}
}

// TestRenamedHeadersAreOursToo sends what a visitor may forge.
func TestRenamedHeadersAreOursToo(t *testing.T) {
	which := map[string]string{
		"user_id": "Shop-User", "kind": "Shop-Kind", "phone_verified": "Shop-Phone", "previous": "Shop-Previous",
		"assertion": "Shop-Proof", "openid": "Shop-Openid",
	}
	lines := ""
	for option, name := range which {
		lines += "header " + option + " " + name + "\n"
	}
	for _, tt := range []struct {
		lines  string
		forged int
	}{{"", len(which)}, {lines, 0}} {
		t.Run(tt.lines, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{site: tt.lines})
			d := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			d.get("/goods")
			d.logIn()
			d.get("/goods", func(r *http.Request) {
				for name := range maps.Values(which) {
					r.Header.Set(name, "forged")
				}
			})
			h, forged := rg.shop.last(t).header, 0
			for name := range maps.Values(which) {
				if h.Get(name) == "forged" {
					forged++
				}
			}
			if forged != tt.forged {
				t.Errorf("%q: %d forged headers arrived, want %d: %v", tt.lines, forged, tt.forged, h)
			}
			if openid := h.Get("Shop-Openid"); tt.lines != "" && openid != rg.wechat.OpenID("li", testAppID) {
				t.Errorf("the shop was told the openid %q", openid)
			}
		})
	}
}

func TestSiteMustNameOneOfSeveralOfficialAccounts(t *testing.T) {
	account := fmt.Sprintf("official_account %s %q\nofficial_account wx5555555555555555 hush", testAppID, testSecret)
	rg := newRig(t)
	if err := load(t, rg.caddyfile(setup{account: account})); err == nil || !strings.Contains(err.Error(), "name this site's") {
		t.Errorf("none named: %v", err)
	}
	if err := load(t, rg.caddyfile(setup{account: account, site: "official_account wx6666666666666666"})); err == nil ||
		!strings.Contains(err.Error(), "no such official_account") {
		t.Errorf("another one named: %v", err)
	}
}
