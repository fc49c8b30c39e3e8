package gate

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	testAppID  = "wx1111111111111111"
	testSecret = "official account secret"

	testWebsiteID     = "wx3333333333333333"
	testWebsiteSecret = "website secret"

	testMiniID      = "wx2222222222222222"
	testOtherMiniID = "wx2222222222222223"
	testMiniSecret  = "mini program secret"

	testMobileID     = "wx4444444444444444"
	testMobileSecret = "mobile app secret"
)

// rig is a whole gateway over real parts: a SQLite file, a memory store, the
// fake WeChat over HTTP, and a shop that records what reaches it.
type rig struct {
	t      *testing.T
	site   *Site
	db     *flakyAccounts
	dbPath string
	store  *flakyStore
	wechat *wechattest.Server
	cache  *session.Cache
	keys   *session.Keys
	srv    *httptest.Server
	log    *logBuffer

	more map[string]*Site // further sites, by their hosts
	pick func() *Site     // of several instances, the one that gets the next request; nil: there is one

	mu   sync.Mutex
	seen []*http.Request
	shop http.HandlerFunc // what the shop answers; nil: 200 with the path
}

type option func(*Config)

// newRig starts everything. Options change the site's configuration.
func newRig(t *testing.T, opts ...option) *rig {
	t.Helper()
	rg := &rig{t: t, log: new(logBuffer)}
	logger := slog.New(slog.NewTextHandler(rg.log, nil))
	rg.wechat = wechattest.NewServer(wechattest.Config{
		Apps: []wechattest.App{
			{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop"},
			{ID: testWebsiteID, Secret: testWebsiteSecret, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop", Website: true},
			{ID: testMiniID, Secret: testMiniSecret, OpenPlatform: "shop", MiniProgram: true},
			{ID: testOtherMiniID, Secret: testMiniSecret, OpenPlatform: "shop", MiniProgram: true},
			{ID: testMobileID, Secret: testMobileSecret, OpenPlatform: "shop", Mobile: true},
		},
	})
	t.Cleanup(rg.wechat.Close)
	client, err := wechat.New(wechat.Config{API: rg.wechat.URL, Open: rg.wechat.URL, Logger: logger})
	must(t, err)
	t.Cleanup(client.Close)
	rg.dbPath = filepath.Join(t.TempDir(), "wxgate.db")
	db, err := account.Open(t.Context(), account.Config{URL: "sqlite:" + rg.dbPath})
	must(t, err)
	db.LogTo(logger)
	t.Cleanup(func() { db.Close() })
	rg.db = &flakyAccounts{DB: db}
	rg.store = &flakyStore{Store: session.NewMemory(session.MemoryConfig{})}
	rg.keys, err = session.NewKeys("a secret for tests that is long enough")
	must(t, err)
	must(t, db.Unlock(t.Context(), testSealer{rg.keys}))
	rg.cache = session.NewCache(64 << 20)
	signer := testSigner(t)
	watcher := NewWatcher(db.ReadInvalidations(), rg.cache)
	db.OnChange(watcher.Changed)

	rg.srv = httptest.NewServer(http.HandlerFunc(rg.serve))
	t.Cleanup(rg.srv.Close)
	cfg := Config{
		ExternalURL: rg.srv.URL,
		Rules: []Rule{
			{Level: Bypass, Paths: []string{"/pay/notify"}},
			{Level: Public, Paths: []string{"/static/*"}},
			{Level: Login, Paths: []string{"/me/*", "/api/me/*"}},
		},
		OfficialAccount: wechat.App{AppID: testAppID, AppSecret: testSecret},
		Account:         account.Rules{FirstLogin: account.FirstLoginWeChat},
	}
	for _, o := range opts {
		o(&cfg)
	}
	rg.site, err = New(cfg, Deps{
		Accounts: rg.db, WeChat: client, Store: rg.store, Limiter: limit.NewMemory(10_000), Cache: rg.cache,
		Watcher: watcher, Live: NewLive(rg.db), Keys: rg.keys, Signer: signer, JWKS: func() []byte { return []byte(`{"keys":[]}`) },
		Metrics: nopMetrics{}, Log: logger,
	})
	must(t, err)
	return rg
}

// testSealer seals the key of phone numbers.
type testSealer struct{ keys *session.Keys }

func (s testSealer) Seal(b []byte) string { return s.keys.Seal(session.TypeDataKey, b) }
func (s testSealer) Open(sealed string) ([]byte, bool) {
	return s.keys.Open(session.TypeDataKey, sealed)
}
func (s testSealer) Newest(sealed string) bool { return s.keys.Newest(session.TypeDataKey, sealed) }

// testSigner signs with a key that the shop has too.
func testSigner(t *testing.T) *assertion.Signer {
	t.Helper()
	signer, err := assertion.NewSigner(assertion.SignerConfig{
		Algorithm: assertion.HS256, Key: "the shop's own key, long enough for HS256",
		Issuer: "http://shop.test", Audience: "http://shop.test",
	})
	must(t, err)
	return signer
}

// serve lets a request meet the site that its host names.
func (rg *rig) serve(w http.ResponseWriter, r *http.Request) {
	site := rg.site
	if rg.pick != nil {
		site = rg.pick()
	}
	if other := rg.more[r.Host]; other != nil {
		site = other
	}
	steps(w, r, site, rg.backend)
}

// steps takes the six steps, as the Caddy handler does.
func steps(w http.ResponseWriter, r *http.Request, site *Site, backend http.HandlerFunc) {
	sent := *r.URL
	v := site.Receive(r, Origin{Sent: &sent, Method: r.Method, ClientIP: "127.0.0.1"})
	site = v.Site()
	if site.Owns(v) {
		site.ServeHTTP(w, r, v)
		return
	}
	level, err := site.Level(r, v)
	if err != nil {
		site.Malformed(w, r)
		return
	}
	if level == Bypass {
		bw := site.Bypass(w)
		defer bw.Close()
		backend(bw, r)
		return
	}
	site.Identify(r, v, level)
	if site.Answer(w, r, v) {
		return
	}
	aw, ar, done := site.Attach(w, r, v)
	defer done()
	defer aw.Close()
	backend(aw, ar)
}

func (rg *rig) backend(w http.ResponseWriter, r *http.Request) {
	rg.mu.Lock()
	rg.seen = append(rg.seen, r.Clone(context.WithoutCancel(r.Context())))
	shop := rg.shop
	rg.mu.Unlock()
	if shop != nil {
		shop(w, r)
		return
	}
	_, _ = io.WriteString(w, "shop "+r.URL.Path)
}

// last returns the last request that reached the shop.
func (rg *rig) last() *http.Request {
	rg.t.Helper()
	rg.mu.Lock()
	defer rg.mu.Unlock()
	if len(rg.seen) == 0 {
		rg.t.Fatal("nothing reached the shop")
	}
	return rg.seen[len(rg.seen)-1]
}

func (rg *rig) reached() int {
	rg.mu.Lock()
	defer rg.mu.Unlock()
	return len(rg.seen)
}

// browser is one visitor's browser: a cookie jar and a User-Agent.
type browser struct {
	rg     *rig
	ua     string
	person string
	client *http.Client
	hops   []string // the paths that the last request was sent on to
}

// wechatBrowser is WeChat's browser on the phone of a person.
func (rg *rig) wechatBrowser(p wechattest.Person) *browser {
	rg.wechat.AddPerson(p)
	b := rg.browser(uaWeChat)
	b.person = p.Name
	return b
}

func (rg *rig) browser(ua string) *browser {
	jar, err := cookiejar.New(nil)
	must(rg.t, err)
	b := &browser{rg: rg, ua: ua}
	b.client = &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		b.hops = append(b.hops, r.URL.Path)
		if len(via) > 20 {
			return errors.New("sent around for ever")
		}
		b.navigate(r)
		return nil
	}}
	return b
}

func (b *browser) navigate(r *http.Request) {
	if b.person != "" && strings.HasPrefix(r.URL.Path, "/connect/") {
		r.Header.Set(wechattest.PersonHeader, url.QueryEscape(b.person))
	}
	r.Header.Set("User-Agent", b.ua)
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-User", "?1")
}

// get opens a page of the site and follows where it is sent.
func (b *browser) get(path string, edit ...func(*http.Request)) answer {
	b.rg.t.Helper()
	r, err := http.NewRequest(http.MethodGet, b.rg.abs(path), nil)
	must(b.rg.t, err)
	b.navigate(r)
	return b.do(r, edit...)
}

// fetch does what a script of the shop's page does.
func (b *browser) fetch(method, path string, edit ...func(*http.Request)) answer {
	b.rg.t.Helper()
	r, err := http.NewRequest(method, b.rg.abs(path), nil)
	must(b.rg.t, err)
	r.Header.Set("User-Agent", b.ua)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Referer", b.rg.abs("/cart?x=1"))
	return b.do(r, edit...)
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(r *http.Request, edit ...func(*http.Request)) answer {
	b.rg.t.Helper()
	for _, e := range edit {
		e(r)
	}
	b.hops = nil
	resp, err := b.client.Do(r)
	must(b.rg.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(b.rg.t, err)
	return answer{resp, string(body)}
}

func (rg *rig) abs(path string) string {
	if strings.HasPrefix(path, "http") {
		return path
	}
	return rg.srv.URL + path
}

// cookies returns the browser's cookies for the site, by name.
func (b *browser) cookies() map[string]string {
	u, err := url.Parse(b.rg.srv.URL)
	must(b.rg.t, err)
	all := map[string]string{}
	for _, c := range b.client.Jar.Cookies(u) {
		all[c.Name] = c.Value
	}
	return all
}

func (b *browser) clearCookies() {
	jar, err := cookiejar.New(nil)
	must(b.rg.t, err)
	b.client.Jar = jar
}

// tapLogin taps the button of the login page.
func (b *browser) tapLogin(page answer) answer {
	b.rg.t.Helper()
	return b.tap(page, "go=wechat")
}

// tap follows the first link of a page of ours, which must hold a word.
func (b *browser) tap(page answer, word string) answer {
	b.rg.t.Helper()
	_, rest, ok := strings.Cut(page.body, `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	if !ok || !strings.Contains(href, word) {
		b.rg.t.Fatalf("no button for %s on the page at %s:\n%s", word, page.Request.URL, page.body)
	}
	return b.get(strings.ReplaceAll(href, "&amp;", "&"), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
