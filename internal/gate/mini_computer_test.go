package gate

import (
	"maps"
	"net/http"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// onComputer is WeChat for Windows or Mac, whose mini programs send all that they
// send as a page of another site would.
func (m *mini) onComputer() *mini {
	m.ua = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 " +
		"MicroMessenger/7.0.20.1781(0x6700143B) NetType/WIFI MiniProgramEnv/Windows WindowsWechat/WMPF WindowsWechat(0x63090a13) XWEB/19895"
	m.adds = http.Header{
		"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}, "Xweb_xhr": {"1"}, "Accept": {"*/*"},
	}
	return m
}

func TestMiniProgramOnAComputer(t *testing.T) {
	rg := newRig(t, withMini, listening)
	li := rg.miniOf(liMini()).onComputer()
	if li.login(""); li.login("login").User.Kind != "member" {
		t.Error("he was not logged in")
	}
	if got, said := li.tapPhone(); got.StatusCode != http.StatusOK || !said.User.PhoneVerified {
		t.Errorf("his phone: %d %s", got.StatusCode, got.body)
	}
	li.give("Li", "")
	li.ticket("/goods")
	if got := li.request(http.MethodPost, "/wxgate/logout", map[string]string{}); got.StatusCode != http.StatusNoContent {
		t.Errorf("logout: %d %s", got.StatusCode, got.body)
	}
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
	li.token = li.fetch(http.MethodPost, "/login.php", func(r *http.Request) {
		maps.Copy(r.Header, li.adds)
		r.Header.Set("Authorization", "Wxgate "+li.token)
	}).Header.Get("X-Wxgate-Session")
	if id, kind := li.shop("/goods"); id != "U7" || kind != "member" {
		t.Errorf("after the shop's own login: the %s %s", kind, id)
	}
}

// A page of another site can send no header of ours, and no JSON.
func TestOtherSitesDoNotReachTheEndpointsOfMiniPrograms(t *testing.T) {
	rg := newRig(t, withMini, withMobile)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	b.get("/goods")
	for _, path := range []string{"/wxgate/mini/login", "/wxgate/mini/phone", "/wxgate/app/session", "/wxgate/app/login"} {
		for _, body := range []string{"text/plain", "application/x-www-form-urlencoded", ""} {
			fields := map[string]string{"appid": testMiniID, "code": rg.wechat.MiniLogin("li", testMiniID)}
			got := b.post(path, fields, func(r *http.Request) {
				r.Header.Set("Sec-Fetch-Site", "cross-site")
				r.Header.Set("Origin", "https://evil.example")
				r.Header.Set("Content-Type", body)
				if body == "" {
					r.Body, r.ContentLength = http.NoBody, 0
				}
			})
			if !is(got, http.StatusBadRequest, "malformed") || len(got.Cookies()) > 0 {
				t.Errorf("%s as %q: %d %s", path, body, got.StatusCode, got.body)
			}
		}
	}
}
