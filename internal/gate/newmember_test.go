package gate

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// userTable is a shop that makes user ids while it is up.
type userTable struct{ down atomic.Bool }

func (u *userTable) option(c *Config) {
	c.Account.MakeUserID = func(context.Context, account.Newcomer) (string, error) {
		if u.down.Load() {
			return "", errors.New("the shop is down")
		}
		return "shop-1", nil
	}
}

func TestMemberHasTheIDThatTheShopMade(t *testing.T) {
	rg := newRig(t, new(userTable).option)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	b.tapLogin(b.get("/me/orders"))
	if id, kind, previous := rg.identityOf(); id != "shop-1" || kind != "member" || previous != guest {
		t.Errorf("he is %s %s, previously %s", kind, id, previous)
	}
}

// unavailable says whether an answer asks to try again soon.
func unavailable(a answer) bool {
	return a.StatusCode == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "" && strings.Contains(a.body, "unavailable")
}

// A tap that the shop let down is said, and the visitor is the guest whom his
// WeChat has meanwhile.
func TestTapWithoutTheShopCanBeTriedAgain(t *testing.T) {
	var shop userTable
	shop.down.Store(true)
	rg := newRig(t, shop.option)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	page := b.tapLogin(b.get("/me/orders"))
	if !unavailable(page) || !strings.Contains(page.body, "/wxgate/login?return_to=%2Fme%2Forders") {
		t.Errorf("%d %v\n%s", page.StatusCode, page.Header, page.body)
	}
	b.get("/goods")
	if id, kind, _ := rg.identityOf(); id != guest || kind != "guest" || len(b.hops) != 0 {
		t.Errorf("the next page: %s %s instead of %s, through %v", kind, id, guest, b.hops)
	}
	if got := b.get("/wxgate/login?return_to=/me/orders"); !unavailable(got) {
		t.Errorf("tried again too early: %d at %s", got.StatusCode, got.Request.URL)
	}
	shop.down.Store(false)
	if got := b.get("/wxgate/login?return_to=/me/orders"); got.Request.URL.Path != "/me/orders" {
		t.Errorf("tried again, he is at %s", got.Request.URL)
	}
	if id, kind, previous := rg.identityOf(); id != "shop-1" || kind != "member" || previous != guest {
		t.Errorf("he is %s %s, previously %s", kind, id, previous)
	}
}

// Whoever meets no page on his way to become a member is not sent to one when
// it fails: there is nothing that he could do there.
func TestPromotionWithoutTheShopCanBeTriedAgain(t *testing.T) {
	var shop userTable
	shop.down.Store(true)
	rg := newRig(t, shop.option)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	reached := rg.reached()
	for range 20 {
		if got := b.get("/me/orders"); !unavailable(got) || len(b.hops) != 0 {
			t.Fatalf("a page: %d through %v", got.StatusCode, b.hops)
		}
		if got := b.fetch(http.MethodPost, "/api/me/orders"); !unavailable(got) || got.Header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("a script: %d %s", got.StatusCode, got.body)
		}
	}
	if n := rg.reached() - reached; n != 0 {
		t.Errorf("%d requests reached the shop", n)
	}
	if n := strings.Count(rg.log.String(), "new_members: the shop gave no user id"); n != 1 {
		t.Errorf("said %d times in the log:\n%s", n, rg.log)
	}
	b.get("/goods")
	if id, kind, _ := rg.identityOf(); id != guest || kind != "guest" {
		t.Errorf("he is %s %s instead of %s", kind, id, guest)
	}
	shop.down.Store(false)
	b.get("/me/orders")
	if id, kind, previous := rg.identityOf(); id != "shop-1" || kind != "member" || previous != guest {
		t.Errorf("he is %s %s, previously %s", kind, id, previous)
	}
}
