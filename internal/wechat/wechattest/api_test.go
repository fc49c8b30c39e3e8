package wechattest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func wantCode(t *testing.T, r reply, want int) {
	t.Helper()
	if r.code() != want {
		t.Errorf("answer %v, want errcode %d", r, want)
	}
}

// exchangeParams are good parameters of an exchange with some changed.
func exchangeParams(code string, changes ...string) []string {
	params := []string{"appid", shopID, "secret", secret, "code", code, "grant_type", "authorization_code"}
	return append(params, changes...)
}

func TestExchangeIsStrict(t *testing.T) {
	p := start(t)
	for name, tt := range map[string]struct {
		changes []string
		want    int
	}{
		"no appid":                  {[]string{"appid", ""}, 41002},
		"an unknown appid":          {[]string{"appid", "wx0"}, 40013},
		"appid in capitals":         {[]string{"appid", strings.ToUpper(shopID)}, 40013},
		"no secret":                 {[]string{"secret", ""}, 41004},
		"a wrong secret":            {[]string{"secret", "x"}, 40125},
		"another grant_type":        {[]string{"grant_type", "refresh_token"}, 40002},
		"no code":                   {[]string{"code", ""}, 41008},
		"an unknown code":           {[]string{"code", "071abc"}, 40029},
		"another app and its own":   {[]string{"appid", otherID, "secret", "other-secret"}, 40029},
		"another app, our secret":   {[]string{"appid", otherID}, 40125},
		"nothing wrong, first time": {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			wantCode(t, p.get(wechattest.ExchangeCode, exchangeParams(p.code("li", "snsapi_base"), tt.changes...)...), tt.want)
		})
	}
	wantCode(t, p.post(wechattest.ExchangeCode, "", ""), 43001)
	p.SetApp(wechattest.App{ID: shopID, Secret: secret, Domains: []string{"127.0.0.1"}, SecretFrozen: true})
	wantCode(t, p.exchange(p.code("li", "snsapi_base")), 40243)
}

func TestCodeIsSpentOnce(t *testing.T) {
	p := start(t)
	code := p.code("li", "snsapi_base")
	wantCode(t, p.exchange(code), 0)
	wantCode(t, p.exchange(code), 40163)

	code = p.code("li", "snsapi_base")
	var won atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if p.exchange(code).code() == 0 {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d parallel exchanges won", won.Load())
	}
}

func TestCodeLivesFiveMinutes(t *testing.T) {
	p := start(t)
	young, old := p.code("li", "snsapi_base"), p.code("li", "snsapi_base")
	p.clock.Advance(5 * time.Minute)
	wantCode(t, p.exchange(young), 0)
	p.clock.Advance(time.Second)
	wantCode(t, p.exchange(old), 40029)
}

func TestErrorsLookLikeTheRealOnes(t *testing.T) {
	p := start(t)
	resp, err := http.Get(p.URL + "/sns/oauth2/access_token?appid=" + shopID + "&secret=" + secret + "&code=x&grant_type=authorization_code")
	if err != nil {
		t.Fatal(err)
	}
	_, body := readPage(t, resp)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/plain" ||
		!regexp.MustCompile(`^\{"errcode":40029,"errmsg":"invalid code, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"\}$`).MatchString(body) {
		t.Errorf("status %d, Content-Type %q, body %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
	}
}

func TestSlashesAreEscaped(t *testing.T) {
	p := start(t, wechattest.Person{Name: "li", AvatarURL: "https://a/0?b=1&c=<2>", Consent: wechattest.Accept})
	grant := p.exchange(p.code("li", "snsapi_userinfo"))
	resp, err := http.Get(p.URL + "/sns/userinfo?access_token=" + grant["access_token"].(string) + "&openid=" + grant["openid"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if _, body := readPage(t, resp); !strings.Contains(body, `"headimgurl":"https:\/\/a\/0?b=1&c=<2>"`) {
		t.Errorf("body %s", body)
	}
}

func TestSuccessHasNoErrcode(t *testing.T) {
	p := start(t)
	grant := p.exchange(p.code("li", "snsapi_base"))
	if _, found := grant["errcode"]; found || grant["expires_in"] != 7200.0 || grant["refresh_token"] == "" {
		t.Errorf("grant %v", grant)
	}
}

func TestIDs(t *testing.T) {
	p := start(t, wechattest.Person{Name: "li"}, wechattest.Person{Name: "wang"})
	for _, id := range []string{p.OpenID("li", shopID), p.UnionID("li", shopID)} {
		if !regexp.MustCompile(`^o[A-Za-z0-9_-]{27}$`).MatchString(id) {
			t.Errorf("id %q", id)
		}
	}
	if p.OpenID("li", shopID) == p.OpenID("li", otherID) || p.OpenID("li", shopID) == p.OpenID("wang", shopID) {
		t.Error("openids repeat")
	}
	if p.UnionID("li", shopID) != p.UnionID("li", otherID) || p.UnionID("li", shopID) == p.UnionID("wang", shopID) {
		t.Error("unionids are not one per person and Open Platform account")
	}
	before := p.UnionID("li", shopID)
	p.SetApp(wechattest.App{ID: shopID, OpenPlatform: "another"})
	if p.UnionID("li", shopID) == before {
		t.Error("the unionid stays with another Open Platform account")
	}
	p.SetApp(wechattest.App{ID: shopID})
	if p.UnionID("li", shopID) != "" || p.UnionID("li", "wx0") != "" {
		t.Error("an unbound app has unionids")
	}
}

func TestWhenTheUnionIDIsTold(t *testing.T) {
	app := wechattest.App{ID: shopID, Secret: secret, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop"}
	for name, tt := range map[string]struct {
		scope             string
		base, consented   bool
		unbound, wantTold bool
	}{
		"base":                         {scope: "snsapi_base"},
		"base after a consent":         {scope: "snsapi_base", consented: true},
		"base where the platform may":  {scope: "snsapi_base", base: true},
		"base after a consent, it may": {scope: "snsapi_base", base: true, consented: true, wantTold: true},
		"userinfo":                     {scope: "snsapi_userinfo", wantTold: true},
		"userinfo of an unbound app":   {scope: "snsapi_userinfo", unbound: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			a := app
			a.BaseUnionID = tt.base
			if tt.unbound {
				a.OpenPlatform = ""
			}
			p.SetApp(a)
			p.SetConsented("li", shopID, tt.consented)
			grant := p.exchange(p.code("li", tt.scope))
			if _, told := grant["unionid"]; told != tt.wantTold {
				t.Errorf("grant %v", grant)
			}
		})
	}
}

func TestSnapshotPages(t *testing.T) {
	for mode, want := range map[wechattest.Snapshot]struct{ flagged, virtual bool }{
		wechattest.SnapshotOn:        {true, true},
		wechattest.SnapshotUnflagged: {false, true},
		wechattest.SnapshotRealID:    {true, false},
	} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			p := start(t, wechattest.Person{Name: "li", Snapshot: mode})
			first, second := p.exchange(p.code("li", "snsapi_userinfo")), p.exchange(p.code("li", "snsapi_userinfo"))
			if flagged := first["is_snapshotuser"] == 1.0; flagged != want.flagged {
				t.Errorf("flagged %v", flagged)
			}
			virtual := first["openid"] != p.OpenID("li", shopID) && first["unionid"] != p.UnionID("li", shopID) &&
				first["openid"] != second["openid"] && first["unionid"] != second["unionid"]
			if virtual != want.virtual {
				t.Errorf("virtual %v: %v", virtual, first)
			}
			wantCode(t, p.get(wechattest.UserInfo, "access_token", first["access_token"].(string), "openid", first["openid"].(string)), 48001)
			if p.Consented("li", shopID) {
				t.Error("a snapshot page counts as a consent")
			}
		})
	}
}

func TestUserTokens(t *testing.T) {
	p := start(t)
	base := p.exchange(p.code("li", "snsapi_base"))
	full := p.exchange(p.code("li", "snsapi_userinfo"))
	token, openID := full["access_token"].(string), full["openid"].(string)
	info := func(token, openID string) reply {
		return p.get(wechattest.UserInfo, "access_token", token, "openid", openID)
	}
	profile := info(token, openID)
	if profile["sex"] != 0.0 || profile["province"] != "" || profile["nickname"] != "li" {
		t.Errorf("profile %v", profile)
	}
	wantCode(t, info(base["access_token"].(string), openID), 48001)
	wantCode(t, info("", openID), 41001)
	wantCode(t, info(token, ""), 41009)
	wantCode(t, info("75_x", openID), 40001)
	wantCode(t, info(token, p.OpenID("li", otherID)), 40003)
	wantCode(t, p.get(wechattest.CheckToken, "access_token", token, "openid", openID), 0)
	p.clock.Advance(2*time.Hour + time.Second)
	wantCode(t, info(token, openID), 42001)

	refresh := full["refresh_token"].(string)
	params := []string{"appid", shopID, "grant_type", "refresh_token", "refresh_token", refresh}
	again := p.get(wechattest.RefreshToken, params...)
	if again["access_token"] == token || again["openid"] != openID || again["unionid"] != nil {
		t.Errorf("refreshed %v", again)
	}
	if kept := p.get(wechattest.RefreshToken, params...); kept["access_token"] != again["access_token"] {
		t.Errorf("a living token is replaced: %v", kept)
	}
	wantCode(t, info(again["access_token"].(string), openID), 0)
	wantCode(t, p.get(wechattest.RefreshToken, append(params, "refresh_token", "")...), 41003)
	wantCode(t, p.get(wechattest.RefreshToken, append(params, "appid", otherID)...), 40030)
	wantCode(t, p.get(wechattest.RefreshToken, append(params, "refresh_token", "75_x")...), 40030)
	p.clock.Advance(30 * 24 * time.Hour)
	wantCode(t, p.get(wechattest.RefreshToken, params...), 42002)
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  wechattest.Fault
		status int
		body   string
		spent  bool
	}{
		"an errcode":        {wechattest.ErrCode(45011), 200, `^\{"errcode":45011,"errmsg":".+, rid: .+"\}$`, false},
		"an HTML page":      {wechattest.HTMLPage(), 200, `^<!DOCTYPE html>`, false},
		"a bad gateway":     {wechattest.BadGateway(), 502, `^<html>`, false},
		"wrong JSON":        {wechattest.WrongJSON(), 200, `^\{"access_token":"75_$`, false},
		"no body":           {wechattest.EmptyBody(), 200, `^$`, false},
		"a huge body":       {wechattest.HugeBody(), 200, `"padding":"x{999}`, true},
		"an empty openid":   {wechattest.EmptyOpenID(), 200, `"openid":""`, true},
		"a removed field":   {wechattest.Fault{Set: map[string]any{"scope": nil}}, 200, `"refresh_token":"[^"]+"\}$`, true},
		"-1 after effect":   {wechattest.Fault{ErrCode: -1, Consume: true}, 200, `"errcode":-1`, true},
		"a delay":           {wechattest.Delay(time.Millisecond), 200, `"access_token":"`, true},
		"a status, no body": {wechattest.Fault{Status: 503}, 503, `^$`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			code := p.code("li", "snsapi_base")
			p.Fail(wechattest.ExchangeCode, 1, tt.fault)
			query := "/sns/oauth2/access_token?grant_type=authorization_code&appid=" + shopID + "&secret=" + secret + "&code=" + code
			resp, err := http.Get(p.URL + query)
			if err != nil {
				t.Fatal(err)
			}
			_, body := readPage(t, resp)
			if resp.StatusCode != tt.status || !regexp.MustCompile(tt.body).MatchString(body) {
				t.Errorf("status %d, body %.200s", resp.StatusCode, body)
			}
			want := 0
			if tt.spent {
				want = 40163
			}
			wantCode(t, p.exchange(code), want)
			if p.Count(wechattest.ExchangeCode) != 2 {
				t.Errorf("count %d", p.Count(wechattest.ExchangeCode))
			}
		})
	}
}

func TestFaultsWithoutAnAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		fault wechattest.Fault
		want  int
	}{
		"hang":              {wechattest.Hang(), 0},
		"hang after effect": {wechattest.HangAfterEffect(), 40163},
		"drop":              {wechattest.Fault{Drop: true}, 0},
		"drop after effect": {wechattest.Fault{Drop: true, Consume: true}, 40163},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			code := p.code("li", "snsapi_base")
			p.Fail(wechattest.ExchangeCode, 1, tt.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "GET", p.URL+"/sns/oauth2/access_token?grant_type=authorization_code&appid="+shopID+"&secret="+secret+"&code="+code, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r); err == nil {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("an answer: %s", body)
			}
			wantCode(t, p.exchange(code), tt.want)
		})
	}
}

func TestFaultsQueueAndHeal(t *testing.T) {
	p := start(t)
	p.Fail(wechattest.CheckToken, 2, wechattest.ErrCode(-1))
	p.Fail(wechattest.CheckToken, wechattest.Forever, wechattest.ErrCode(45009))
	var got []int
	for range 4 {
		got = append(got, p.get(wechattest.CheckToken).code())
	}
	p.Heal(wechattest.CheckToken)
	got = append(got, p.get(wechattest.CheckToken).code())
	if fmt.Sprint(got) != "[-1 -1 45009 45009 41001]" {
		t.Errorf("errcodes %v", got)
	}
	for i, r := range p.Requests() {
		if r.API != wechattest.CheckToken || r.ErrCode != got[i] || r.Fault != (i < 4) || !r.Time.Equal(p.clock.Now()) {
			t.Errorf("request %d is logged as %+v", i, r)
		}
	}
}

func TestRequestLogIsBounded(t *testing.T) {
	p := start(t)
	for range 1200 {
		p.get(wechattest.CheckToken)
	}
	if n := len(p.Requests()); n != 1000 || p.Count(wechattest.CheckToken) != 1200 {
		t.Errorf("%d requests kept, %d counted", n, p.Count(wechattest.CheckToken))
	}
}
