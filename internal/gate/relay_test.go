package gate

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	shopHost  = "http://shop.test"
	loginHost = "http://login.test" // where WeChat sends the codes
)

// relayRig is a shop whose callbacks go by another host, the only one that
// WeChat knows. The two share nothing in a browser.
type relayRig struct {
	*rig
	dial *http.Transport
	mu   sync.Mutex
	went []string // every URL that a browser has opened
}

func newRelayRig(t *testing.T, origins ...string) *relayRig {
	t.Helper()
	rg := &relayRig{rig: newRig(t, withWebsite)}
	for id, website := range map[string]bool{testAppID: false, testWebsiteID: true} {
		secret := testSecret
		if website {
			secret = testWebsiteSecret
		}
		rg.wechat.SetApp(wechattest.App{ID: id, Secret: secret, Domains: []string{"login.test"}, OpenPlatform: "shop", Website: website})
	}
	if origins == nil {
		origins = []string{shopHost}
	}
	base := rg.site.cfg
	rg.more = map[string]*Site{}
	for host, change := range map[string]option{
		"shop.test":  func(c *Config) { c.ExternalURL, c.CallbackHost = shopHost, loginHost },
		"login.test": func(c *Config) { c.ExternalURL, c.ReturnOrigins = loginHost, origins },
	} {
		cfg := base
		change(&cfg)
		site, err := New(cfg, rg.site.Deps)
		must(t, err)
		rg.more[host] = site
	}
	server := rg.srv.Listener.Addr().String()
	rg.dial = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ".test:80") {
			addr = server
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(rg.dial.CloseIdleConnections)
	return rg
}

// at makes a browser one that finds the hosts of the test.
func (rg *relayRig) at(b *browser) *browser {
	b.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		rg.mu.Lock()
		rg.went = append(rg.went, r.URL.String())
		rg.mu.Unlock()
		return rg.dial.RoundTrip(r)
	})
	return b
}

// tapAt follows the first link of a page of a host.
func (b *browser) tapAt(host string, page answer) answer {
	b.rg.t.Helper()
	_, rest, _ := strings.Cut(page.body, `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	return b.get(host+strings.ReplaceAll(href, "&amp;", "&"), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
}

// until opens a URL and goes where it is sent, up to the first URL that begins
// with prefix, which it returns unvisited.
func (b *browser) until(prefix, path string) (reached string) {
	b.rg.t.Helper()
	follow := b.client.CheckRedirect
	defer func() { b.client.CheckRedirect = follow }()
	b.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), prefix) {
			reached = r.URL.String()
			return http.ErrUseLastResponse
		}
		return follow(r, via)
	}
	got := b.get(path)
	if reached == "" {
		b.rg.t.Fatalf("not sent to %s from %s, but to %s:\n%s", prefix, path, got.Request.URL, got.body)
	}
	return reached
}

const ticketURL = shopHost + "/wxgate/callback/" + testAppID + "?ticket="

func TestShopLogsInByItsCallbackHost(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	got := b.get(shopHost + "/goods/42?x=%20y")
	guest, kind, _ := rg.identityOf()
	if got.Request.URL.String() != shopHost+"/goods/42?x=%20y" || kind != "guest" || rg.wechat.Count(wechattest.ExchangeCode) != 1 {
		t.Fatalf("at %s as %s after %d exchanges", got.Request.URL, kind, rg.wechat.Count(wechattest.ExchangeCode))
	}
	done := b.tapAt(shopHost, b.get(shopHost+"/me/orders?page=2"))
	member, kind, previous := rg.identityOf()
	if done.Request.URL.String() != shopHost+"/me/orders?page=2" || kind != "member" || previous != guest {
		t.Errorf("at %s as %s %s, previously %s", done.Request.URL, kind, member, previous)
	}
	for _, u := range rg.went {
		if strings.HasPrefix(u, shopHost) && strings.Contains(u, "code=") {
			t.Errorf("the code left the callback host: %s", u)
		}
	}
	login, err := url.Parse(loginHost)
	must(t, err)
	for _, c := range b.client.Jar.Cookies(login) {
		if c.Name == "wxgate" {
			t.Error("the callback host has made a session of its own")
		}
	}
}

func TestComputerScansByTheCallbackHost(t *testing.T) {
	rg := newRelayRig(t)
	pc := rg.at(rg.browser(uaDesktop))
	code := pc.tapAt(shopHost, pc.get(shopHost+"/me/orders?page=2"))
	rg.wechatBrowser(accepting("li")).get(rg.wechat.URL + wechattest.ReadQR(code.body))
	_, rest, _ := strings.Cut(code.body, `content="1;url=`)
	wait, _, _ := strings.Cut(rest, `"`)
	done := pc.get(rg.wechat.URL + wait)
	if _, kind, _ := rg.identityOf(); done.Request.URL.String() != shopHost+"/me/orders?page=2" || kind != "member" {
		t.Errorf("at %s as %s", done.Request.URL, kind)
	}
}

func TestRefusalAndOutageReachTheShopByItsCallbackHost(t *testing.T) {
	for name, tt := range map[string]struct {
		person wechattest.Person
		fault  wechattest.Fault
		want   string
	}{
		"refusal":  {wechattest.Person{Name: "li", Consent: wechattest.Refuse, Refusal: wechattest.StateOnly}, wechattest.Fault{}, "refused"},
		"snapshot": {wechattest.Person{Name: "li", Consent: wechattest.Accept, Snapshot: wechattest.SnapshotOn}, wechattest.Fault{}, "snapshot"},
		"spent":    {accepting("li"), wechattest.ErrCode(40163), "code_invalid"},
		"busy":     {accepting("li"), wechattest.BadGateway(), "wechat_busy"},
		"blocked":  {accepting("li"), wechattest.ErrCode(50002), "wechat_blocked"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRelayRig(t)
			b := rg.at(rg.wechatBrowser(accepting("li")))
			page := b.get(shopHost + "/me/orders")
			rg.wechat.AddPerson(tt.person)
			if tt.fault.Status != 0 || tt.fault.ErrCode != 0 {
				rg.wechat.Fail(wechattest.ExchangeCode, 1, tt.fault)
			}
			got := b.tapAt(shopHost, page)
			if got.Request.URL.Host != "shop.test" || !strings.Contains(got.body, "<code>"+tt.want+"</code>") {
				t.Errorf("at %s:\n%s", got.Request.URL, got.body)
			}
		})
	}
}

// C2: the code of the attacker, opened in the victim's browser, at either host.
func TestRelayedCallbackOfAnotherBrowserMakesNoSession(t *testing.T) {
	for name, ua := range map[string]string{"without a login under way": uaDesktop, "with one of its own": uaWeChat} {
		t.Run(name, func(t *testing.T) {
			rg := newRelayRig(t)
			attacker := rg.at(rg.wechatBrowser(accepting("mallory")))
			callback := attacker.until(loginHost+"/wxgate/callback/", shopHost+"/goods")
			code := callback[strings.Index(callback, "?"):]
			rg.wechat.AddPerson(accepting("victim"))
			victim := rg.at(rg.browser(ua))
			victim.person = "victim"
			victim.get(shopHost + "/goods")
			own, _, _ := rg.identityOf()
			before := rg.wechat.Count(wechattest.ExchangeCode)
			victim.stay(callback)
			victim.stay(shopHost + "/wxgate/callback/" + testAppID + code)
			attacker.stay(shopHost + "/wxgate/callback/" + testAppID + code) // the shop takes no codes at all
			if n := rg.wechat.Count(wechattest.ExchangeCode) - before; n != 0 {
				t.Errorf("%d exchanges", n)
			}
			ticket := attacker.until(ticketURL, callback)
			if to := victim.stay(callback).Header.Get("Location"); strings.Contains(to, "ticket=") {
				t.Errorf("the victim is sent to %s", to)
			}
			victim.stay(ticket)
			victim.get(shopHost + "/goods")
			if id, kind, _ := rg.identityOf(); id != own || kind != "guest" {
				t.Errorf("the victim is %s %s now", kind, id)
			}
		})
	}
}

// The other way round: the attacker has the victim's browser ask with the
// attacker's state, and would be the victim if he got hold of the ticket.
func TestTicketOfAPlantedStateIsBurnt(t *testing.T) {
	rg := newRelayRig(t)
	attacker := rg.at(rg.wechatBrowser(accepting("mallory")))
	planted := attacker.until(loginHost+"/wxgate/relay?state=", shopHost+"/goods")
	victim := rg.at(rg.wechatBrowser(accepting("victim")))
	ticket := victim.until(ticketURL, planted)
	victim.get(ticket)
	attacker.person = "mallory"
	attacker.get(ticket)
	attacker.get(shopHost + "/goods")
	if me := attacker.get(shopHost + "/wxgate/me"); strings.Contains(me.body, testAppID) && rg.last().Header.Get("X-User-Kind") == "member" {
		t.Errorf("the attacker is %s", me.body)
	}
	victimOpenID := rg.wechat.OpenID("victim", testAppID)
	shop, err := url.Parse(shopHost)
	must(t, err)
	for _, c := range attacker.client.Jar.Cookies(shop) {
		if sess, ok := rg.keys.OpenSession(c.Value, time.Now()); ok && sess.OpenID == victimOpenID {
			t.Error("the attacker holds the victim's WeChat account")
		}
	}
}

// C3 for relays: callbacks and tickets come twice.
func TestTicketWorksOnceAndEndsWellEachTime(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	callback := b.until(loginHost+"/wxgate/callback/", shopHost+"/goods?x=1")
	ticket := b.until(ticketURL, callback)
	if again := b.until(ticketURL, callback); again != ticket {
		t.Errorf("a doubled callback brings another ticket: %s after %s", again, ticket)
	}
	b.get(ticket)
	id, _, _ := rg.identityOf()
	for _, u := range []string{ticket, callback} {
		if got := b.get(u); got.Request.URL.String() != shopHost+"/goods?x=1" {
			t.Errorf("%s leads to %s", u, got.Request.URL)
		}
		if again, _, _ := rg.identityOf(); again != id {
			t.Errorf("%s became %s", id, again)
		}
	}
	if n := rg.wechat.Count(wechattest.ExchangeCode); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	u, err := url.Parse(ticket)
	must(t, err)
	other := rg.at(rg.wechatBrowser(accepting("wang")))
	forState := other.until(loginHost+"/wxgate/relay?state=", shopHost+"/goods")
	other.get(ticketURL + u.Query().Get("ticket") + "&state=" + strings.TrimPrefix(forState, loginHost+"/wxgate/relay?state="))
	other.get(shopHost + "/goods")
	if got, _, _ := rg.identityOf(); got == id {
		t.Error("a ticket works for another state")
	}
}

// Exact match only: origins that look like a listed one are not on the list.
func TestRelayServesListedOriginsAlone(t *testing.T) {
	for _, listed := range []string{
		"http://shop.test.evil.test", "http://evilshop.test", "http://www.shop.test", "https://shop.test", "http://shop.test:8080",
		"http://login.test", "http://test",
	} {
		rg := newRelayRig(t, listed)
		b := rg.at(rg.wechatBrowser(accepting("li")))
		planted := b.until(loginHost+"/wxgate/relay?state=", shopHost+"/goods")
		if got := b.stay(planted); got.StatusCode != http.StatusUnprocessableEntity || got.Header.Get("Location") != "" {
			t.Errorf("%s is listed: %d to %q", listed, got.StatusCode, got.Header.Get("Location"))
		}
		if !strings.Contains(rg.log.String(), "return_origins does not list") {
			t.Errorf("%s is listed: the operator is told nothing", listed)
		}
	}
}

func TestRelayTakesNobodyElsesState(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	direct := b.until(rg.wechat.URL, loginHost+"/goods") // a state that is not for relaying
	u, err := url.Parse(direct)
	must(t, err)
	for _, state := range []string{"", "x", "a-b", u.Query().Get("state"), strings.Repeat("a", 300)} {
		if got := b.stay(loginHost + "/wxgate/relay?state=" + state); got.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%q: %d to %q", state, got.StatusCode, got.Header.Get("Location"))
		}
	}
	state := strings.TrimPrefix(b.until(loginHost+"/wxgate/relay?state=", shopHost+"/goods"), loginHost+"/wxgate/relay?state=")
	cfg := rg.more["login.test"].cfg
	cfg.ExternalURL = "http://other.test"
	other, err := New(cfg, rg.site.Deps)
	must(t, err)
	rg.more["other.test"] = other // which lists the shop too
	for _, host := range []string{shopHost, "http://other.test"} {
		if got := b.stay(host + "/wxgate/relay?state=" + state); got.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s relays: %d to %q", host, got.StatusCode, got.Header.Get("Location"))
		}
	}
	// Nor does a code at the shop, which takes tickets alone, spend the state.
	b.stay(shopHost + "/wxgate/callback/" + testAppID + "?code=a&state=" + state)
	if got := b.get(loginHost + "/wxgate/relay?state=" + state); got.Request.URL.String() != shopHost+"/goods" || rg.wechat.Count(wechattest.ExchangeCode) != 1 {
		t.Errorf("at %s after %d exchanges", got.Request.URL, rg.wechat.Count(wechattest.ExchangeCode))
	}
}

// Two hosts of one cookie domain share the flow cookie: a state of the one is
// no state of the other even so.
func TestStateOfTheCallbackHostIsNoneOfTheShop(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	callback := b.until(loginHost+"/wxgate/callback/", shopHost+"/goods")
	shop, err := url.Parse(shopHost)
	must(t, err)
	login, err := url.Parse(loginHost)
	must(t, err)
	b.client.Jar.SetCookies(shop, b.client.Jar.Cookies(login))
	b.stay(shopHost + strings.TrimPrefix(callback, loginHost))
	if n := rg.wechat.Count(wechattest.ExchangeCode); n != 0 {
		t.Errorf("%d exchanges", n)
	}
}

func TestRelaySurvivesAnOutageOfTheStore(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	callback := b.until(loginHost+"/wxgate/callback/", shopHost+"/goods")
	planted := rg.went[1]
	rg.store.down.Store(true)
	if got := b.stay(planted); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s: %d", planted, got.StatusCode)
	}
	if got := b.get(callback); got.StatusCode != http.StatusOK {
		t.Errorf("%s: %d at %s", callback, got.StatusCode, got.Request.URL)
	}
}

func TestTicketIsATypeOfItsOwn(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	relayed := b.until(loginHost+"/wxgate/relay?state=", shopHost+"/goods")
	state := strings.TrimPrefix(relayed, loginHost+"/wxgate/relay?state=")
	forged := rg.keys.Seal(session.TypeResult, []byte(`{"o":"`+rg.wechat.OpenID("victim", testAppID)+`"}`))
	must(t, rg.store.Put(t.Context(), ticketKey(state, "FORGED"), []byte(forged), ticketLife))
	b.stay(ticketURL + "FORGED&state=" + state)
	shop, err := url.Parse(shopHost)
	must(t, err)
	for _, c := range b.client.Jar.Cookies(shop) {
		if sess, ok := rg.keys.OpenSession(c.Value, time.Now()); ok && sess.OpenID != "" {
			t.Errorf("he is %s", sess.OpenID)
		}
	}
}

// C4 at a callback host: a browser that keeps no cookies is told, and goes on at
// the shop.
func TestBrowserWithoutCookiesIsToldAtTheCallbackHost(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	b.client.Jar = nil
	got := b.get(shopHost + "/goods?x=1")
	if got.Request.URL.Host != "login.test" || !strings.Contains(got.body, `href="`+shopHost+`/goods?x=1&amp;wxgate=guest"`) {
		t.Fatalf("at %s:\n%s", got.Request.URL, got.body)
	}
	if got := b.get(shopHost + "/goods?x=1&wxgate=guest"); got.body != "shop /goods" {
		t.Errorf("at %s:\n%s", got.Request.URL, got.body)
	}
}
