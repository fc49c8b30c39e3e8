package wechat

import (
	"errors"
	"strings"
	"testing"
)

// Whatever WeChat or something between sends: no panic, exactly one reaction,
// no identity that is not one, and nothing of the body in the error but a
// trace id.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"75_a","expires_in":7200,"refresh_token":"75_b","openid":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","scope":"snsapi_userinfo","is_snapshotuser":1,"unionid":"ocMvos6NjeKLIBqg5Mr9QjxrP1FA"}`,
		`{"access_token":"75_a","expires_in":"7200","openid":"o_-9","errcode":"0"}`,
		`{"errcode":40029,"errmsg":"invalid code, rid: 652d44d0-1d0af18b-5b069232"}`,
		`{"errcode":"40163","errmsg":"code been used, hints: [ req_id: Cf.y.a0389s108 ]"}`,
		`{"errcode":40164,"errmsg":"invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist"}`,
		`{"errcode":-1,"errmsg":null}`,
		`{"openid":"o1","nickname":"` + "\x14\xf0\x9f\x8d\xad\xff" + `","headimgurl":"https:\/\/a\/0","privilege":[]}`,
		`{"subscribe":1,"openid":"o1","unionid":"","tagid_list":[]}`,
		`{"openid":"","access_token":"t"}`,
		`<html><body>502</body></html>`, ``, `null`, `[]`, `{}`, `{"errcode":{}}`, `{"errcode":1e3}`, `{"openid":"o1"}{"openid":"o2"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for api, out := range map[string]interface {
			result
			who() identity
		}{
			apiExchange: &grantAnswer{}, apiUserInfo: &profileAnswer{}, apiFollower: &followerAnswer{}, apiStableToken: &tokenAnswer{},
		} {
			err := decode(api, body, out)
			if err == nil {
				if who := out.who(); api != apiStableToken && who.problem() != "" {
					t.Errorf("%s: accepted, but %s", api, who.problem())
				}
				continue
			}
			checkError(t, err)
		}
	})
}

func checkError(t *testing.T, err *Error) {
	t.Helper()
	matches := 0
	for _, sentinel := range []error{ErrCode, ErrBlocked, ErrBusy, ErrConfig, ErrToken, ErrScope, ErrUnavailable} {
		if errors.Is(err, sentinel) {
			matches++
		}
	}
	if matches != 1 {
		t.Errorf("%v matches %d reactions", err, matches)
	}
	if strings.ContainsAny(err.Error(), "\n\r<>{}\"") || len(err.Error()) > 150 {
		t.Errorf("the error repeats the answer: %q", err)
	}
}

func (i identity) who() identity     { return i }
func (a *tokenAnswer) who() identity { return identity{} }
