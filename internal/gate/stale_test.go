package gate

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// A thief has copied a token and renewed it; the owner, whose own copy expires
// earlier, logs out. The revocation has to outlive the thief's copy too.
func TestLogoutEndsCopiesThatExpireLater(t *testing.T) {
	rg := newRig(t)
	now := time.Now()
	sess := session.Session{ID: session.NewID(), UserID: "1000000007", Kind: "guest", Born: now.Unix(), IssuedAt: now.Unix(), Channel: "browser"}
	token := func(life time.Duration) func(*http.Request) {
		sess.ExpiresAt = now.Add(life).Unix()
		sealed, err := rg.keys.SealSession(&sess)
		must(t, err)
		return func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+sealed) }
	}
	owner, thief := token(time.Hour), token(29*24*time.Hour)
	b := rg.browser(uaChrome)
	b.fetch(http.MethodPost, "/wxgate/logout", owner)
	must(t, rg.db.Prune(t.Context(), now.Add(2*time.Hour)))
	b.clearCookies()
	b.fetch(http.MethodGet, "/goods", thief)
	if id, _, _ := rg.identityOf(); id == "1000000007" {
		t.Error("the renewed copy lives again after the owner's token has expired")
	}
}

// Back, after a logout, onto the callback of the login: it must not take the
// signed-out mark away, or the next page would log him in without a tap.
func TestBackButtonAfterLogoutLogsNobodyIn(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := b.startConsent("/me/orders")
	b.get(callback)
	b.fetch(http.MethodPost, "/wxgate/logout")
	b.get(callback)
	if got := b.get("/me/orders"); got.Request.URL.Path != "/wxgate/login" {
		t.Errorf("at %s", got.Request.URL)
	}
}

// A consent that WeChat could not finish shows a page; the same callback once
// more, or the back button, has to lead somewhere too.
func TestCallbackThatFailedLeadsOnWhenItComesTwice(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := b.startConsent("/me/orders")
	rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.ErrCode(-1))
	if got := b.get(callback); got.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("the first: %d", got.StatusCode)
	}
	if got := b.get(callback); got.StatusCode != http.StatusOK || got.Request.URL.RequestURI() != "/wxgate/login?return_to=%2Fme%2Forders" {
		t.Errorf("the second: %d at %s", got.StatusCode, got.Request.URL)
	}
}

// With guests off the shop's nobody may be known to WeChat, and his token is
// enough to log in without a tap. Once it is ended it must not be.
func TestEndedSessionOfNobodyLogsNobodyIn(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.Account.GuestsOff = true })
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	old := b.cookies()["wxgate"]
	b.fetch(http.MethodPost, "/wxgate/logout")
	stolen := rg.browser(uaWeChat)
	got := stolen.fetch(http.MethodGet, "/api/me/orders", func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+old) })
	if got.StatusCode != http.StatusUnauthorized {
		t.Errorf("the ended token gets %d %s", got.StatusCode, got.body)
	}
}

// Nor does a code cost anything for it.
func TestEndedSessionOfNobodyIsSentNoCode(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.GuestsOff = true })
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	old := b.cookies()["wxgate"]
	b.fetch(http.MethodPost, "/wxgate/logout")
	b.holds(old)
	if got := b.askCode(liPhone); !is(got, http.StatusUnauthorized, "login_required") || rg.inbox.count() != 0 {
		t.Errorf("%d %s, and %d messages", got.StatusCode, got.body, rg.inbox.count())
	}
}

// Sites with a common cookie domain may have apps of their own. What was proved
// in an app that is none of this site's makes nobody a member here.
func TestWhatAnotherSitesAppHasProvedPromotesNobody(t *testing.T) {
	rg := newRig(t)
	b := rg.browser(uaChrome)
	now := time.Now()
	for appID, want := range map[string]int{testAppID: http.StatusOK, "wx9999999999999999": http.StatusUnauthorized} {
		token, err := rg.keys.SealSession(&session.Session{
			ID: session.NewID(), UserID: "guest-" + appID, Kind: kindGuest, Born: now.Unix(), IssuedAt: now.Unix(), ExpiresAt: now.Add(time.Hour).Unix(),
			Channel: channelBrowser, AppID: appID, OpenID: "o-" + appID, UnionID: "u-" + appID,
		})
		must(t, err)
		b.holds(token)
		if got := b.fetch(http.MethodGet, "/api/me/orders"); got.StatusCode != want {
			t.Errorf("%s: %d, want %d", appID, got.StatusCode, want)
		}
	}
}

// deafAfterLink is an account store that cannot be read once a Link is done.
type deafAfterLink struct {
	*flakyAccounts
	linked atomic.Bool
}

func (d *deafAfterLink) Link(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error) {
	defer d.linked.Store(true)
	return d.flakyAccounts.Link(ctx, rules, in)
}

func (d *deafAfterLink) Resolve(ctx context.Context, ref account.SessionRef) (account.Resolved, error) {
	if d.linked.Load() {
		return account.Resolved{}, errDown
	}
	return d.flakyAccounts.Resolve(ctx, ref)
}

// The shop must never show a new member his orders before it has heard which
// ids were merged into him.
func TestNoAnswerChangesTheIDWithoutThePreviousOne(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	reached := rg.reached()
	rg.site.Accounts = &deafAfterLink{flakyAccounts: rg.db}
	if got := b.get("/me/orders"); got.StatusCode != http.StatusServiceUnavailable || rg.reached() != reached {
		t.Errorf("%d, and %d requests reached the shop", got.StatusCode, rg.reached()-reached)
	}
	rg.site.Accounts = rg.db
	b.get("/me/orders")
	if _, kind, previous := rg.identityOf(); kind != "member" || previous != guest {
		t.Errorf("afterwards he is a %s, previously %q, want %s", kind, previous, guest)
	}
}

// A login under way has its place in a full store, however many visitors
// without a unionid came before.
func TestMarksOfVisitorsLeaveRoomForLogins(t *testing.T) {
	rg := newRig(t)
	const room = 40
	rg.store.Store = session.NewMemory(session.MemoryConfig{MaxEntries: room})
	for range room {
		b := rg.wechatBrowser(wechattest.Person{Name: session.NewID()})
		b.get("/goods")
	}
	li := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := li.startConsent("/me/orders")
	rg.wechatBrowser(wechattest.Person{Name: "wang"}).get("/goods")
	if got := li.get(callback); got.Request.URL.Path != "/me/orders" || got.StatusCode != http.StatusOK {
		t.Errorf("the login ended with %d at %s", got.StatusCode, got.Request.URL)
	}
}

// A connection is followed until its handler has returned; ending it later
// would touch a ResponseWriter that the server has taken back.
func TestEndedRequestsAreLeftAlone(t *testing.T) {
	rg := newRig(t)
	w := &deadlineWriter{}
	r, err := http.NewRequest(http.MethodGet, "/events", nil)
	must(t, err)
	r.Header.Set("Accept", "text/event-stream")
	v := &Visit{sess: &session.Session{ID: "s", UserID: "1", Kind: kindGuest}, who: identity{id: "1", kind: kindGuest}}
	_, _, done := rg.site.Live.follow(&Writer{ResponseWriter: w}, r, v)
	var q *liveRequest
	for one := range rg.site.Live.all {
		q = one
	}
	q.end()
	if w.deadlines != 2 {
		t.Errorf("a live request got %d deadlines, want 2", w.deadlines)
	}
	done()
	q.end()
	if w.deadlines != 2 || len(rg.site.Live.all) != 0 {
		t.Errorf("%d deadlines after the handler returned, %d requests followed", w.deadlines-2, len(rg.site.Live.all))
	}
}

type deadlineWriter struct {
	http.ResponseWriter
	deadlines int
}

func (w *deadlineWriter) SetReadDeadline(time.Time) error  { w.deadlines++; return nil }
func (w *deadlineWriter) SetWriteDeadline(time.Time) error { w.deadlines++; return nil }

// Some links carry GBK bytes as they are. They come back as they were meant.
func TestSilentRoundKeepsRawBytes(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	b.get("/goods", func(r *http.Request) { r.URL.RawQuery = "q=\xc9\xcc\xc6\xb7" })
	if got := rg.last().URL.RawQuery; got != "q=%C9%CC%C6%B7" {
		t.Errorf("the shop got the query %q", got)
	}
}

// A preflight passes without identity. With an override that the operator lets
// through it would run the protected code as nobody.
func TestPreflightThatIsOverriddenIsNone(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.KeepHeaders = []string{"X-HTTP-Method-Override"} })
	b := rg.browser(uaChrome)
	preflight := func(override string) int {
		return b.fetch(http.MethodOptions, "/api/me/orders", func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Access-Control-Request-Method", "GET")
			if override != "" {
				r.Header.Set("X-HTTP-Method-Override", override)
			}
		}).StatusCode
	}
	if got := preflight(""); got != http.StatusOK {
		t.Errorf("a preflight: %d", got)
	}
	if got := preflight("GET"); got != http.StatusUnauthorized {
		t.Errorf("one that becomes a GET: %d", got)
	}
}

func TestPrefetchGetsTheProblemDocument(t *testing.T) {
	rg := newRig(t)
	got := rg.browser(uaChrome).get("/me/orders", func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch;prerender") })
	if got.StatusCode != http.StatusUnauthorized || got.Header.Get("Content-Type") != "application/problem+json" ||
		!strings.Contains(got.body, `"login_required"`) {
		t.Errorf("%d %s %s", got.StatusCode, got.Header.Get("Content-Type"), got.body)
	}
}

// The shop lets a CDN keep its front page. An answer that sets a session must
// not be kept, or the CDN would give one visitor's session to all.
func TestNoCacheKeepsASession(t *testing.T) {
	rg := newRig(t)
	words := []string{"Cache-Control", "CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires", "Expires"}
	rg.shop = func(w http.ResponseWriter, _ *http.Request) {
		for _, word := range words {
			w.Header().Set(word, "max-age=600")
		}
	}
	b := rg.browser(uaChrome)
	first, second := b.get("/goods"), b.get("/goods")
	if len(first.Cookies()) == 0 || len(second.Cookies()) != 0 {
		t.Fatalf("cookies: %v, then %v", first.Cookies(), second.Cookies())
	}
	for _, word := range words {
		if got := first.Header.Get(word); got != "" && got != "private, no-store" {
			t.Errorf("the answer with a session says %s: %s", word, got)
		}
		if got := second.Header.Get(word); got != "max-age=600" {
			t.Errorf("the answer without one says %s: %s", word, got)
		}
	}
}

// The same person has two phones and logs in on one. The other, still a
// guest's, becomes the member's by its unionid, and the assertion says how.
func TestSecondPhoneFollowsTheLogin(t *testing.T) {
	rg := newRig(t)
	person := wechattest.Person{Name: "wang", Follower: true}
	one, two := rg.wechatBrowser(person), rg.wechatBrowser(person)
	one.get("/goods")
	guest, _, _ := rg.identityOf()
	two.get("/goods")
	two.get("/me/orders")
	member, _, _ := rg.identityOf()
	for range 2 { // with the guest's token, then with that of the member
		one.get("/goods")
		id, kind, previous := rg.identityOf()
		claims := rg.claims()
		if id != member || kind != "member" || previous != guest || !strings.Contains(claims, `"amr":["wechat"]`) {
			t.Errorf("%s %s, previously %s, with %s; want %s", kind, id, previous, claims, member)
		}
	}
}

// claims is what the last request's assertion says.
func (rg *rig) claims() string {
	rg.t.Helper()
	_, rest, _ := strings.Cut(rg.last().Header.Get("X-User-Assertion"), ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	must(rg.t, err)
	return string(claims)
}

// In an app that is bound to no Open Platform account the openid does what a
// unionid does elsewhere, and the shop is never told that it is one.
func TestAnUnboundAppIsServedByItsOpenIDs(t *testing.T) {
	rg := newRig(t, func(c *Config) {
		c.Account.StandIns, c.ClaimOpenID, c.ClaimUnionID = map[string]bool{testAppID: true}, true, true
	})
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}})
	person := wechattest.Person{Name: "wang", Follower: true}
	one, two := rg.wechatBrowser(person), rg.wechatBrowser(person)
	one.get("/goods")
	guest, _, _ := rg.identityOf()
	two.get("/goods")
	if got := two.get("/me/orders"); got.StatusCode != http.StatusOK || slices.Contains(two.hops, "/wxgate/login") {
		t.Errorf("%d after %v: knowing him needs no page", got.StatusCode, two.hops)
	}
	member, kind, previous := rg.identityOf()
	if kind != "member" || previous != guest {
		t.Errorf("he is %s %s, previously %s, want a member after %s", kind, member, previous, guest)
	}
	one.get("/goods")
	if id, _, _ := rg.identityOf(); id != member {
		t.Errorf("his other phone is %s's, want %s's", id, member)
	}
	claims := rg.claims()
	if !strings.Contains(claims, rg.wechat.OpenID("wang", testAppID)) || strings.Contains(claims, "unionid") {
		t.Errorf("the shop is told %s", claims)
	}
}
