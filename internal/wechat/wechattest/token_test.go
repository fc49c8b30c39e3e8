package wechattest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func stableBody(appID, secret string, force bool) string {
	return fmt.Sprintf(`{"grant_type":"client_credential","appid":%q,"secret":%q,"force_refresh":%v}`, appID, secret, force)
}

func (p *platform) stable(force bool) string {
	p.Helper()
	r := p.post(wechattest.StableToken, "", stableBody(shopID, secret, force))
	token, _ := r["access_token"].(string)
	if token == "" {
		p.Fatalf("no token: %v", r)
	}
	return token
}

func (p *platform) plain() string {
	p.Helper()
	r := p.get(wechattest.PlainToken, "grant_type", "client_credential", "appid", shopID, "secret", secret)
	token, _ := r["access_token"].(string)
	if token == "" {
		p.Fatalf("no token: %v", r)
	}
	return token
}

// works reports the errcode of a call with a server token.
func (p *platform) works(token string) int {
	p.Helper()
	return p.get(wechattest.Follower, "access_token", token, "openid", p.OpenID("li", shopID)).code()
}

func (p *platform) wantWorks(token string, want int) {
	p.Helper()
	if got := p.works(token); got != want {
		p.Errorf("errcode %d, want %d", got, want)
	}
}

func TestStableTokenStaysUntilItsLastMinutes(t *testing.T) {
	p := start(t)
	first := p.stable(false)
	p.clock.Advance(2*time.Hour - 5*time.Minute - time.Second)
	if again := p.stable(false); again != first {
		t.Error("another token before the last five minutes")
	}
	p.clock.Advance(time.Second)
	second := p.stable(false)
	if second == first {
		t.Error("the same token in the last five minutes")
	}
	p.wantWorks(first, 0)
	p.wantWorks(second, 0)
	p.clock.Advance(5 * time.Minute)
	p.wantWorks(first, 42001)
	p.wantWorks(second, 0)
}

func TestTokenLifeIsWhatIsLeft(t *testing.T) {
	p := start(t)
	p.stable(false)
	p.clock.Advance(time.Hour)
	if r := p.post(wechattest.StableToken, "", stableBody(shopID, secret, false)); r["expires_in"] != 3600.0 {
		t.Errorf("answer %v", r)
	}
}

func TestPlainTokenReplacesTheFormer(t *testing.T) {
	p := start(t)
	stable, first := p.stable(false), p.plain()
	second := p.plain()
	if first == second {
		t.Error("the same token twice")
	}
	p.clock.Advance(5*time.Minute - time.Second)
	p.wantWorks(first, 0)
	p.clock.Advance(time.Second)
	p.wantWorks(first, 42001)
	p.wantWorks(second, 0)
	p.wantWorks(stable, 0) // the two kinds know nothing of each other
}

func TestForcedRefresh(t *testing.T) {
	p := start(t)
	plain, first := p.plain(), p.stable(false)
	second := p.stable(true)
	p.wantWorks(first, 40001)
	p.wantWorks(plain, 0)
	if again := p.stable(true); again != second {
		t.Error("forced twice within 30 s")
	}
	tokens := map[string]bool{second: true}
	for range 30 {
		p.clock.Advance(30 * time.Second)
		tokens[p.stable(true)] = true
	}
	if len(tokens) != 20 {
		t.Errorf("%d forced refreshes in a day", len(tokens))
	}
	forced := slices.ContainsFunc(p.Requests(), func(r wechattest.Request) bool { return r.Forced })
	if !forced {
		t.Error("the log does not say who forced")
	}
}

func TestTokenEndpointsAreStrict(t *testing.T) {
	p := start(t)
	good := stableBody(shopID, secret, false)
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"no body":            {"", 44002},
		"no JSON":            {"appid=" + shopID, 47001},
		"no grant_type":      {strings.Replace(good, "client_credential", "", 1), 40002},
		"no appid":           {stableBody("", secret, false), 41002},
		"an unknown appid":   {stableBody("wx0", secret, false), 40013},
		"no secret":          {stableBody(shopID, "", false), 41004},
		"a wrong secret":     {stableBody(shopID, "x", false), 40125},
		"no force_refresh":   {strings.Replace(good, `,"force_refresh":false`, "", 1), 41002},
		"nothing wrong here": {good, 0},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, p.post(wechattest.StableToken, "", tt.body), tt.want) })
	}
	wantCode(t, p.get(wechattest.StableToken, "appid", shopID), 43002)
	wantCode(t, p.get(wechattest.PlainToken, "appid", shopID, "secret", secret), 40002)
	wantCode(t, p.post(wechattest.PlainToken, "", ""), 43001)

	p.SetApp(wechattest.App{ID: shopID, Secret: secret, AllowedIPs: []string{"203.0.113.9"}})
	r := p.post(wechattest.StableToken, "", good)
	wantCode(t, r, 40164)
	if !strings.Contains(r["errmsg"].(string), "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist") {
		t.Errorf("errmsg %v", r["errmsg"])
	}
	p.SetApp(wechattest.App{ID: shopID, Secret: secret, AllowedIPs: []string{"127.0.0.1"}})
	wantCode(t, p.post(wechattest.StableToken, "", good), 0)
	p.SetApp(wechattest.App{ID: shopID, Secret: secret, SecretFrozen: true})
	wantCode(t, p.post(wechattest.StableToken, "", good), 40243)
}

func TestServerTokensAreChecked(t *testing.T) {
	p := start(t)
	p.wantWorks("", 41001)
	p.wantWorks("short", 40014)
	p.wantWorks(strings.Repeat("a", 136), 40001)
	token := p.stable(false)
	p.wantWorks(token, 0)
	p.RevokeTokens(shopID)
	p.wantWorks(token, 40001)
	foreign := p.post(wechattest.StableToken, "", stableBody(otherID, "other-secret", false))["access_token"].(string)
	p.wantWorks(foreign, 40003) // another app's token, our openid
}

func TestFollowers(t *testing.T) {
	p := start(t, wechattest.Person{Name: "li"}, wechattest.Person{Name: "wang", Follower: true}, wechattest.Person{Name: "zhao", Follower: true})
	token := p.stable(false)
	id := func(name string) string { return p.OpenID(name, shopID) }

	wang := p.get(wechattest.Follower, "access_token", token, "openid", id("wang"))
	if wang["subscribe"] != 1.0 || wang["unionid"] != p.UnionID("wang", shopID) || wang["nickname"] != nil {
		t.Errorf("a follower: %v", wang)
	}
	li := p.get(wechattest.Follower, "access_token", token, "openid", id("li"))
	if li["subscribe"] != 0.0 || li["unionid"] != nil || len(li) != 3 {
		t.Errorf("a stranger: %v", li)
	}
	wantCode(t, p.get(wechattest.Follower, "access_token", token), 41009)
	wantCode(t, p.post(wechattest.Follower, "access_token="+token, ""), 43001)

	batch := p.post(wechattest.Followers, "access_token="+token, `{"user_list":[{"openid":"`+id("wang")+`"},{"openid":"`+id("li")+`"}]}`)
	if list, _ := batch["user_info_list"].([]any); len(list) != 2 {
		t.Errorf("batch: %v", batch)
	}
	tooMany := `{"user_list":[` + strings.TrimSuffix(strings.Repeat(`{"openid":"`+id("li")+`"},`, 101), ",") + `]}`
	wantCode(t, p.post(wechattest.Followers, "access_token="+token, tooMany), 40032)

	all := p.get(wechattest.FollowerList, "access_token", token)
	if all["total"] != 2.0 || all["count"] != 2.0 || all["next_openid"] != id("zhao") {
		t.Errorf("list: %v", all)
	}
	rest := p.get(wechattest.FollowerList, "access_token", token, "next_openid", id("wang"))
	if rest["count"] != 1.0 {
		t.Errorf("next page: %v", rest)
	}
	end := p.get(wechattest.FollowerList, "access_token", token, "next_openid", id("zhao"))
	if end["count"] != 0.0 || end["next_openid"] != "" || end["data"] != nil {
		t.Errorf("last page: %v", end)
	}
	wantCode(t, p.get(wechattest.FollowerList, "access_token", token, "next_openid", "o1"), 40003)
}
