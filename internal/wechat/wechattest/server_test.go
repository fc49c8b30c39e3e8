package wechattest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	shopID   = "wx1111111111111111"
	otherID  = "wx9999999999999999"
	secret   = "shop-secret"
	callback = "http://127.0.0.1/cb"
	state    = "St4te"
)

// clock is a settable clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// platform is a running fake with two apps and the person li.
type platform struct {
	*wechattest.Server
	*testing.T
	clock *clock
}

func start(t *testing.T, people ...wechattest.Person) *platform {
	t.Helper()
	if len(people) == 0 {
		people = []wechattest.Person{{Name: "li", Consent: wechattest.Accept}}
	}
	c := &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	s := wechattest.NewServer(wechattest.Config{
		Now: c.Now,
		Apps: []wechattest.App{
			{ID: shopID, Secret: secret, Domains: []string{"127.0.0.1", "shop.example"}, OpenPlatform: "shop"},
			{ID: otherID, Secret: "other-secret", Domains: []string{"127.0.0.1"}, OpenPlatform: "shop"},
		},
		People: people,
	})
	t.Cleanup(s.Close)
	return &platform{Server: s, T: t, clock: c}
}

func authorizeQuery(redirectURI, scope, state string) string {
	return "appid=" + shopID + "&redirect_uri=" + url.QueryEscape(redirectURI) +
		"&response_type=code&scope=" + scope + "&state=" + state
}

// open sends a browser to the authorize page and returns its answer.
func (p *platform) open(browser *http.Client, rawQuery string) (location, page string) {
	p.Helper()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := browser.Get(p.URL + "/connect/oauth2/authorize?" + rawQuery)
	if err != nil {
		p.Fatal(err)
	}
	return readPage(p.T, resp)
}

func readPage(t *testing.T, resp *http.Response) (location, page string) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Get("Location"), string(body)
}

// code authorizes as the person and returns the code.
func (p *platform) code(person, scope string) string {
	p.Helper()
	location, page := p.open(wechattest.NewBrowser(person), authorizeQuery(callback, scope, state))
	u, err := url.Parse(location)
	if err != nil || u.Query().Get("code") == "" {
		p.Fatalf("no code in redirect %q, page %s", location, page)
	}
	return u.Query().Get("code")
}

type reply map[string]any

func (r reply) code() int { n, _ := r["errcode"].(float64); return int(n) }

func (p *platform) get(api wechattest.API, params ...string) reply {
	p.Helper()
	q := url.Values{}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	resp, err := http.Get(p.URL + "/" + string(api) + "?" + q.Encode())
	if err != nil {
		p.Fatal(err)
	}
	return p.decode(resp)
}

func (p *platform) post(api wechattest.API, query, body string) reply {
	p.Helper()
	resp, err := http.Post(p.URL+"/"+string(api)+"?"+query, "application/json", strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	return p.decode(resp)
}

func (p *platform) decode(resp *http.Response) reply {
	p.Helper()
	defer resp.Body.Close()
	var r reply
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		p.Fatalf("decoding the answer: %v", err)
	}
	return r
}

func (p *platform) exchange(code string) reply {
	p.Helper()
	return p.get(wechattest.ExchangeCode, "appid", shopID, "secret", secret, "code", code, "grant_type", "authorization_code")
}

func TestLoginFromAuthorizeToProfile(t *testing.T) {
	p := start(t, wechattest.Person{Name: "li", Nickname: "小李", AvatarURL: "https://thirdwx.qlogo.cn/a/132", Consent: wechattest.Accept})
	grant := p.exchange(p.code("li", "snsapi_userinfo"))
	if grant["openid"] != p.OpenID("li", shopID) || grant["unionid"] != p.UnionID("li", shopID) || grant["scope"] != "snsapi_userinfo" {
		t.Fatalf("grant %v", grant)
	}
	if _, found := grant["is_snapshotuser"]; found {
		t.Error("is_snapshotuser is told for an ordinary page")
	}
	profile := p.get(wechattest.UserInfo, "access_token", grant["access_token"].(string), "openid", grant["openid"].(string))
	if profile["nickname"] != "小李" || profile["headimgurl"] != "https://thirdwx.qlogo.cn/a/132" || profile["unionid"] != grant["unionid"] {
		t.Errorf("profile %v", profile)
	}
}

func TestPlatformIsMountableAsHandler(t *testing.T) {
	s := wechattest.New(wechattest.Config{})
	defer s.Close()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/sns/oauth2/access_token?appid=wx0", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"errcode":40013`) {
		t.Errorf("status %d, body %s", w.Code, w.Body)
	}
}
