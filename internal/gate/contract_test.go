package gate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// Each level with each kind of visitor: what a script is answered, and whom the
// shop is told of.
func TestAccessLevels(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	guest := rg.visitor()
	member := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	member.tapLogin(member.get("/me/orders"))
	verified := rg.member(wangPhone)
	visitors := map[string]func() *browser{
		"nobody": func() *browser { return rg.browser(uaChrome) },
		"guest":  func() *browser { return guest },
		"member": func() *browser { return member },
		"phone":  func() *browser { return verified },
	}
	for path, want := range map[string]map[string]string{
		"/pay/notify": {"nobody": "200 ", "guest": "200 ", "member": "200 ", "phone": "200 "},
		"/static/x":   {"nobody": "200 ", "guest": "200 guest", "member": "200 member", "phone": "200 member"},
		"/goods":      {"nobody": "200 guest", "guest": "200 guest", "member": "200 member", "phone": "200 member"},
		"/me/x":       {"nobody": "401 login_required", "guest": "401 login_required", "member": "200 member", "phone": "200 member"},
		"/pay":        {"nobody": "401 login_required", "guest": "401 login_required", "member": "401 login_required", "phone": "200 member"},
	} {
		got := map[string]string{}
		for name, visitor := range visitors {
			answer := visitor().fetch(http.MethodGet, path)
			got[name] = fmt.Sprint(answer.StatusCode, " ", problemOf(answer))
			if answer.StatusCode == http.StatusOK {
				_, kind, _ := rg.identityOf()
				got[name] = "200 " + kind
			}
			if set := answer.Header.Get("Set-Cookie"); (path == "/pay/notify" || path == "/static/x") && set != "" {
				t.Errorf("%s gives %s a cookie: %s", path, name, set)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
}

// bypass wins, then the strictest line that matches, in whatever order they
// stand.
func TestOrderOfLinesDoesNotMatter(t *testing.T) {
	lines := []Rule{
		{Level: Public, Paths: []string{"/a/*"}}, {Level: Bypass, Paths: []string{"/a/b/c/d/*"}},
		{Level: Login, Paths: []string{"/a/b/*"}}, {Level: Phone, Paths: []string{"/a/b/c/*"}},
	}
	for shift := range lines {
		for _, order := range [][]Rule{slices.Concat(lines[shift:], lines[:shift]), reversed(slices.Concat(lines[shift:], lines[:shift]))} {
			rs := testRules(t, order...)
			for path, want := range map[string]Level{"/a/x": Public, "/a/b/x": Login, "/a/b/c/x": Phone, "/a/b/c/d/x": Bypass, "/x": Guest} {
				if got := levelOf(t, rs, http.MethodGet, path); got != want {
					t.Errorf("%v: %s is %s, want %s", order, path, got, want)
				}
			}
		}
	}
}

func reversed(lines []Rule) []Rule {
	slices.Reverse(lines)
	return lines
}

// Every endpoint that there is, with its methods; others are not found.
func TestEndpointsAreTheseAndNoOthers(t *testing.T) {
	source, err := os.ReadFile("endpoints.go")
	must(t, err)
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`\tcase ("/[^"]+"|[a-z]+Path):`).FindAllStringSubmatch(string(source), -1) {
		path := map[string]string{"relayPath": relayPath, "logoPath": logoPath, "scriptPath": scriptPath, "silentPath": silentPath}[m[1]]
		if path == "" {
			path = strings.Trim(m[1], `"`)
		}
		e, ok := endpointOf(path)
		if !ok {
			t.Errorf("%s is no endpoint", path)
		}
		got[path] = e.methods()
	}
	e, _ := endpointOf("/callback/" + testAppID)
	got["/callback/{appid}"] = e.methods()
	want := map[string]string{
		"/callback/{appid}": "GET", "/login": "GET", "/silent": "GET", "/relay": "GET", "/bind": "GET", "/handoff": "GET", "/me": "GET", "/account": "GET", "/logo": "GET",
		"/page.js": "GET", "/jwks.json": "GET", "/healthz": "GET", "/readyz": "GET",
		"/phone": "GET, POST", "/unbind": "GET, POST", "/merge": "GET, POST", "/account/cancel": "GET, POST",
		"/phone/code": "POST", "/mini/login": "POST", "/mini/phone": "POST", "/mini/profile": "POST", "/mini/ticket": "POST", "/app/session": "POST",
		"/app/login": "POST", "/logout": "POST",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	rg := newRig(t)
	for _, path := range []string{"", "/", "/nothing", "/Login", "/login/", "/mini", "/mini/login/x"} {
		if answer := rg.browser(uaChrome).fetch(http.MethodGet, "/wxgate"+path); !is(answer, http.StatusNotFound, "not_found") {
			t.Errorf("%q: %d %s", path, answer.StatusCode, answer.body)
		}
	}
	if rg.seen != nil {
		t.Error("the shop is asked for a path of ours")
	}
}

// Programs go by these, so they do not change.
func TestEveryProblemHasItsStatus(t *testing.T) {
	want := map[code]int{
		"login_required": 401, "session_expired": 401, "code_invalid": 422, "code_used": 422, "session_key_lost": 422, "phone_invalid": 422,
		"code_wrong": 422, "code_expired": 422, "wechat_busy": 503, "unavailable": 503, "wechat_blocked": 403, "cross_site": 403,
		"rate_limited": 429, "malformed": 400, "not_found": 404, "method_not_allowed": 405, "one_account": 409, "two_wechats": 409, "handed_over": 409,
		"phone_bound_to_other_wechat": 409, "userid_bound_to_other_wechat": 409, "wechat_bound_to_other_user": 409, "phone_owned_by_other_user": 409,
		"unionid_changed": 409, "openid_changed": 409, "repair_conflict": 409, "last_credential": 409, "phone_change_needs_flow": 409,
		"second_proof_required": 409, "phone_required": 409,
	}
	for c, status := range want {
		p := newProblem(c)
		if p.Status != status || p.Type != "urn:wxgate:problem:"+string(c) || (p.retryAfter > 0) != (status == http.StatusServiceUnavailable) {
			t.Errorf("%s: %+v, want %d", c, p, status)
		}
	}
	for _, c := range []code{
		codeLoginRequired, codeSessionExpired, codeInvalid, codeUsed, codeSessionKeyLost, codeWeChatBusy, codeWeChatBlocked, codeRateLimited, codePhoneInvalid,
		codeWrong, codeExpired, codeUnavailable, codeMalformed, codeCrossSite, codeNotFound, codeMethodNotAllowed, codeOneAccount, codeTwoWeChats, codeHandedOver,
	} {
		if want[c] == 0 {
			t.Errorf("%s is not listed", c)
		}
	}
}

// What a site does that says nothing of it.
func TestDefaultsAreThoseOfTheDocumentation(t *testing.T) {
	rg := newRig(t)
	c := rg.site.cfg
	if c.Prefix != "/wxgate" || c.CookieMaxAge != 30*24*time.Hour || c.StaleFor != 10*time.Minute || c.SMSBudget != 5000 ||
		c.MintLimit != (limit.Limit{Events: 6000, Window: 10 * time.Minute}) || account.DefaultPhoneIdle != 180*24*time.Hour || assertion.DefaultTTL != 300*time.Second || assertion.MaxTTL != 600*time.Second {
		t.Errorf("%+v", c)
	}
}

// The documentation says how long a request waits for what hangs, and how soon
// what is revoked on one instance ends on the others.
func TestWaitsAreThoseOfTheDocumentation(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
	for _, says := range []string{
		fmt.Sprintf("Requests wait at most %v seconds for the database", storeTimeout.Seconds()),
		fmt.Sprintf(" %v seconds for WeChat, and %v seconds for the shop", wechatTimeout.Seconds(), shopTimeout.Seconds()),
		fmt.Sprintf("at once by a message through Redis, and within %v seconds by the database", watchInterval.Seconds()),
	} {
		if !strings.Contains(string(raw), says) {
			t.Errorf("the documentation does not say: %s", says)
		}
	}
}

// What servers and balancers ask for.
func TestKeysAndHealthAreThereForAnybody(t *testing.T) {
	rg := newRig(t)
	for path, want := range map[string][3]string{
		"/wxgate/jwks.json": {"application/jwk-set+json", "public, max-age=300", `{"keys":[]}`},
		"/wxgate/healthz":   {"text/plain; charset=utf-8", "no-store", "ok\n"},
		"/wxgate/readyz":    {"text/plain; charset=utf-8", "no-store", "ready\n"},
	} {
		got := rg.browser("kube-probe/1.31").fetch(http.MethodGet, path)
		if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != want[0] || got.Header.Get("Cache-Control") != want[1] || got.body != want[2] ||
			got.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v %q", path, got.StatusCode, got.Header, got.body)
		}
	}
	if me := rg.browser(uaChrome).fetch(http.MethodGet, "/wxgate/me"); !strings.Contains(strings.Join(me.Header["Vary"], ", "), "Cookie, Authorization") ||
		me.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("who somebody is may be kept for others: %v", me.Header)
	}
}

// A session in a cookie slides: a day or so after it was set it is set again,
// and lives for as long as a new one.
func TestSessionInACookieIsRenewed(t *testing.T) {
	rg := newRig(t)
	b := rg.browser(uaChrome)
	b.get("/goods")
	id, _, _ := rg.identityOf()
	if again := b.get("/goods"); again.Header.Get("Set-Cookie") != "" {
		t.Errorf("it is set again at once: %s", again.Header.Get("Set-Cookie"))
	}
	sess, _ := rg.keys.OpenSession(b.cookies()["wxgate"], time.Now())
	const days = 29 * 24 * 3600
	sess.IssuedAt, sess.RenewedAt, sess.ExpiresAt = sess.IssuedAt-days, sess.RenewedAt-days, sess.ExpiresAt-days
	old, err := rg.keys.SealSession(sess)
	must(t, err)
	u, err := url.Parse(rg.srv.URL)
	must(t, err)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "wxgate", Value: old, Path: "/"}})
	got := b.get("/goods")
	if again, _, _ := rg.identityOf(); again != id {
		t.Errorf("%s became %s", id, again)
	}
	set := got.Cookies()
	if len(set) != 1 || set[0].MaxAge != 30*24*3600 || got.Header.Get("Cache-Control") != "private, no-store" {
		t.Fatalf("the answer sets %v", set)
	}
	renewed, ok := rg.keys.OpenSession(set[0].Value, time.Now())
	if !ok || renewed.ID != sess.ID || time.Until(time.Unix(renewed.ExpiresAt, 0)) < 30*24*time.Hour-time.Minute {
		t.Errorf("%+v", renewed)
	}
}

// Whoever comes by another host or scheme logs in at the one that WeChat and
// the cookie know. A proxy in front that calls us by another one is no loop but
// a page that says so.
func TestLoginsBeginAtTheExternalURL(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.ExternalURL = "https://www.shop.test" })
	for path, ua := range map[string]string{"/goods?x=%20y": uaWeChat, "/me/orders?x=%20y": uaChrome} {
		for _, from := range []string{"http://www.shop.test", "http://shop.test", "https://shop.test"} {
			sent := func(target string) (status int, to string) {
				r := httptest.NewRequest(http.MethodGet, from+target, nil)
				(&browser{ua: ua}).navigate(r)
				w := httptest.NewRecorder()
				rg.serve(w, r)
				return w.Code, w.Header().Get("Location")
			}
			if status, to := sent(path); status != http.StatusFound || to != "https://www.shop.test"+path+"&wxgate=host" {
				t.Errorf("%s%s: to %s", from, path, to)
			}
			if status, to := sent(path + "&wxgate=host"); status != http.StatusBadRequest || to != "" {
				t.Errorf("%s%s: then %d to %s", from, path, status, to)
			}
		}
	}
}

// A browser that looks ahead is not sent anywhere and becomes nobody.
func TestPrefetchIsNotSentToWeChat(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	for _, header := range []string{"Sec-Purpose", "Purpose"} {
		got := b.get("/goods", func(r *http.Request) { r.Header.Set(header, "prefetch") })
		if id, _, _ := rg.identityOf(); len(b.hops) != 0 || got.Header.Get("Set-Cookie") != "" || id != "" {
			t.Errorf("%s: through %v, %q, as %q", header, b.hops, got.Header.Get("Set-Cookie"), id)
		}
	}
}

// One assertion serves until a third of its life remains: signing costs more
// than all else of a known visitor's request.
func TestAssertionIsSignedAgainBeforeItDies(t *testing.T) {
	rg := newRig(t)
	b := rg.browser(uaChrome)
	told := func() string {
		b.get("/goods")
		return rg.last().Header.Get("X-User-Assertion")
	}
	told()
	if first := told(); first == "" || told() != first {
		t.Error("each request has an assertion of its own")
	}
	signer, err := assertion.NewSigner(assertion.SignerConfig{
		Algorithm: assertion.HS256, Key: "the shop's own key, long enough for HS256", Issuer: "http://shop.test", Audience: "http://shop.test", TTL: time.Second,
	})
	must(t, err)
	rg.site.Signer = signer
	rg.cache.Flush()
	first := told()
	for range 200 {
		if told() != first {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("an assertion of a second's life is sent for four")
}

// A session that somebody has copied before is worth no more afterwards.
func TestSessionChangesWhereItsLevelChanges(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	now := func() string {
		sess, ok := rg.keys.OpenSession(b.cookies()["wxgate"], time.Now())
		if !ok {
			t.Fatal("no session")
		}
		return fmt.Sprint(sess.Kind, " ", sess.ID)
	}
	b.get("/goods")
	seen := []string{now()}
	for _, step := range []func(){
		func() { b.tapLogin(b.get("/me/orders")) },
		func() { rg.verify(b, liPhone) },
		func() { b.fetch(http.MethodPost, "/wxgate/logout") },
		func() { b.tapLogin(b.get("/me/orders")) },
	} {
		step()
		if next := now(); slices.Contains(seen, next) {
			t.Errorf("step %d: the session is %s as before", len(seen), next)
		} else {
			seen = append(seen, next)
		}
	}
	if kinds := strings.Join(seen, " "); strings.Count(kinds, kindMember) != 3 {
		t.Errorf("he was %s", kinds)
	}
}

// The first moment of an outage: the log of what was ended was read a second
// ago, and who somebody is cannot be read now. A guest's id would replace the
// member's.
func TestMemberKeepsHisCookieFromTheFirstMomentOfAnOutage(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/me/orders")
	member, _, _ := rg.identityOf()
	rg.cache.Invalidate(member)
	rg.db.down.Store(true)
	for _, visit := range []func() answer{
		func() answer { return b.get("/goods") },
		func() answer { return b.fetch(http.MethodGet, "/goods") },
	} {
		got := visit()
		if id, _, _ := rg.identityOf(); id != "" || got.Header.Get("Set-Cookie") != "" || len(b.hops) != 0 {
			t.Errorf("the shop is told %q, the browser given %q through %v", id, got.Header.Get("Set-Cookie"), b.hops)
		}
	}
	rg.db.down.Store(false)
	b.get("/me/orders")
	if id, _, _ := rg.identityOf(); id != member {
		t.Errorf("after the outage he is %s, not %s", id, member)
	}
}

// The token before a login proves the member's own WeChat. In its last minute it
// serves what is under way, and earns no session that would outlive the minute.
func TestTokenInItsLastMinuteIsNotRenewed(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	old := b.cookies()["wxgate"]
	b.get("/me/orders")
	member, kind, _ := rg.identityOf()
	if kind != kindMember {
		t.Fatalf("he is a %s", kind)
	}
	for _, path := range []string{"/goods", "/me/orders"} {
		got := rg.browser(uaChrome).get(path, func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+old) })
		if id, _, _ := rg.identityOf(); id != member || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s is shown to %s with %q", path, id, got.Header.Get("Set-Cookie"))
		}
	}
}
