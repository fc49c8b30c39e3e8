package gate

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// beside starts another gateway of the same site, on the same database. Neither
// hears what the other one changes.
func (rg *rig) beside() *Site {
	rg.t.Helper()
	db, err := account.Open(rg.t.Context(), account.Config{URL: "sqlite:" + rg.dbPath})
	must(rg.t, err)
	rg.t.Cleanup(func() { db.Close() })
	must(rg.t, db.Unlock(rg.t.Context(), testSealer{rg.keys}))
	deps := rg.site.Deps
	deps.Accounts, deps.Cache, deps.Live = db, session.NewCache(16<<20), NewLive(db)
	deps.Watcher = NewWatcher(db.ReadInvalidations(), deps.Cache)
	db.OnChange(deps.Watcher.Changed)
	site, err := New(rg.site.cfg, deps)
	must(rg.t, err)
	return site
}

// holds lets a browser have a session that was taken from another one; empty:
// none any more.
func (b *browser) holds(token string) {
	u, err := url.Parse(b.rg.srv.URL)
	must(b.rg.t, err)
	c := &http.Cookie{Name: "wxgate", Value: token, Path: "/"}
	if token == "" {
		c.MaxAge = -1
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{c})
}

func (b *browser) isAskedToLogIn(got answer) {
	b.rg.t.Helper()
	if got.Request.URL.Path != "/wxgate/login" || got.StatusCode != http.StatusOK {
		b.rg.t.Errorf("he is at %s, %d", got.Request.URL, got.StatusCode)
	}
}

// of are the rows of the database that name somebody.
func of(rg *phoneRig, names ...string) (rows []string) {
	for table, all := range dump(rg.t, rg.rig) {
		if table == "wxgate_id_block" {
			continue
		}
		for _, row := range all {
			if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(row, name) }) {
				rows = append(rows, table+" "+row)
			}
		}
	}
	slices.Sort(rows)
	return rows
}

// theft is what somebody tries with a session that he has taken from li.
type theft struct {
	victim func(rg *phoneRig) *browser // li, logged in or known
	thief  func(rg *phoneRig) *browser // nil: an ordinary browser
	// prepare is what the thief does while the session still stands, if anything.
	prepare func(rg *phoneRig, thief *browser)
	act     func(rg *phoneRig, thief *browser)
}

func liInWeChat(page string) func(*phoneRig) *browser {
	return func(rg *phoneRig) *browser {
		b := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true, Consent: wechattest.Accept})
		b.get(page)
		return b
	}
}

func malloryInWeChat(rg *phoneRig) *browser {
	return rg.wechatBrowser(wechattest.Person{Name: "mallory", Follower: true, Consent: wechattest.Accept})
}

func liByPhone(rg *phoneRig) *browser { return rg.member(liPhone) }

// thefts are all ways in which a session does something to an account or makes
// another session.
func thefts() map[string]theft {
	post := func(path string, fields map[string]string) func(*phoneRig, *browser) {
		return func(_ *phoneRig, thief *browser) { thief.post(path, fields) }
	}
	return map[string]theft{
		"his own phone, for a member without one": {
			victim: liInWeChat("/me/orders"), act: func(rg *phoneRig, thief *browser) { rg.verify(thief, wangPhone) },
			prepare: func(rg *phoneRig, thief *browser) { thief.askCode(wangPhone) },
		},
		"a page for members, as a guest whom WeChat knows": {
			victim: liInWeChat("/goods"), act: func(_ *phoneRig, thief *browser) { thief.fetch(http.MethodGet, "/api/me/orders") },
		},
		"the login page, as a guest whom WeChat knows": {
			victim: liInWeChat("/goods"), act: func(_ *phoneRig, thief *browser) { thief.get("/wxgate/login?return_to=/goods") },
		},
		"his own login at the shop": {
			victim: liInWeChat("/goods"), act: func(rg *phoneRig, thief *browser) {
				rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: mallory")
				thief.submit("/login.php")
			},
		},
		"his own WeChat": {
			victim: liByPhone, thief: malloryInWeChat, act: func(_ *phoneRig, thief *browser) { thief.get("/goods") },
		},
		"his own WeChat, added to the account": {
			victim: liByPhone, thief: malloryInWeChat, act: func(_ *phoneRig, thief *browser) {
				thief.tapLogin(thief.get("/wxgate/bind?return_to=/goods"))
			},
		},
		"to unbind a WeChat": {
			victim: (*phoneRig).memberWithBoth, act: post("/wxgate/unbind", map[string]string{"appid": testAppID}),
		},
		"to cancel the account": {victim: liByPhone, act: post("/wxgate/account/cancel", nil)},
		"a new phone, with the old one proved": {
			victim: func(rg *phoneRig) *browser {
				li := rg.member(liPhone)
				rg.change(li, "")
				return li
			},
			act: func(rg *phoneRig, thief *browser) { rg.change(thief, newPhone) },
		},
		"his own WeChat, to change the phone": {
			victim: liByPhone, thief: malloryInWeChat, act: func(_ *phoneRig, thief *browser) {
				thief.isAskedToLogIn(thief.tap(thief.get(changeMe), "go=wechat"))
			},
		},
		"his own WeChat, for a merge": {
			victim: liByPhone, thief: malloryInWeChat, act: func(rg *phoneRig, thief *browser) {
				rg.proveForMerge(thief, wangPhone)
				thief.isAskedToLogIn(thief.get("/wxgate/merge?return_to=/cart&go=wechat", func(r *http.Request) {
					r.Header.Set("Sec-Fetch-Site", "same-origin")
				}))
			},
		},
		"the session of the member whom the guest has become": {
			victim: liInWeChat("/goods"), act: func(_ *phoneRig, thief *browser) { thief.get("/goods") },
			prepare: func(rg *phoneRig, thief *browser) {
				liInWeChat("/me/orders")(rg)
				thief.fetch(http.MethodGet, "/goods")
			},
		},
	}
}

// Attack: a session is stolen and used here, so that it is in the cache; then it
// is ended at another gateway, of which this one hears nothing yet. Nothing that
// it does here outlives its end.
func TestSessionEndedElsewhereAddsNothingHere(t *testing.T) {
	for name, x := range thefts() {
		for how, end := range map[string]func(rg *phoneRig, li *browser, id string){
			"logged out": func(rg *phoneRig, li *browser, _ string) {
				if got := li.fetch(http.MethodPost, "/wxgate/logout"); got.StatusCode != http.StatusNoContent {
					rg.t.Fatalf("logout: %d", got.StatusCode)
				}
			},
			"revoked": func(rg *phoneRig, _ *browser, id string) {
				must(rg.t, rg.pick().Accounts.(*account.DB).RevokeUser(rg.t.Context(), id, account.By{Reason: "a stolen phone"}))
			},
		} {
			t.Run(path.Join(name, how), func(t *testing.T) {
				rg := newPhoneRig(t, weChatMode, withMini, listening)
				li := x.victim(rg)
				thief := rg.browser(uaChrome)
				if x.thief != nil {
					thief = x.thief(rg)
				}
				thief.holds(li.cookies()["wxgate"])
				if x.prepare != nil {
					x.prepare(rg, thief)
				}
				thief.fetch(http.MethodGet, "/goods")
				id, _, _ := rg.identityOf()
				other := rg.beside()
				rg.pick = func() *Site { return other }
				end(rg, li, id)
				rg.pick = nil
				if thief.fetch(http.MethodGet, "/goods"); !rg.toldOf(id) {
					t.Fatal("this gateway has heard of the end: nothing is tried here")
				}
				before := of(rg, id)
				x.act(rg, thief)
				must(t, rg.site.Watcher.poll(t.Context()))
				if diff := cmp.Diff(before, of(rg, id)); diff != "" {
					t.Errorf("the account has changed:\n%s", diff)
				}
				if thief.fetch(http.MethodGet, "/goods"); rg.toldOf(id) {
					t.Error("he still is li")
				}
			})
		}
	}
}

// toldOf says whether the last request that reached the shop was somebody's.
func (rg *rig) toldOf(id string) bool {
	got, _, _ := rg.identityOf()
	return got == id && got != ""
}

// The same with a guest of whom nothing is stored: the page of a mini program of
// the thief's takes his browser's guest along, whom the thief's phone proves.
func TestGuestEndedElsewhereIsFetchedByNobody(t *testing.T) {
	rg := newPhoneRig(t, weChatMode, withMini)
	li := rg.visitor()
	guest, _, _ := rg.identityOf()
	mallory := rg.miniOf(wechattest.Person{Name: "mallory", Follower: true, Consent: wechattest.Accept})
	mallory.login("")
	thief := rg.webViewOf("mallory", testMiniID)
	thief.holds(li.cookies()["wxgate"])
	thief.fetch(http.MethodGet, "/goods")
	other := rg.beside()
	rg.pick = func() *Site { return other }
	li.fetch(http.MethodPost, "/wxgate/logout")
	rg.pick = nil
	if thief.fetch(http.MethodGet, "/goods"); !rg.toldOf(guest) {
		t.Fatal("this gateway has heard of the end: nothing is tried here")
	}
	thief.get(mallory.ticket("/goods"))
	thief.tapLogin(thief.get("/wxgate/login?return_to=/goods"))
	if rows := of(rg, guest); len(rows) > 0 {
		t.Errorf("li's guest is %q", rows)
	}
}

// The same with the session of a mini program, which says who WeChat knows even
// after a logout: a tap that brings a phone makes its holder a member again.
func TestMiniSessionEndedElsewhereAddsNothingHere(t *testing.T) {
	ownPhone := func(rg *phoneRig, thief *mini) {
		rg.wait()
		thief.post("/wxgate/phone/code", map[string]string{"phone": wangPhone})
		if rg.inbox.count() > 0 {
			thief.post("/wxgate/phone", map[string]string{"phone": wangPhone, "code": rg.inbox.last(rg.t).Code})
		}
	}
	for name, act := range map[string]func(rg *phoneRig, thief *mini){
		"his own phone": ownPhone,
		"a logout, and his own phone": func(rg *phoneRig, thief *mini) {
			thief.request(http.MethodPost, "/wxgate/logout", nil)
			ownPhone(rg, thief)
		},
		"a logout by the shop, and his own phone": func(rg *phoneRig, thief *mini) {
			rg.shop = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Wxgate-Logout", "1")
				w.WriteHeader(http.StatusNoContent)
			}
			thief.request(http.MethodGet, "/logout.php", nil)
			rg.shop = nil
			ownPhone(rg, thief)
		},
		"a nickname": func(_ *phoneRig, thief *mini) { thief.give("Mallory", "") },
	} {
		for how, end := range map[string]func(rg *phoneRig, li *mini, id string){
			"logged out": func(_ *phoneRig, li *mini, _ string) { li.request(http.MethodPost, "/wxgate/logout", nil) },
			"revoked": func(rg *phoneRig, _ *mini, id string) {
				must(rg.t, rg.pick().Accounts.(*account.DB).RevokeUser(rg.t.Context(), id, account.By{Reason: "a stolen phone"}))
			},
		} {
			t.Run(path.Join(name, how), func(t *testing.T) {
				rg := newPhoneRig(t, weChatMode, withMini, listening)
				li, thief := rg.miniOf(wechattest.Person{Name: "li"}), rg.miniOf(wechattest.Person{Name: "mallory"})
				id := li.login("login").User.ID
				thief.token = li.token
				thief.shop("/me/orders")
				other := rg.beside()
				rg.pick = func() *Site { return other }
				end(rg, li, id)
				rg.pick = nil
				if seen, _ := thief.shop("/me/orders"); seen != id {
					t.Fatal("this gateway has heard of the end: nothing is tried here")
				}
				openID := rg.wechat.OpenID("li", testMiniID)
				before := of(rg, id, openID)
				stolen := thief.token
				act(rg, thief)
				thief.token = stolen
				if got := thief.request(http.MethodGet, "/goods", nil); !is(got, http.StatusUnauthorized, "session_expired") {
					t.Errorf("what was found out is not remembered: %d %s", got.StatusCode, got.body)
				}
				must(t, rg.site.Watcher.poll(t.Context()))
				if diff := cmp.Diff(before, of(rg, id, openID)); diff != "" {
					t.Errorf("the account has changed:\n%s", diff)
				}
				if got := thief.request(http.MethodGet, "/wxgate/me", nil); strings.Contains(got.body, id) {
					t.Error("he still is li")
				}
			})
		}
	}
}

// A login has replaced a session on another gateway: here too it is served as
// what it was for a minute, and earns nothing more.
func TestSessionRotatedElsewhereIsServedAsWhatItWas(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	old := b.cookies()["wxgate"]
	other := rg.beside()
	rg.pick = func() *Site { return other }
	if got := b.fetch(http.MethodGet, "/api/me/orders"); got.StatusCode != http.StatusOK {
		t.Fatalf("no login: %d %s", got.StatusCode, got.body)
	}
	rg.pick = nil
	b.holds(old)
	if got := b.fetch(http.MethodGet, "/api/me/orders"); got.StatusCode != http.StatusUnauthorized || len(got.Header["Set-Cookie"]) > 0 {
		t.Errorf("%d %v", got.StatusCode, got.Header["Set-Cookie"])
	}
	if b.fetch(http.MethodGet, "/goods"); !rg.toldOf(guest) {
		t.Error("he is not the guest any more")
	}
}
