package wechat_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func TestExchangeAndProfile(t *testing.T) {
	w := newWorld(t)
	g := w.grant("li", wechat.ScopeUserInfo)
	want := wechat.Grant{
		OpenID: w.OpenID("li", shopID), UnionID: w.UnionID("li", shopID),
		Scope: "snsapi_userinfo", AccessToken: g.AccessToken,
	}
	if diff := cmp.Diff(want, g); diff != "" || g.AccessToken == "" {
		t.Errorf("grant, want - got +:\n%s", diff)
	}
	p, err := w.client.UserInfo(t.Context(), shop(), g)
	if err != nil {
		t.Fatal(err)
	}
	wantProfile := wechat.Profile{
		OpenID: g.OpenID, UnionID: g.UnionID, Nickname: "小李", AvatarURL: "https://thirdwx.qlogo.cn/a/132",
	}
	if diff := cmp.Diff(wantProfile, p); diff != "" {
		t.Errorf("profile, want - got +:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"sns/oauth2/access_token ok", "sns/userinfo ok"}, w.takeObserved()); diff != "" {
		t.Errorf("observed, want - got +:\n%s", diff)
	}
}

func TestNewRefusesUnusableEndpoints(t *testing.T) {
	for _, raw := range []string{"api.weixin.qq.com", "ftp://x", "https://", "https://u:p4ss@x", "https://x?a=1", "https://x#f", "://"} {
		for _, cfg := range []wechat.Config{{API: raw}, {Open: raw}} {
			_, err := wechat.New(cfg)
			if err == nil {
				t.Errorf("%q is accepted", raw)
			} else if strings.Contains(err.Error(), "p4ss") {
				t.Errorf("the error tells the password: %v", err)
			}
		}
	}
}

// A wrong answer of any kind ends in ErrUnavailable and never in a grant.
func TestWrongAnswers(t *testing.T) {
	tests := map[string]wechattest.Fault{
		"an HTML page":          wechattest.HTMLPage(),
		"a bad gateway":         wechattest.BadGateway(),
		"no body":               wechattest.EmptyBody(),
		"JSON that breaks off":  wechattest.WrongJSON(),
		"a huge body":           wechattest.HugeBody(),
		"an empty openid":       wechattest.EmptyOpenID(),
		"no openid":             {Set: map[string]any{"openid": nil}},
		"an openid that is not": {Set: map[string]any{"openid": "o'; DROP TABLE"}},
		"a number as openid":    {Set: map[string]any{"openid": 12345678}},
		"a unionid that is not": {Set: map[string]any{"unionid": "<b>"}},
		"an endless openid":     {Set: map[string]any{"openid": strings.Repeat("o", 129)}},
		"a JSON list":           {Body: `[]`},
		"a JSON null":           {Body: `null`},
		"a tail of blanks":      {Body: `{"openid":"o1","access_token":"t"}` + strings.Repeat(" ", 64<<10)},
		"two JSON objects":      {Body: `{"openid":"o1","access_token":"t"}{"openid":"o2"}`},
		"an odd errcode":        {Set: map[string]any{"errcode": "none"}},
		"a redirect":            {Status: http.StatusFound, Body: "Found"},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			code := w.code("li", wechat.ScopeUserInfo)
			w.Fail(wechattest.ExchangeCode, 1, fault)
			g, err := w.exchange(code)
			wantError(t, err, wechat.ErrUnavailable)
			if g != (wechat.Grant{}) {
				t.Error("a grant comes with the error")
			}
			wantCount(t, w.Server, wechattest.ExchangeCode, 1)
			if diff := cmp.Diff([]string{"sns/oauth2/access_token malformed"}, w.takeObserved()); diff != "" {
				t.Errorf("observed, want - got +:\n%s", diff)
			}
		})
	}
	t.Run("a token without access_token", func(t *testing.T) {
		w := newWorld(t)
		code := w.code("li", wechat.ScopeUserInfo)
		w.Fail(wechattest.ExchangeCode, 1, wechattest.Fault{Set: map[string]any{"access_token": ""}})
		_, err := w.exchange(code)
		wantError(t, err, wechat.ErrUnavailable)
	})
}

// Somebody else's openid in the answer to a question about one user is no
// answer to it.
func TestAnswerAboutSomebodyElse(t *testing.T) {
	w := newWorld(t)
	stranger := wechattest.Fault{Set: map[string]any{"openid": w.OpenID("wang", shopID)}}
	g := w.grant("li", wechat.ScopeUserInfo)
	w.Fail(wechattest.UserInfo, 1, stranger)
	_, err := w.client.UserInfo(t.Context(), shop(), g)
	wantError(t, err, wechat.ErrUnavailable)
	w.Fail(wechattest.Follower, 1, stranger)
	_, _, err = w.follower("li")
	wantError(t, err, wechat.ErrUnavailable)
}

// WeChat answers text/plain, numbers as strings, control characters inside
// nicknames, fields we do not know: all of it is an answer.
func TestTolerance(t *testing.T) {
	w := newWorld(t)
	w.Fail(wechattest.ExchangeCode, 1, wechattest.Fault{Set: map[string]any{
		"errcode": "0", "expires_in": "7200", "scope": "snsapi_base,snsapi_userinfo", "new": []int{1}, "unionid": nil,
	}})
	g := w.grant("li", wechat.ScopeUserInfo)
	w.Fail(wechattest.UserInfo, 1, wechattest.Fault{
		Status: http.StatusAccepted,
		Body:   `{"openid":"` + g.OpenID + "\",\"nickname\":\"\x14小\t李\",\"headimgurl\":\"https:\\/\\/a\\/0\",\"privilege\":{}}\n",
	})
	p, err := w.client.UserInfo(t.Context(), shop(), g)
	if err != nil {
		t.Fatal(err)
	}
	if p.Nickname != " 小 李" || p.AvatarURL != "https://a/0" {
		t.Errorf("nickname %q, avatar %q", p.Nickname, p.AvatarURL)
	}
}

// However WeChat hangs, a call ends within 5 s, or when its caller gives up.
func TestSlowPlatform(t *testing.T) {
	calls := map[string]struct {
		api  wechattest.API
		call func(ctx context.Context, w *world, g wechat.Grant) error
	}{
		"exchange": {wechattest.ExchangeCode, func(ctx context.Context, w *world, _ wechat.Grant) error {
			_, err := w.client.ExchangeCode(ctx, shop(), w.code("li", wechat.ScopeBase))
			return err
		}},
		"userinfo": {wechattest.UserInfo, func(ctx context.Context, w *world, g wechat.Grant) error {
			_, err := w.client.UserInfo(ctx, shop(), g)
			return err
		}},
		"token": {wechattest.StableToken, func(ctx context.Context, w *world, g wechat.Grant) error {
			_, _, err := w.client.Follower(ctx, shop(), g.OpenID)
			return err
		}},
		"follower": {wechattest.Follower, func(ctx context.Context, w *world, g wechat.Grant) error {
			_, _, err := w.client.Follower(ctx, shop(), g.OpenID)
			return err
		}},
	}
	for name, tt := range calls {
		t.Run(name+" hangs", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				g := w.grant("li", wechat.ScopeUserInfo)
				w.Fail(tt.api, wechattest.Forever, wechattest.Hang())
				start := time.Now()
				err := tt.call(t.Context(), w, g)
				wantError(t, err, wechat.ErrUnavailable)
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("took %v", took)
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v does not match context.DeadlineExceeded", err)
				}
				synctest.Wait()
				if seen := w.takeObserved(); seen[len(seen)-1] != string(tt.api)+" timeout" {
					t.Errorf("observed %q", seen)
				}
			})
		})
		t.Run(name+" is given up", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				g := w.grant("li", wechat.ScopeUserInfo)
				w.Fail(tt.api, wechattest.Forever, wechattest.Hang())
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				err := tt.call(ctx, w, g)
				wantError(t, err, wechat.ErrUnavailable)
				if took := time.Since(start); took != time.Second {
					t.Errorf("took %v", took)
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%v does not match context.Canceled", err)
				}
				time.Sleep(10 * time.Second) // a token fetch for others may go on for 5 s
			})
		})
	}
}
