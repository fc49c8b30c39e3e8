package gate

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func TestShopsLoginIsTheGates(t *testing.T) {
	rg := newRig(t, listening)
	rg.says("/login.php", http.StatusFound, "X-Wxgate-Login: U7", "Location: /account", "Cache-Control: public, max-age=60")
	b := rg.browser(uaChrome)
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	before := b.cookies()["wxgate"]
	got := b.submit("/login.php")
	noWords(t, got.Request.Response.Header)
	if cc := got.Request.Response.Header.Get("Cache-Control"); cc != "private, no-store" {
		t.Errorf("a cache may keep the session: %q", cc)
	}
	if id, kind, previous := rg.identityOf(); id != "U7" || kind != "member" || previous != guest {
		t.Errorf("right after it the shop is told of %s %s, previously %q", kind, id, previous)
	}
	if after := b.cookies(); after["wxgate"] == before || after["PHPSESSID"] != "1" {
		t.Errorf("the cookies are %v", after)
	}
	old, ok := rg.keys.OpenSession(before, time.Now())
	if res, err := rg.db.Resolve(t.Context(), sessionRef(old)); !ok || err != nil || res.DiesAt.IsZero() {
		t.Errorf("the guest's session goes on: %+v, %v", res, err)
	}
	sess, _ := rg.keys.OpenSession(b.cookies()["wxgate"], time.Now())
	if sess.AMR != "upstream" || sess.Channel != channelBrowser {
		t.Errorf("the session is %+v", sess)
	}
}

// A shop that says it with every answer of somebody who is logged in.
func TestLoginThatIsSaidAgainChangesNothing(t *testing.T) {
	rg := newRig(t, listening)
	rg.says("/page", http.StatusOK, "X-Wxgate-Login: U7", "Cache-Control: public, max-age=60")
	b := rg.browser(uaChrome)
	b.get("/page")
	token := b.cookies()["wxgate"]
	for range 3 {
		got := b.get("/page")
		noWords(t, got.Header)
		if len(got.Header["Set-Cookie"]) != 1 || got.Header.Get("Cache-Control") != "public, max-age=60" || b.cookies()["wxgate"] != token {
			t.Errorf("said again: %v", got.Header)
		}
	}
	// Nor does it cost anything: no store is asked.
	counted := new(countedWords)
	rg.site.Metrics = counted
	rg.db.down.Store(true)
	if b.get("/page"); counted.of("login", wordMet) != 1 || len(counted.said) != 1 {
		t.Errorf("counted %v", counted.said)
	}
}

func TestShopsLogoutIsTheGates(t *testing.T) {
	rg := newRig(t, listening)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true})
	b.get("/me/orders")
	member := b.cookies()["wxgate"]
	rg.says("/logout.php", http.StatusFound, "X-Wxgate-Logout: 1", "Location: /")
	b.get("/logout.php")
	if _, kind, _ := rg.identityOf(); kind != "guest" || len(b.hops) != 1 {
		t.Errorf("after it: a %s, through %v", kind, b.hops)
	}
	old, _ := rg.keys.OpenSession(member, time.Now())
	if _, err := rg.db.Resolve(t.Context(), sessionRef(old)); err == nil {
		t.Error("the session lives on")
	}
	// A shop may say it to everybody who is not logged in.
	guest := b.cookies()["wxgate"]
	if b.get("/logout.php"); b.cookies()["wxgate"] != guest {
		t.Error("a guest was logged out")
	}
}

func TestClientWithoutCookiesGetsTheShopsLogin(t *testing.T) {
	rg := newRig(t, listening)
	b := rg.browser(uaChrome)
	b.get("/goods")
	token := b.cookies()["wxgate"]
	app := rg.browser("")
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Wxgate "+token) }
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
	got := app.fetch(http.MethodPost, "/login.php", bearer)
	if token = got.Header.Get("X-Wxgate-Session"); token == "" || app.cookies()["wxgate"] != "" {
		t.Fatalf("the answer carries %v", got.Header)
	}
	if app.fetch(http.MethodGet, "/whom", bearer); rg.last().Header.Get("X-User-ID") != "U7" {
		t.Errorf("the shop is told of %v", rg.last().Header)
	}
	rg.says("/logout.php", http.StatusOK, "X-Wxgate-Logout: 1")
	out := app.fetch(http.MethodPost, "/logout.php", bearer).Header.Get("X-Wxgate-Session")
	if got := app.fetch(http.MethodGet, "/whom", bearer); out == "" || got.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the logout: %d, and a session %q", got.StatusCode, out)
	}
}

// Who logs in at the shop inside WeChat is known there from then on.
func TestShopsLoginInWeChatLinksIt(t *testing.T) {
	rg := newRig(t, listening)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	rg.says("/login.php", http.StatusFound, "X-Wxgate-Login: U7", "Location: /account")
	b.submit("/login.php")
	if id, kind, previous := rg.identityOf(); id != "U7" || kind != "member" || previous != guest {
		t.Errorf("right after it: %s %s, previously %s", kind, id, previous)
	}
	b.clearCookies()
	if who := b.whom(); who != "member U7, previously "+guest {
		t.Errorf("after cookies were cleared: %s", who)
	}
}

// A WeChat that is another member's stays his; the visitor is who the shop says.
func TestShopsLoginTakesNobodysWeChat(t *testing.T) {
	rg := newRig(t, listening)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true})
	b.get("/me/orders")
	owner, _, _ := rg.identityOf()
	rg.says("/login.php", http.StatusFound, "X-Wxgate-Login: U7", "Location: /account")
	b.submit("/login.php")
	if who := b.whom(); who != "member U7" {
		t.Errorf("he is %s", who)
	}
	b.clearCookies()
	b.get("/whom")
	if id, _, _ := rg.identityOf(); id != owner {
		t.Errorf("after cookies were cleared: %s instead of %s", id, owner)
	}
	if !strings.Contains(fmt.Sprint(rg.conflicts()), string(account.CodeWeChatBoundToOtherUser)) {
		t.Errorf("conflicts: %v", rg.conflicts())
	}
}

func (rg *rig) conflicts() (codes []account.Code) {
	rg.t.Helper()
	all, err := rg.db.Conflicts(rg.t.Context(), false, account.Page{})
	must(rg.t, err)
	for _, c := range all {
		codes = append(codes, c.Code)
	}
	return codes
}

// The shop's answer goes out as it is, whatever is wrong with its words.
func TestLoginThatCannotBeIsNone(t *testing.T) {
	for name, tt := range map[string]struct {
		words []string
		edit  func(*http.Request)
	}{
		"a comma":              {words: []string{"X-Wxgate-Login: U7,U8"}},
		"empty":                {words: []string{"X-Wxgate-Login: "}},
		"two users":            {words: []string{"X-Wxgate-Login: U7", "X-Wxgate-Login: U8"}},
		"the visitor himself":  {words: []string{"X-Wxgate-Login: GUEST"}},
		"the gateway's number": {words: []string{"X-Wxgate-Login: 1000000999"}},
		"another spelling":     {words: []string{"X_wxgate_login: U7"}},
		"a login and a logout": {words: []string{"X-Wxgate-Login: U7", "X-Wxgate-Logout: 1"}},
		"another logout":       {words: []string{"X-Wxgate-Logout: 0"}},
		"another site's form": {words: []string{"X-Wxgate-Login: U7"}, edit: func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Origin", "https://evil.test")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, listening)
			b := rg.browser(uaChrome)
			before := b.whom()
			words := append([]string(nil), tt.words...)
			for i := range words {
				words[i] = strings.Replace(words[i], "GUEST", strings.TrimPrefix(before, "guest "), 1)
			}
			rg.says("/login.php", http.StatusOK, words...)
			edit := tt.edit
			if edit == nil {
				edit = func(*http.Request) {}
			}
			got := b.submit("/login.php", edit)
			noWords(t, got.Header)
			if got.StatusCode != http.StatusOK || got.body != "the shop's own words" {
				t.Errorf("the shop's answer: %d %s", got.StatusCode, got.body)
			}
			if after := b.whom(); after != before {
				t.Errorf("he was %s and is %s", before, after)
			}
		})
	}
}

// A page that another origin of the shop's posts is the shop's own.
func TestListedOriginMayLogIn(t *testing.T) {
	rg := newRig(t, listening, func(c *Config) { c.ReturnOrigins = []string{"https://www.shop.test"} })
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
	b := rg.browser(uaChrome)
	b.submit("/login.php", func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "same-site")
		r.Header.Set("Origin", "https://www.shop.test")
	})
	if who := b.whom(); who != "member U7" {
		t.Errorf("he is %s", who)
	}
}

func TestLoginWhileTheStoreIsDownLeavesTheShopsAnswerAlone(t *testing.T) {
	rg := newRig(t, listening)
	b := rg.browser(uaChrome)
	before := b.whom()
	rg.db.down.Store(true)
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
	got := b.submit("/login.php")
	if noWords(t, got.Header); got.StatusCode != http.StatusOK || got.body != "the shop's own words" || got.Header.Get("Etag") == "" {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	rg.db.down.Store(false)
	if after := b.whom(); after != before {
		t.Errorf("he was %s and is %s", before, after)
	}
	if b.submit("/login.php"); b.whom() == before {
		t.Error("the next login was not heard")
	}
	rg.db.down.Store(true) // also for a browser that has to be forgotten
	rg.says("/logout.php", http.StatusOK, "X-Wxgate-Logout: 1")
	if got := b.submit("/logout.php"); got.StatusCode != http.StatusOK || got.body != "the shop's own words" {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	rg.db.down.Store(false)
	if after := b.whom(); strings.Contains(after, "U7") {
		t.Errorf("after the logout he is %s", after)
	}
}

// On these paths the gate gives no cookie and asks for nothing.
func TestShopIsNotHeardOnPublicAndBypassPaths(t *testing.T) {
	for _, path := range []string{"/static/login", "/pay/notify"} {
		t.Run(path, func(t *testing.T) {
			rg := newRig(t, listening)
			counted := new(countedWords)
			rg.site.Metrics = counted
			b := rg.browser(uaChrome)
			before := b.whom()
			for _, words := range [][]string{{"X-Login-Required: login"}, {"X-Wxgate-Login: U7"}, {"X-Wxgate-Logout: 1"}} {
				rg.says(path, http.StatusUnauthorized, words...)
				got := b.submit(path)
				if noWords(t, got.Header); got.StatusCode != http.StatusUnauthorized || got.body != "the shop's own words" || len(got.Header["Set-Cookie"]) != 1 {
					t.Errorf("%v: %d %v", words, got.StatusCode, got.Header)
				}
			}
			if after := b.whom(); after != before {
				t.Errorf("he was %s and is %s", before, after)
			}
			if len(counted.said) != 3 || !strings.Contains(rg.log.String(), "not heard") {
				t.Errorf("counted %v, logged:\n%s", counted.said, rg.log)
			}
		})
	}
}

// On a snapshot page everything is virtual.
func TestShopsLoginOnASnapshotPageIsNone(t *testing.T) {
	rg := newRig(t, listening)
	b := rg.browser(uaWeChat)
	guest := &session.Session{ID: session.NewID(), UserID: "1000000001", Kind: kindGuest, IssuedAt: time.Now().Unix(),
		ExpiresAt: time.Now().Unix() + 1000, Snapshot: true}
	token, err := rg.keys.SealSession(guest)
	must(t, err)
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
	got := b.submit("/login.php", func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+token) })
	if got.StatusCode != http.StatusOK || len(got.Header["Set-Cookie"]) != 1 {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
}
