package wechattest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// The real page matches order and case of the parameters, and so does ours.
func TestAuthorizeIsStrict(t *testing.T) {
	good := authorizeQuery(callback, "snsapi_base", state)
	redirect := url.QueryEscape(callback)
	tests := map[string]struct {
		query string
		want  string // in the page
	}{
		"appid in capitals":        {strings.Replace(good, "appid=", "AppID=", 1), "参数错误"},
		"another order":            {"redirect_uri=" + redirect + "&appid=" + shopID + "&response_type=code&scope=snsapi_base&state=a", "参数错误"},
		"sorted with forcePopup":   {"appid=" + shopID + "&forcePopup=true&redirect_uri=" + redirect + "&response_type=code&scope=snsapi_base&state=a", "参数错误"},
		"a parameter nobody knows": {good + "&x=1", "参数错误"},
		"a parameter in front":     {"x=1&" + good, "参数错误"},
		"a parameter twice":        {good + "&state=b", "参数错误"},
		"no state at all":          {strings.TrimSuffix(good, "&state="+state), "参数错误"},
		"an empty state":           {authorizeQuery(callback, "snsapi_base", ""), "10013"},
		"129 characters of state":  {authorizeQuery(callback, "snsapi_base", strings.Repeat("a", 129)), "state"},
		"a state with a dash":      {authorizeQuery(callback, "snsapi_base", "a-b"), "state"},
		"a state with a line end":  {authorizeQuery(callback, "snsapi_base", "a%0A"), "state"},
		"no appid":                 {strings.Replace(good, shopID, "", 1), "10012"},
		"an unknown appid":         {strings.Replace(good, shopID, "wx0", 1), "AppID"},
		"no redirect_uri":          {authorizeQuery("", "snsapi_base", state), "10011"},
		"a foreign host":           {authorizeQuery("https://evil.example/cb", "snsapi_base", state), "10003"},
		"a subdomain":              {authorizeQuery("https://pay.shop.example/cb", "snsapi_base", state), "10003"},
		"the host as a user":       {authorizeQuery("https://shop.example@evil.example/", "snsapi_base", state), "10003"},
		"a relative redirect_uri":  {authorizeQuery("/cb", "snsapi_base", state), "redirect_uri"},
		"another scheme":           {authorizeQuery("ftp://shop.example/cb", "snsapi_base", state), "redirect_uri"},
		"a raw redirect_uri":       {strings.Replace(good, redirect, callback, 1), "没有编码"},
		"another response_type":    {strings.Replace(good, "=code&", "=token&", 1), "response_type"},
		"no scope":                 {authorizeQuery(callback, "", state), "10010"},
		"the QR scope":             {authorizeQuery(callback, "snsapi_login", state), "10005"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			location, page := p.open(wechattest.NewBrowser("li"), tt.query)
			if location != "" || !strings.Contains(page, tt.want) {
				t.Errorf("redirect %q, want %q in page:\n%s", location, tt.want, page)
			}
		})
	}
	p := start(t)
	for _, query := range []string{
		good, good + "&forcePopup=true&connect_redirect=1",
		authorizeQuery("https://shop.example/a?b=1", "snsapi_base", strings.Repeat("Z", 128)),
	} {
		if location, page := p.open(wechattest.NewBrowser("li"), query); location == "" {
			t.Errorf("%s is refused:\n%s", query, page)
		}
	}
}

func TestAuthorizeChecksTheAccountsScopes(t *testing.T) {
	p := start(t)
	p.SetApp(wechattest.App{ID: shopID, Domains: []string{"127.0.0.1"}, Scopes: []string{"snsapi_base"}})
	if location, page := p.open(wechattest.NewBrowser("li"), authorizeQuery(callback, "snsapi_userinfo", state)); location != "" || !strings.Contains(page, "10005") {
		t.Errorf("redirect %q, page:\n%s", location, page)
	}
	p.code("li", "snsapi_base")
}

func TestAuthorizeWantsWeChat(t *testing.T) {
	p := start(t)
	for agent, want := range map[string]bool{
		wechattest.AndroidUserAgent: true, wechattest.IPhoneUserAgent: true, wechattest.WindowsUserAgent: true,
		wechattest.WeComUserAgent: false, wechattest.OrdinaryUserAgent: false,
	} {
		browser := wechattest.NewBrowser("li")
		browser.Transport.(*wechattest.Transport).UserAgent = agent
		location, page := p.open(browser, authorizeQuery(callback, "snsapi_base", state))
		if (location != "") != want || !want && !strings.Contains(page, "请在微信客户端打开链接") {
			t.Errorf("%s: redirect %q, page:\n%s", agent, location, page)
		}
	}
	lenient := wechattest.New(wechattest.Config{AnyBrowser: true})
	defer lenient.Close()
	w := httptest.NewRecorder()
	lenient.ServeHTTP(w, httptest.NewRequest("GET", "/connect/oauth2/authorize?"+authorizeQuery(callback, "snsapi_base", state), nil))
	if strings.Contains(w.Body.String(), "请在微信客户端打开链接") {
		t.Error("AnyBrowser asks for WeChat")
	}
}

func TestCallbackCarriesCodeAndState(t *testing.T) {
	p := start(t)
	for redirect, want := range map[string]string{
		callback:                   `^http://127\.0\.0\.1/cb\?code=[0-9A-Za-z]{32}&state=St4te$`,
		callback + "?a=1":          `^http://127\.0\.0\.1/cb\?a=1&code=[0-9A-Za-z]{32}&state=St4te$`,
		callback + "#/orders":      `^http://127\.0\.0\.1/cb\?code=[0-9A-Za-z]{32}&state=St4te#/orders$`,
		"https://shop.example:444": `^https://shop\.example:444\?code=[0-9A-Za-z]{32}&state=St4te$`,
	} {
		location, _ := p.open(wechattest.NewBrowser("li"), authorizeQuery(redirect, "snsapi_base", state))
		if !regexp.MustCompile(want).MatchString(location) {
			t.Errorf("redirect %q, want %s", location, want)
		}
	}
}

var ticketField = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

// decide presses a button of the consent page.
func (p *platform) decide(browser *http.Client, page, decision string) (location, answer string) {
	p.Helper()
	m := ticketField.FindStringSubmatch(page)
	if m == nil {
		p.Fatalf("no consent page:\n%s", page)
	}
	resp, err := browser.PostForm(p.URL+"/connect/oauth2/confirm", url.Values{"ticket": {m[1]}, "decision": {decision}})
	if err != nil {
		p.Fatal(err)
	}
	return readPage(p.T, resp)
}

func TestConsentPage(t *testing.T) {
	p := start(t, wechattest.Person{Name: "li"})
	browser := wechattest.NewBrowser("li")
	query := authorizeQuery(callback, "snsapi_userinfo", state)

	_, page := p.open(browser, query)
	if strings.Contains(page, "<script") || !strings.Contains(page, "允许") || !strings.Contains(page, "拒绝") {
		t.Errorf("page:\n%s", page)
	}
	if location, _ := p.decide(browser, page, "refuse"); location != "" || p.Consented("li", shopID) {
		t.Errorf("after a refusal: redirect %q", location)
	}
	_, page = p.open(browser, query)
	if location, _ := p.decide(browser, page, "accept"); !strings.Contains(location, "code=") || !p.Consented("li", shopID) {
		t.Errorf("after a consent: redirect %q", location)
	}
	if location, _ := p.decide(browser, page, "accept"); location != "" {
		t.Errorf("the page works twice: redirect %q", location)
	}
	if location, _ := p.open(browser, query); location == "" {
		t.Error("asked again after a consent")
	}
	if location, _ := p.open(browser, query+"&forcePopup=true"); location != "" {
		t.Error("forcePopup is not obeyed")
	}
	p.SetConsented("li", shopID, false)
	if location, _ := p.open(browser, query); location != "" {
		t.Error("not asked after the consent was withdrawn")
	}
}

func TestWhoIsAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		person wechattest.Person
		scope  string
		asked  bool
	}{
		"userinfo":                {wechattest.Person{}, "snsapi_userinfo", true},
		"base":                    {wechattest.Person{}, "snsapi_base", false},
		"a follower":              {wechattest.Person{Follower: true}, "snsapi_userinfo", true},
		"a follower in the menu":  {wechattest.Person{Follower: true, FromMenu: true}, "snsapi_userinfo", false},
		"a stranger in the menu":  {wechattest.Person{FromMenu: true}, "snsapi_userinfo", true},
		"in a snapshot page":      {wechattest.Person{Snapshot: wechattest.SnapshotOn}, "snsapi_userinfo", false},
		"one who always accepts":  {wechattest.Person{Consent: wechattest.Accept}, "snsapi_userinfo", false},
		"base although he refuse": {wechattest.Person{Consent: wechattest.Refuse}, "snsapi_base", false},
	} {
		t.Run(name, func(t *testing.T) {
			tt.person.Name = "li"
			p := start(t, tt.person)
			location, page := p.open(wechattest.NewBrowser("li"), authorizeQuery(callback, tt.scope, state))
			if asked := location == ""; asked != tt.asked || asked && !strings.Contains(page, "<form") {
				t.Errorf("asked %v, want %v; page:\n%s", asked, tt.asked, page)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for refusal, want := range map[wechattest.Refusal]string{
		wechattest.NoRedirect: "",
		wechattest.StateOnly:  callback + "?state=St4te",
		wechattest.Authdeny:   callback + "?code=authdeny&state=St4te",
	} {
		p := start(t, wechattest.Person{Name: "li", Consent: wechattest.Refuse, Refusal: refusal})
		location, page := p.open(wechattest.NewBrowser("li"), authorizeQuery(callback, "snsapi_userinfo", state))
		if location != want || want == "" && !strings.Contains(page, "拒绝") {
			t.Errorf("redirect %q, want %q; page:\n%s", location, want, page)
		}
	}
}

func TestBrowserNamesItsPerson(t *testing.T) {
	p := start(t, wechattest.Person{Name: "li"}, wechattest.Person{Name: "王 芳"})
	query := authorizeQuery(callback, "snsapi_base", state)
	who := func(browser *http.Client) string {
		t.Helper()
		p.open(browser, query)
		all := p.Requests()
		return all[len(all)-1].Person
	}
	if got := who(wechattest.NewBrowser("")); got != "li" || p.Held() != "li" {
		t.Errorf("the first person does not hold the phone, but %q", got)
	}
	p.Hold("王 芳")
	if got := who(wechattest.NewBrowser("")); got != "王 芳" {
		t.Errorf("phone handed over: %q", got)
	}
	if got := who(wechattest.NewBrowser("li")); got != "li" {
		t.Errorf("browser of li: %q", got)
	}
	cookie := wechattest.NewBrowser("")
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	cookie.Jar.SetCookies(u, []*http.Cookie{{Name: wechattest.PersonCookie, Value: url.QueryEscape("li")}})
	if got := who(cookie); got != "li" {
		t.Errorf("cookie of li: %q", got)
	}
	if location, _ := p.open(wechattest.NewBrowser("nobody"), query); location != "" {
		t.Errorf("a person who does not exist is sent to %q", location)
	}
}

func TestAddPersonReplacesTheSameName(t *testing.T) {
	p := start(t, wechattest.Person{Name: "li"}, wechattest.Person{Name: "wang"})
	p.AddPerson(wechattest.Person{Name: "li", Consent: wechattest.Refuse})
	all := p.People()
	if len(all) != 2 || all[0] != (wechattest.Person{Name: "li", Consent: wechattest.Refuse}) || all[1].Name != "wang" {
		t.Errorf("people %+v", all)
	}
}

// The name of the person is for the platform; a shop behind it must not see a
// header that no browser sends.
func TestBrowserTellsOnlyThePlatform(t *testing.T) {
	var got http.Header
	shop := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer shop.Close()
	resp, err := wechattest.NewBrowser("li").Get(shop.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got.Get(wechattest.PersonHeader) != "" || got.Get("User-Agent") != wechattest.AndroidUserAgent || !strings.HasPrefix(got.Get("Accept"), "text/html") {
		t.Errorf("headers %v", got)
	}
}

func TestDoubledCallback(t *testing.T) {
	var hits atomic.Int32
	var cookies atomic.Int32
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		cookies.Add(int32(len(r.Cookies())))
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer shop.Close()
	p := start(t, wechattest.Person{Name: "li", DoubledCallback: true})
	location, _ := p.open(wechattest.NewBrowser("li"), authorizeQuery(shop.URL+"/cb", "snsapi_base", state))
	p.Close() // waits for the second one
	if !strings.HasPrefix(location, shop.URL+"/cb?code=") || hits.Load() != 1 || cookies.Load() != 0 {
		t.Errorf("redirect %q, %d requests with %d cookies by the platform itself", location, hits.Load(), cookies.Load())
	}
}

func TestDelayedCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wechattest.New(wechattest.Config{
			Apps:   []wechattest.App{{ID: shopID, Secret: secret, Domains: []string{"127.0.0.1"}}},
			People: []wechattest.Person{{Name: "li", CallbackDelay: 3 * time.Second}},
		})
		defer s.Close()
		r := httptest.NewRequest("GET", "/connect/oauth2/authorize?"+authorizeQuery(callback, "snsapi_base", state), nil)
		r.Header.Set("User-Agent", wechattest.IPhoneUserAgent)
		w := httptest.NewRecorder()
		start := time.Now()
		s.ServeHTTP(w, r)
		if took := time.Since(start); took != 3*time.Second || w.Code != http.StatusFound {
			t.Errorf("took %v, status %d", took, w.Code)
		}
	})
}
