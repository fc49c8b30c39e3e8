package gate

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// imported is WeChat's browser of a person whom the shop knew before, by his
// openid alone.
func (rg *rig) imported(p wechattest.Person) *browser {
	rg.t.Helper()
	_, err := rg.db.Import(rg.t.Context(), account.Rules{}, account.ImportConfig{
		Source: strings.NewReader("user_id,openid\n70," + rg.wechat.OpenID(p.Name, testAppID) + "\n"), Format: account.CSV,
		AppID: testAppID, By: account.By{Operator: true, Reason: "a test"},
	})
	must(rg.t, err)
	return rg.wechatBrowser(p)
}

// age makes the session in the browser one of so long ago.
func (b *browser) age(d time.Duration) {
	b.rg.t.Helper()
	raw, ok := b.rg.keys.Open(session.TypeSession, b.cookies()["wxgate"])
	if !ok {
		b.rg.t.Fatal("no session")
	}
	var sess session.Session
	must(b.rg.t, json.Unmarshal(raw, &sess))
	for _, at := range []*int64{&sess.AskedAt, &sess.ConsentedAt} {
		if *at != 0 {
			*at -= int64(d / time.Second)
		}
	}
	token, err := b.rg.keys.SealSession(&sess)
	must(b.rg.t, err)
	u, err := url.Parse(b.rg.srv.URL)
	must(b.rg.t, err)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "wxgate", Value: token, Path: "/"}})
}

func TestMemberWithoutUnionIDIsAskedOnceADayAndPasses(t *testing.T) {
	rg := newRig(t)
	b := rg.imported(accepting("li"))
	if b.get("/goods"); b.who() != "member 70" {
		t.Fatalf("he is %s", b.who())
	}
	if got := b.fetch(http.MethodGet, "/api/me/summary"); got.StatusCode != http.StatusOK {
		t.Errorf("a script: %d", got.StatusCode)
	}
	page := b.get("/me/orders?page=2")
	if page.Request.URL.Path != "/wxgate/login" || !strings.Contains(page.body, `href="/me/orders?page=2"`) || !strings.Contains(page.body, "go=wechat") {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	for _, path := range []string{"/me/orders?page=2", "/me/address", "/wxgate/login?return_to=/me/orders"} {
		if got := b.get(path); strings.HasPrefix(got.Request.URL.Path, "/wxgate") || rg.last().Header.Get("X-User-ID") != "70" {
			t.Errorf("'not now' to %s leads to %s", path, got.Request.URL)
		}
	}
	b.age(23 * time.Hour)
	if got := b.get("/me/orders"); got.Request.URL.Path != "/me/orders" {
		t.Errorf("asked again on the same day, at %s", got.Request.URL)
	}
	b.age(time.Hour + time.Minute)
	if got := b.get("/me/orders"); got.Request.URL.Path != "/wxgate/login" {
		t.Errorf("not asked on the next day, at %s", got.Request.URL)
	}
}

func TestConsentOfAMemberBringsHisUnionID(t *testing.T) {
	rg := newRig(t, withWebsite)
	b := rg.imported(accepting("li"))
	if done := b.tapLogin(b.get("/me/orders?page=2")); done.Request.URL.RequestURI() != "/me/orders?page=2" {
		t.Errorf("at %s", done.Request.URL)
	}
	b.age(25 * time.Hour)
	if got := b.get("/me/orders"); got.Request.URL.Path != "/me/orders" {
		t.Errorf("asked although the unionid is known, at %s", got.Request.URL)
	}
	pc := rg.browser(uaDesktop)
	if pc.scanAt(pc.get("/me/orders"), accepting("li")); pc.who() != "member 70" {
		t.Errorf("at a computer he is %s", pc.who())
	}
}

func TestMemberWhoRefusesOrHasNoUnionIDGoesOn(t *testing.T) {
	for name, change := range map[string]func(*rig) wechattest.Person{
		"refuses": func(*rig) wechattest.Person {
			return wechattest.Person{Name: "li", Consent: wechattest.Refuse, Refusal: wechattest.StateOnly}
		},
		"an app that tells none": func(rg *rig) wechattest.Person {
			rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}})
			return accepting("li")
		},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			b := rg.imported(change(rg))
			if done := b.tapLogin(b.get("/me/orders")); done.Request.URL.Path != "/me/orders" || b.who() != "member 70" {
				t.Errorf("at %s as %s", done.Request.URL, b.who())
			}
			if got := b.get("/me/orders"); got.Request.URL.Path != "/me/orders" {
				t.Errorf("asked again, at %s", got.Request.URL)
			}
		})
	}
}

func TestWhoIsNotAskedForAUnionID(t *testing.T) {
	rg := newRig(t, withWebsite)
	b := rg.imported(accepting("li"))
	b.get("/goods")
	prefetch := func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") }
	if got := b.stay("/me/orders", prefetch); got.StatusCode != http.StatusOK {
		t.Errorf("a prefetch: %d", got.StatusCode)
	}
	b.ua = uaDesktop // where no consent can be asked for
	if got := b.stay("/me/orders"); got.StatusCode != http.StatusOK {
		t.Errorf("outside WeChat: %d to %s", got.StatusCode, got.Header.Get("Location"))
	}
	without := newRig(t, func(c *Config) { c.OfficialAccount = wechat.App{} })
	none := without.wechatBrowser(accepting("li"))
	none.byPhone("13800138000")
	if got := none.stay("/me/orders"); got.StatusCode != http.StatusOK {
		t.Errorf("without an official account: %d", got.StatusCode)
	}
}

// The snapshot page can only be read: it gets a hint and no button, and what it
// says of its visitor is nowhere kept.
func TestSnapshotPageGetsAHintWhereverItLeads(t *testing.T) {
	for name, tt := range map[string]struct {
		before wechattest.Snapshot // when the page was opened
		path   string
	}{
		"a page of members":         {wechattest.SnapshotOn, "/me/orders"},
		"the login page":            {wechattest.SnapshotOn, "/wxgate/login?return_to=/goods"},
		"with the real openid":      {wechattest.SnapshotRealID, "/me/orders"},
		"recognised after the tap":  {wechattest.SnapshotOff, "/me/orders"},
		"recognised late, and bind": {wechattest.SnapshotOff, bindMe},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept, Snapshot: tt.before})
			if tt.path == bindMe {
				b.byPhone("13800138000")
			}
			b.get("/goods")
			who := b.who()
			events, err := rg.db.Events(t.Context(), 0, 100)
			must(t, err)
			page := b.get(tt.path)
			if tt.before == wechattest.SnapshotOff {
				rg.wechat.AddPerson(wechattest.Person{Name: "li", Consent: wechattest.Accept, Snapshot: wechattest.SnapshotOn})
				page = b.tapLogin(page)
			}
			if !strings.Contains(page.body, "使用完整服务") || strings.Contains(page.body, "go=") {
				t.Errorf("at %s:\n%s", page.Request.URL, page.body)
			}
			after, err := rg.db.Events(t.Context(), 0, 100)
			must(t, err)
			if len(after.Events) != len(events.Events) || b.who() != who {
				t.Errorf("%s became %s, with %d events after %d", who, b.who(), len(after.Events), len(events.Events))
			}
		})
	}
}

// A member who was asked and then verifies his phone is not asked again on that
// day; the question was about this WeChat account and no other.
func TestSuccessorRemembersWhatItsWeChatAccountWasAsked(t *testing.T) {
	rg := newRig(t)
	old := &session.Session{AppID: testAppID, OpenID: "o1", AskedAt: 5, ConsentedAt: 7}
	for openid, want := range map[string]int64{"": 5, "o1": 5, "o2": 0} {
		e := earned{Outcome: account.Outcome{UserID: "70", Kind: account.Member}, risen: true}
		if openid != "" {
			e.proved.AppID, e.proved.OpenID = testAppID, openid
		}
		if next := rg.site.successor(old, e); next.AskedAt != want || (next.ConsentedAt != 0) != (want != 0) {
			t.Errorf("after %q: asked at %d, consented at %d", openid, next.AskedAt, next.ConsentedAt)
		}
	}
}
