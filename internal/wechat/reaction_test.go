package wechat_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// calls are the calls of the client, each made for li.
func calls() map[wechattest.API]func(*world) error {
	return map[wechattest.API]func(*world) error{
		wechattest.ExchangeCode: func(w *world) error {
			_, err := w.exchange(w.code("li", wechat.ScopeUserInfo))
			return err
		},
		wechattest.UserInfo: func(w *world) error {
			_, err := w.client.UserInfo(w.Context(), shop(), w.grant("li", wechat.ScopeUserInfo))
			return err
		},
		wechattest.StableToken: func(w *world) error {
			_, _, err := w.follower("li")
			return err
		},
		wechattest.Follower: func(w *world) error {
			_, _, err := w.follower("li")
			return err
		},
		wechattest.Followers: func(w *world) error {
			_, err := w.client.Followers(w.Context(), shop(), []string{w.OpenID("li", shopID)})
			return err
		},
		wechattest.Code2Session: func(w *world) error {
			_, err := w.client.Code2Session(w.Context(), mini(), w.MiniLogin("li", miniID))
			return err
		},
		wechattest.PhoneNumber: func(w *world) error {
			_, err := w.client.PhoneNumber(w.Context(), w.owner("li"), w.MiniPhone("li", miniID).Code)
			return err
		},
		wechattest.FollowerList: func(w *world) error {
			_, _, err := w.client.FollowerPage(w.Context(), shop(), "")
			return err
		},
	}
}

// Every errcode of the platform has one reaction, and no call is repeated but
// where repeating is safe.
func TestReactionToEveryErrcode(t *testing.T) {
	const (
		exchange, profile, token = wechattest.ExchangeCode, wechattest.UserInfo, wechattest.StableToken
		follower, followers      = wechattest.Follower, wechattest.Followers
		login, phone             = wechattest.Code2Session, wechattest.PhoneNumber
	)
	tests := []struct {
		codes  []int
		want   error
		except map[wechattest.API]error // where the same code means something else
	}{
		{codes: []int{-1, 45009, 45011}, want: wechat.ErrBusy},
		{codes: []int{40029, 40163, 42003, 61010}, want: wechat.ErrCode},
		{codes: []int{40226, 50001, 50002}, want: wechat.ErrBlocked},
		{codes: []int{40013, 40125, 40164, 40243, 48004, 61004, 89503}, want: wechat.ErrConfig},
		{codes: []int{40001}, want: wechat.ErrToken, except: map[wechattest.API]error{exchange: wechat.ErrConfig, login: wechat.ErrConfig, token: wechat.ErrConfig}},
		{codes: []int{40014, 40030, 42001, 42002, 42007}, want: wechat.ErrToken},
		{codes: []int{40003}, want: wechat.ErrUnavailable, except: map[wechattest.API]error{profile: wechat.ErrToken, phone: wechat.ErrCode, followers: nil}},
		{codes: []int{43004, 48001, 50005}, want: wechat.ErrScope},
		{codes: []int{46004}, want: wechat.ErrUnavailable, except: map[wechattest.API]error{follower: nil, followers: nil}},
		{codes: []int{40002, 40066, 41001, 41002, 41003, 41004, 41008, 41009, 43001, 43002, 43003, 44002, 47001}, want: wechat.ErrUnavailable},
		{codes: []int{1, 99999, -2}, want: wechat.ErrUnavailable},
	}
	unlabelled := []int{1, 99999, -2}
	for _, tt := range tests {
		for _, code := range tt.codes {
			for api, call := range calls() {
				want, special := tt.except[api]
				if !special {
					want = tt.want
				}
				t.Run(fmt.Sprintf("%d from %s", code, api), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						w.Fail(api, wechattest.Forever, wechattest.ErrCode(code))
						err := call(w)
						if want == nil {
							if err != nil {
								t.Errorf("got %v", err)
							}
						} else {
							wantError(t, err, want)
						}
						wantCount(t, w.Server, api, requestsAfter(code, api))
						if e := (*wechat.Error)(nil); errors.As(err, &e) && e.Logged() != (len(w.log.lines()) == 1) {
							t.Errorf("Logged is %v, log:\n%s", e.Logged(), w.log)
						}
						label := fmt.Sprint(code)
						if slices.Contains(unlabelled, code) {
							label = "other"
						}
						if seen := w.takeObserved(); seen[len(seen)-1] != string(api)+" "+label {
							t.Errorf("observed %q", seen)
						}
					})
				})
			}
		}
	}
}

// requestsAfter says how often a call is sent that is always answered so.
func requestsAfter(code int, api wechattest.API) int {
	switch {
	case code != -1:
		return 1
	case api == wechattest.ExchangeCode, api == wechattest.Code2Session, api == wechattest.PhoneNumber:
		return 2
	}
	return 3
}

func TestErrorNamesTheTrace(t *testing.T) {
	tests := map[string]struct{ errmsg, want string }{
		"today's form":     {"invalid code, rid: 652d44d0-1d0af18b-5b069232", "652d44d0-1d0af18b-5b069232"},
		"the older form":   {"invalid code, hints: [ req_id: Cf.y.a0389s108 ]", "Cf.y.a0389s108"},
		"none":             {"invalid code", ""},
		"something else":   {"invalid code, rid: see-the-code-071abc", ""},
		"a longer history": {"req_id: " + strings.Repeat("a", 33), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Fail(wechattest.ExchangeCode, 1, wechattest.Fault{Body: `{"errcode":40029,"errmsg":"` + tt.errmsg + `"}`})
			_, err := w.exchange("071abc")
			wantError(t, err, wechat.ErrCode)
			want := "wechat: sns/oauth2/access_token: errcode 40029"
			if tt.want != "" {
				want += ", rid " + tt.want
			}
			if err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
}
