package wechattest_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const websiteID = "wx3333333333333333"

// desk is a computer in front of the platform, and a phone beside it.
type desk struct {
	*platform
	computer *http.Client
}

func startDesk(t *testing.T, people ...wechattest.Person) desk {
	p := start(t, people...)
	p.SetApp(wechattest.App{ID: websiteID, Secret: "website-secret", Domains: []string{"127.0.0.1"}, OpenPlatform: "shop", Website: true})
	jar, _ := cookiejar.New(nil)
	return desk{p, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func qrQuery(appID, scope string) string {
	return "appid=" + appID + "&redirect_uri=" + url.QueryEscape(callback) + "&response_type=code&scope=" + scope + "&state=" + state
}

// show opens the page with the QR code on the computer.
func (d desk) show(query string) (page string) {
	d.Helper()
	return d.look("/connect/qrconnect?" + query)
}

func (d desk) look(path string) (page string) {
	d.Helper()
	location, page := d.visit(path)
	if location != "" {
		d.Fatalf("sent to %s", location)
	}
	return page
}

func (d desk) visit(path string) (location, page string) {
	d.Helper()
	resp, err := d.computer.Get(d.URL + path)
	if err != nil {
		d.Fatal(err)
	}
	return readPage(d.T, resp)
}

// wait is where the computer looks for the phone's answer.
func wait(page string) string {
	_, rest, _ := strings.Cut(page, `content="1;url=`)
	path, _, _ := strings.Cut(rest, `"`)
	return path
}

func TestScanOfAPhoneLogsInTheComputer(t *testing.T) {
	d := startDesk(t)
	page := d.show(qrQuery(websiteID, "snsapi_login"))
	if again := d.look(wait(page)); wechattest.ReadQR(again) != wechattest.ReadQR(page) {
		t.Errorf("before the scan:\n%s", again)
	}
	resp, err := wechattest.NewBrowser("li").Get(d.URL + wechattest.ReadQR(page))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	location, _ := d.visit(wait(page))
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, callback+"?code=") || u.Query().Get("state") != state {
		t.Fatalf("sent to %q", location)
	}
	if location, _ := d.visit(wait(page)); location != "" {
		t.Errorf("a scan works twice: %q", location)
	}
	d.clock.Advance(9 * time.Minute) // longer than a code of WeChat's own browser lives
	got := d.get(wechattest.ExchangeCode, "appid", websiteID, "secret", "website-secret", "grant_type", "authorization_code", "code", u.Query().Get("code"))
	if got["openid"] != d.OpenID("li", websiteID) || got["unionid"] != d.UnionID("li", shopID) || got["scope"] != "snsapi_login" {
		t.Errorf("exchanged for %v", got)
	}
	info := d.get(wechattest.UserInfo, "access_token", got["access_token"].(string), "openid", got["openid"].(string))
	if info["nickname"] != "li" {
		t.Errorf("the user's data: %v", info)
	}
}

func TestScanIsConfirmedOnThePhoneAndInWeChat(t *testing.T) {
	for decision, want := range map[string]string{"accept": callback + "?code=", "refuse": callback + "?state="} {
		d := startDesk(t, wechattest.Person{Name: "li", Refusal: wechattest.StateOnly})
		page := d.show(qrQuery(websiteID, "snsapi_login"))
		phone := wechattest.NewBrowser("li")
		if page := d.look(wechattest.ReadQR(page)); !strings.Contains(page, "请使用微信") {
			t.Errorf("a phone without WeChat sees\n%s", page)
		}
		resp, err := phone.Get(d.URL + wechattest.ReadQR(page))
		if err != nil {
			t.Fatal(err)
		}
		_, asked := readPage(t, resp)
		if d.look(wait(page)) == "" || !strings.Contains(asked, "<form") {
			t.Fatalf("the phone sees\n%s", asked)
		}
		m := ticketField.FindStringSubmatch(asked)
		resp, err = phone.PostForm(d.URL+"/connect/confirm", url.Values{"ticket": {m[1]}, "decision": {decision}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if location, page := d.visit(wait(page)); !strings.HasPrefix(location, want) {
			t.Errorf("%s: sent to %q, page\n%s", decision, location, page)
		}
	}
}

func TestQRCodeIsStrict(t *testing.T) {
	good := qrQuery(websiteID, "snsapi_login")
	for name, query := range map[string]string{
		"an official account":     qrQuery(shopID, "snsapi_login"),
		"its scope":               qrQuery(shopID, "snsapi_userinfo"),
		"another scope":           qrQuery(websiteID, "snsapi_base"),
		"an unknown appid":        qrQuery("wx0", "snsapi_login"),
		"another order":           "redirect_uri=" + url.QueryEscape(callback) + "&appid=" + websiteID + "&response_type=code&scope=snsapi_login&state=a",
		"a foreign host":          strings.Replace(good, "127.0.0.1", "evil.example", 1),
		"no state":                strings.TrimSuffix(good, state),
		"a parameter nobody asks": good + "&x=1",
	} {
		d := startDesk(t)
		if page := d.show(query); wechattest.ReadQR(page) != "" {
			t.Errorf("%s is accepted:\n%s", name, page)
		}
	}
	d := startDesk(t)
	if location, page := d.open(wechattest.NewBrowser("li"), qrQuery(websiteID, "snsapi_login")); location != "" || !strings.Contains(page, "10016") {
		t.Errorf("a website at the page of official accounts: %q\n%s", location, page)
	}
}

func TestQRCodeExpires(t *testing.T) {
	d := startDesk(t)
	page := d.show(qrQuery(websiteID, "snsapi_login") + "&lang=en")
	d.clock.Advance(5*time.Minute + time.Second)
	for _, path := range []string{wait(page), wechattest.ReadQR(page)} {
		if got := d.look(path); wechattest.ReadQR(got) != "" {
			t.Errorf("%s works on:\n%s", path, got)
		}
	}
}
