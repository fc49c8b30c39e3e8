package gate

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// listening is a site that hears every word of the shop.
func listening(c *Config) {
	c.Upstream = Upstream{Challenge: true, LoginURL: "/login.php", Login: true}
}

// says lets the shop say words with an answer to a path, and 200 to others.
// They are header lines such as "X-Wxgate-Login: 7".
func (rg *rig) says(path string, status int, words ...string) {
	rg.mu.Lock()
	defer rg.mu.Unlock()
	rg.shop = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			_, _ = io.WriteString(w, "shop "+r.URL.Path)
			return
		}
		w.Header().Set("Set-Cookie", "PHPSESSID=1; Path=/")
		w.Header().Set("Content-Type", "text/x-shop")
		w.Header().Set("Etag", `"e"`)
		for _, line := range words {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "the shop's own words")
	}
}

// submit posts a plain form of the shop's page.
func (b *browser) submit(path string, edit ...func(*http.Request)) answer {
	b.rg.t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.rg.abs(path), strings.NewReader("name=li&pass=secret"))
	must(b.rg.t, err)
	b.navigate(r)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", b.rg.srv.URL)
	r.Header.Set("Referer", b.rg.abs("/form?step=2&x=%E8%8C%B6"))
	return b.do(r, edit...)
}

// whom is who the shop is told that a browser's next page is for.
func (b *browser) whom() string {
	b.rg.t.Helper()
	b.get("/whom")
	id, kind, previous := b.rg.identityOf()
	if previous != "" {
		previous = ", previously " + previous
	}
	return kind + " " + id + previous
}

func noWords(t *testing.T, h http.Header) {
	t.Helper()
	for name := range h {
		if f := fold(name); f == "x-login-required" || strings.HasPrefix(f, "x-wxgate-log") {
			t.Errorf("the visitor sees %s: %s", name, h.Get(name))
		}
	}
}

func TestShopsDemandBecomesAChallenge(t *testing.T) {
	rg := newRig(t, listening)
	for name, words := range map[string][]string{
		"401":                             {"X-Login-Required: login"},
		"a redirect to its login page":    {"Location: /login.php?next=%2Fcart"},
		"the same with the site's origin": {"Location: " + rg.srv.URL + "/login.php"},
		"the same from where it stands":   {"Location: ../login.php"},
	} {
		t.Run(name, func(t *testing.T) {
			status := http.StatusUnauthorized
			if name != "401" {
				status = http.StatusFound
			}
			rg.says("/shop/cart", status, words...)
			b := rg.browser(uaChrome)
			b.get("/goods")
			b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

			got := b.get("/shop/cart?x=%E8%8C%B6&y=1")
			noWords(t, got.Header)
			if to := got.Header.Get("Location"); got.StatusCode != http.StatusFound || to != "/wxgate/login?return_to=%2Fshop%2Fcart%3Fx%3D%25E8%258C%25B6%26y%3D1" {
				t.Errorf("a page: %d to %q", got.StatusCode, to)
			}
			if got.Header.Get("Etag") != "" || strings.Contains(got.body, "own words") {
				t.Errorf("the shop's answer came through: %v %s", got.Header, got.body)
			}
			if b.cookies()["PHPSESSID"] != "1" {
				t.Error("the shop's cookie was lost")
			}

			got = b.fetch(http.MethodPost, "/shop/cart")
			noWords(t, got.Header)
			if got.StatusCode != http.StatusUnauthorized || got.Header.Get("Content-Type") != "application/problem+json" ||
				!strings.Contains(got.body, `"code":"login_required"`) || !strings.Contains(got.body, `"login_url":"/wxgate/login?return_to=%2Fcart%3Fx%3D1"`) {
				t.Errorf("a script: %d %v %s", got.StatusCode, got.Header, got.body)
			}

			got = b.submit("/shop/cart")
			if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.Header.Get("Content-Type"), "text/html") ||
				!strings.Contains(got.body, "%2Fform%3Fstep%3D2%26x%3D%25E8%258C%25B6") {
				t.Errorf("a form: %d %v\n%s", got.StatusCode, got.Header, got.body)
			}
			if cc := got.Header.Get("Cache-Control"); cc != "private, no-store" {
				t.Errorf("a cache may keep it: %q", cc)
			}
		})
	}
}

// What a shop's answer is not meant to say.
func TestOtherAnswersOfTheShopAreItsOwn(t *testing.T) {
	rg := newRig(t, listening)
	for name, tt := range map[string]struct {
		status int
		word   string
	}{
		"a 401 of its own":        {http.StatusUnauthorized, "WWW-Authenticate: Basic"},
		"a 401 with another word": {http.StatusUnauthorized, "X-Login-Required: yes"},
		"a 403":                   {http.StatusForbidden, "X-Login-Required: login"},
		"a page":                  {http.StatusOK, "X-Login-Required: login"},
		"a redirect elsewhere":    {http.StatusFound, "Location: /login.php.bak"},
		"a redirect to another site's login page": {http.StatusFound, "Location: https://other.test/login.php"},
		"the address of the login page, created":  {http.StatusCreated, "Location: /login.php"},
	} {
		t.Run(name, func(t *testing.T) {
			rg.says("/cart", tt.status, tt.word)
			b := rg.browser(uaChrome)
			b.get("/goods")
			b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			for _, got := range []answer{b.get("/cart"), b.fetch(http.MethodPost, "/cart"), b.submit("/cart")} {
				noWords(t, got.Header)
				if got.StatusCode != tt.status || got.body != "the shop's own words" || got.Header.Get("Etag") != `"e"` {
					t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
				}
			}
		})
	}
}

// Wrong passwords lead back to the login page, from it and from its form.
func TestShopsLoginPageMayLeadToItself(t *testing.T) {
	rg := newRig(t, func(c *Config) {
		listening(c)
		c.Upstream.LoginURL = "/index.php?route=account/login"
	})
	at := func(path string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Referer", rg.abs(path)) }
	}
	b := rg.browser(uaChrome)
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	rg.says("/index.php", http.StatusFound, "Location: /index.php?route=account/login&error=1")
	for name, got := range map[string]answer{
		"the page":          b.get("/index.php?route=account%2Flogin"),
		"what it posts":     b.submit("/index.php?route=account/login", at("/index.php?route=account/login")),
		"what it posts to":  b.submit("/index.php?route=account/login.check", at("/index.php?route=account/login&error=1")),
		"what a script did": b.fetch(http.MethodPost, "/index.php?route=account/login.check", at("/index.php?route=account/login")),
	} {
		if to := got.Header.Get("Location"); to != "/index.php?route=account/login&error=1" {
			t.Errorf("%s: %d to %q\n%s", name, got.StatusCode, to, got.body)
		}
	}
	if to := b.get("/index.php?route=checkout", at("/index.php?route=account/login")).Header.Get("Location"); !strings.HasPrefix(to, "/wxgate/login?") {
		t.Errorf("a page that the login page leads to: sent to %q", to)
	}
	rg.says("/index.php", http.StatusFound, "Location: /index.php?route=common/home")
	if to := b.get("/index.php?route=checkout").Header.Get("Location"); to != "/index.php?route=common/home" {
		t.Errorf("another page of the same script: sent to %q", to)
	}
}

// A shop that asks for a login again and again sends nobody around for ever.
func TestDemandThatIsMetIsTheShopsOwnAnswer(t *testing.T) {
	counted := new(countedWords)
	rg := newRig(t, listening)
	rg.site.Metrics = counted
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	for _, word := range []string{"login", "LOGIN", "phone"} { // nobody can verify a phone here
		rg.says("/cart", http.StatusUnauthorized, "X-Login-Required: "+word)
		got := b.get("/cart")
		if noWords(t, got.Header); got.StatusCode != http.StatusUnauthorized || got.body != "the shop's own words" {
			t.Errorf("%s: %d %s", word, got.StatusCode, got.body)
		}
	}
	if n := counted.of("login_required", wordMet); n != 3 {
		t.Errorf("counted %d times", n)
	}
}

// countedWords counts what the gate makes of the shop's words.
type countedWords struct {
	nopMetrics
	said []string
}

func (c *countedWords) Upstream(word, outcome string) { c.said = append(c.said, word+" "+outcome) }

func (c *countedWords) of(word, outcome string) (n int) {
	for _, s := range c.said {
		if s == word+" "+outcome {
			n++
		}
	}
	return n
}

func TestDemandTakesTheVisitorThroughTheLoginAndBack(t *testing.T) {
	rg := newRig(t, listening)
	rg.mu.Lock()
	rg.shop = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/checkout" && r.Header.Get("X-User-Kind") != "member" {
			w.Header().Set("X-Login-Required", "login")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "shop "+r.URL.RequestURI())
	}
	rg.mu.Unlock()
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	if got := b.tapLogin(b.get("/checkout?cart=3&k=%E8%8C%B6")); got.body != "shop /checkout?cart=3&k=%E8%8C%B6" {
		t.Errorf("he is at %s:\n%s", got.Request.URL, got.body)
	}
	// Whose unionid is known meets no page.
	follower := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	follower.get("/goods")
	if got := follower.get("/checkout?cart=4"); got.body != "shop /checkout?cart=4" {
		t.Errorf("a follower is at %s through %v:\n%s", got.Request.URL, follower.hops, got.body)
	}
}

func TestDemandWhileTheStoreIsDown(t *testing.T) {
	rg := newRig(t, listening)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	rg.cache.Flush()
	rg.db.down.Store(true)
	rg.says("/cart", http.StatusUnauthorized, "X-Login-Required: login")
	if got := b.fetch(http.MethodGet, "/cart"); !unavailable(got) {
		t.Errorf("a script: %d %s", got.StatusCode, got.body)
	}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	rg.says("/cart", http.StatusFound, "Location: /login.php")
	if got := b.get("/cart"); got.Header.Get("Location") != "/login.php" {
		t.Errorf("a redirect to the shop's own login page: %d %v", got.StatusCode, got.Header)
	}
}

// A newcomer becomes a guest in the request that the shop wants a login for.
func TestDemandDeliversTheNewcomersSessionOnce(t *testing.T) {
	rg := newRig(t, listening)
	rg.says("/cart", http.StatusUnauthorized, "X-Login-Required: login")
	b := rg.browser(uaChrome)
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got := b.get("/cart")
	if set := strings.Join(got.Header["Set-Cookie"], "\n"); strings.Count(set, "wxgate=") != 1 || strings.Count(set, "PHPSESSID=") != 1 {
		t.Errorf("set:\n%s", set)
	}
}
