package gate

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// shadowCounts are what would have become of requests, by level and outcome.
type shadowCounts struct {
	silent
	mu  sync.Mutex
	all map[string]int
}

func (c *shadowCounts) Shadow(l Level, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[l.String()+" "+outcome]++
}

// taken returns what was counted since the last call.
func (c *shadowCounts) taken() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = map[string]int{}
	return all
}

// cast puts the rig's site into the shadow.
func (rg *rig) cast(share int) *shadowCounts {
	rg.t.Helper()
	counts := &shadowCounts{all: map[string]int{}}
	rg.site.Metrics, rg.site.cfg.Shadow, rg.site.shadow = counts, share, nil
	must(rg.t, rg.site.castShadow())
	return counts
}

func TestInTheShadowNothingHappensAndIsCounted(t *testing.T) {
	rg := newRig(t, hears)
	counts := rg.cast(everybody)
	for name, tt := range map[string]struct {
		ua, path, method string
		shop             http.HandlerFunc
		counted          string
		why              string
	}{
		"a page":                       {ua: uaDesktop, path: "/goods", counted: "guest guest"},
		"a page in WeChat":             {ua: uaWeChat, path: "/goods", counted: "guest silent", why: "WeChat is asked who he is"},
		"a page of members":            {ua: uaDesktop, path: "/me/orders", counted: "login challenge", why: "the level asks for more"},
		"a script of members":          {ua: uaDesktop, path: "/api/me/x", method: "POST", counted: "login challenge"},
		"a picture":                    {ua: uaDesktop, path: "/static/x", counted: "public pass"},
		"a URL that is not meant well": {ua: uaDesktop, path: "/a%00b", counted: "guest refused", why: "no path"},
		"the shop's redirect to its login": {ua: uaDesktop, path: "/goods", counted: "guest challenge", why: "the shop asks for a login", shop: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/login.php", http.StatusFound)
		}},
		"the shop's login": {ua: uaDesktop, path: "/goods", method: "POST", counted: "guest login", why: "has logged him in", shop: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Wxgate-Login", "4711")
			w.WriteHeader(http.StatusOK)
		}},
		"the shop's logout": {ua: uaDesktop, path: "/goods", method: "POST", counted: "guest logout", why: "has logged him out", shop: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Wxgate-Logout", "1")
			w.WriteHeader(http.StatusOK)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			counts.taken()
			rg.shop = tt.shop
			b := rg.browser(tt.ua)
			b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			forged := as("X-User-Id", "1000000000")
			reached := rg.reached()
			var got answer
			if tt.method != "" {
				got = b.fetch(tt.method, tt.path, forged)
			} else {
				got = b.get(tt.path, forged)
			}
			if rg.reached() != reached+1 {
				t.Fatalf("the shop was not reached: %d %s", got.StatusCode, got.body)
			}
			for name := range rg.last().Header {
				if strings.HasPrefix(name, "X-User") {
					t.Errorf("the shop got %s", name)
				}
			}
			if len(b.cookies()) > 0 || got.Header.Get("Set-Cookie") != "" {
				t.Errorf("a cookie: %v", got.Header)
			}
			for name := range got.Header {
				if strings.HasPrefix(name, "X-Wxgate") {
					t.Errorf("the visitor got %s", name)
				}
			}
			if location := got.Header.Get("Location"); location != "" && location != "/login.php" {
				t.Errorf("led to %s", location)
			}
			all := counts.taken()
			if all[tt.counted] != 1 {
				t.Errorf("counted %v, want %s", all, tt.counted)
			}
			level, outcome, _ := strings.Cut(tt.counted, " ")
			line := fmt.Sprintf("would_be=%s level=%s method=%s path=%s why=", outcome, level, rg.last().Method, tt.path)
			if logged := strings.Contains(rg.log.String(), line); logged != (outcome != outcomePass) || tt.why != "" && !strings.Contains(rg.log.String(), tt.why) {
				t.Errorf("%s is missing in the log:\n%s", line, rg.log.String())
			}
		})
	}
}

// hears lets the site listen to its shop.
func hears(c *Config) { c.Upstream = Upstream{Challenge: true, LoginURL: "/login.php", Login: true} }

// Whoever is logged in keeps his session for the day when the shadow ends, and
// nobody is told of it meanwhile.
func TestMemberInTheShadowIsNobodyUntilItEnds(t *testing.T) {
	rg := newRig(t)
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	wang.tapLogin(wang.get("/me/orders"))
	id, cookies := rg.last().Header.Get("X-User-ID"), wang.cookies()
	counts := rg.cast(everybody)
	age(t, rg)
	rg.cache.Flush()
	before := dump(t, rg)
	if got := wang.get("/me/orders"); got.StatusCode != http.StatusOK || rg.last().Header.Get("X-User-ID") != "" {
		t.Errorf("%d, and the shop was told %s", got.StatusCode, rg.last().Header.Get("X-User-ID"))
	}
	if all := counts.taken(); !maps.Equal(all, map[string]int{"login pass": 1}) {
		t.Errorf("counted %v", all)
	}
	if diff := cmp.Diff(before, dump(t, rg)); diff != "" {
		t.Errorf("the database (-before +after)\n%s", diff)
	}
	rg.cast(0)
	wang.get("/me/orders")
	if now := rg.last().Header.Get("X-User-ID"); now != id || id == "" || !maps.Equal(cookies, wang.cookies()) {
		t.Errorf("afterwards he is %s, and was %s", now, id)
	}
}

// In the shadow of all visitors our pages are not there, but for what servers
// ask for.
func TestEndpointsInTheShadow(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.VerificationFiles = map[string][]byte{"MP_verify_x.txt": []byte("x")} })
	counts := rg.cast(everybody)
	for path, want := range map[string]int{
		"/wxgate/login": 404, "/wxgate/me": 404, "/wxgate/callback/" + testAppID + "?code=x&state=y": 404,
		"/wxgate/jwks.json": 200, "/wxgate/healthz": 200, "/wxgate/readyz": 200, "/MP_verify_x.txt": 200,
	} {
		b := rg.browser(uaWeChat)
		if got := b.get(path); got.StatusCode != want || len(b.cookies()) > 0 {
			t.Errorf("%s: %d, cookies %v", path, got.StatusCode, b.cookies())
		}
	}
	if all := counts.taken(); !maps.Equal(all, map[string]int{"public endpoint": 3}) {
		t.Errorf("counted %v", all)
	}
	rg.cast(99)
	if got := rg.browser(uaWeChat).get("/wxgate/login"); got.StatusCode != http.StatusOK {
		t.Errorf("with a share: %d", got.StatusCode)
	}
}

// A share is the same visitors each time, and whoever is out of the shadow stays
// out of it.
func TestShareOfVisitorsIsInTheShadow(t *testing.T) {
	rg := newRig(t)
	rg.cast(25)
	const visitors = 400
	told := 0
	for i := range visitors {
		b := rg.browser(fmt.Sprintf("%s visitor/%d", uaDesktop, i))
		b.get("/goods")
		first := rg.last().Header.Get("X-User-ID")
		if first != "" {
			told++
			// Another address and another browser's name make another hash.
			b.ua = fmt.Sprintf("%s visitor/%d", uaChrome, i)
		}
		b.get("/goods")
		if again := rg.last().Header.Get("X-User-ID"); again != first {
			t.Fatalf("visitor %d was %q and is %q", i, first, again)
		}
	}
	if told < visitors*65/100 || told > visitors*85/100 {
		t.Errorf("%d of %d were out of the shadow, want three quarters", told, visitors)
	}
}

func TestShareHasToBeOne(t *testing.T) {
	rg := newRig(t)
	for _, share := range []int{-1, 101} {
		cfg := rg.site.cfg
		cfg.Shadow = share
		if _, err := New(cfg, rg.site.Deps); err == nil {
			t.Errorf("%d%% is a share", share)
		}
	}
}
