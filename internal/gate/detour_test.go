package gate

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// hrefOf is where the link of a page with that label leads.
func hrefOf(t *testing.T, page answer, label string) string {
	t.Helper()
	before, _, found := strings.Cut(page.body, ">"+label+"</a>")
	i := strings.LastIndex(before, `<a href="`)
	if !found || i < 0 {
		t.Fatalf("no link %q at %s:\n%s", label, page.Request.URL, page.body)
	}
	href, _, _ := strings.Cut(before[i+len(`<a href="`):], `"`)
	return strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(href)
}

func english(r *http.Request) { r.Header.Set("Accept-Language", "en") }

// follow opens a link of one of our pages.
func (b *browser) follow(page answer, label string) answer {
	b.rg.t.Helper()
	return b.get(hrefOf(b.rg.t, page, label), english, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
}

// A form that needs a login is not sent, the page says so, and the login leads
// back to the form.
func TestFormPostLosesNothingSilently(t *testing.T) {
	for name, tt := range map[string]struct {
		referer, back string
	}{
		"a form":                     {"/address?order=7&street=%E4%B8%AD%E5%B1%B1+%E8%B7%AF", "/address?order=7&street=%E4%B8%AD%E5%B1%B1+%E8%B7%AF"},
		"a form without its address": {"", "/"},
		"a form of the other shop":   {"https://www.shop.test/address?order=7", "https://www.shop.test/address?order=7"},
		"a form of nobody we know":   {"https://other.test/address?order=7", "/"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, listening, func(c *Config) { c.ReturnOrigins = []string{"https://www.shop.test"} })
			b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			b.get("/goods")
			reached := rg.reached()
			got := b.submit("/me/address", english, func(r *http.Request) {
				r.Header.Del("Referer")
				if tt.referer != "" {
					ref, err := url.Parse(rg.srv.URL)
					must(t, err)
					ref, err = ref.Parse(tt.referer)
					must(t, err)
					r.Header.Set("Referer", ref.String())
				}
			})
			if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.body, "nothing has been sent yet") || rg.reached() != reached {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
			if back := hrefOf(t, got, "Back to the form"); back != tt.back {
				t.Errorf("back to the form: %q, want %q", back, tt.back)
			}
			page := b.follow(got, "Log in")
			if rest, ok := strings.CutPrefix(tt.back, "https://"); ok {
				if to := hrefOf(t, page, "Log in with WeChat"); !strings.Contains(to, url.QueryEscape("https://"+rest)) {
					t.Errorf("the login leads to %q", to)
				}
				return
			}
			if got := b.follow(page, "Log in with WeChat"); got.Request.URL.RequestURI() != tt.back || got.StatusCode != http.StatusOK {
				t.Errorf("after the login he is at %s", got.Request.URL)
			}
		})
	}
}

// Whatever goes wrong on the way, the way leads back to where he left, with the
// query as he sent it and the fragment that a script has added.
func TestDetoursLeadBackToWhereTheVisitorLeft(t *testing.T) {
	for _, left := range []string{
		"/me/orders",
		"/me/orders?page=2&k=%E8%8C%B6&k=a+b&empty=&%E5%95%86=1",
		"/me/orders?next=/me/orders%3Fa%3D1%26b%3D2&wx=1%23",
		"/me/%E8%AE%A2%E5%8D%95;v=1/a%2Fb?x",
		"/me/orders?code=forged&state=forged&return_to=/elsewhere&wxgate=1",
	} {
		for _, fragment := range []string{"", "#/order/7?tab=a&b=%23c"} {
			t.Run(left+fragment, func(t *testing.T) {
				rg := newRig(t)
				b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Refuse, Refusal: wechattest.Authdeny})
				page := b.get(left, english)
				if fragment != "" {
					problem := b.fetch(http.MethodPost, "/api/me/orders", func(r *http.Request) { r.Header.Set("Referer", rg.abs(left)) })
					_, rest, _ := strings.Cut(problem.body, `"login_url":"`)
					loginURL, _, _ := strings.Cut(rest, `"`)
					page = b.get(loginURL+url.QueryEscape(fragment), english)
				}
				for range 2 { // he refuses twice
					if page = b.follow(page, "Log in with WeChat"); !strings.Contains(page.body, "You did not agree") {
						t.Fatalf("%s:\n%s", page.Request.URL, page.body)
					}
				}
				rg.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(40029))
				rg.wechat.AddPerson(wechattest.Person{Name: "li", Consent: wechattest.Accept})
				if page = b.follow(page, "Log in with WeChat"); !strings.Contains(page.body, "no longer valid") {
					t.Fatalf("%s:\n%s", page.Request.URL, page.body)
				}
				rg.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.HTMLPage())
				if page = b.follow(page, "Log in with WeChat"); page.StatusCode != http.StatusServiceUnavailable {
					t.Fatalf("%d at %s:\n%s", page.StatusCode, page.Request.URL, page.body)
				}
				page = b.follow(page, "Try again")
				b.clearCookies() // and loses his cookies at last
				callback := ""
				b.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
					b.navigate(r)
					if strings.HasPrefix(via[len(via)-1].URL.Path, "/wxgate/callback/") {
						callback = r.Response.Header.Get("Location")
					}
					return nil
				}
				got := b.follow(page, "Log in with WeChat")
				want := left + fragment
				if fragment == "" {
					want += "#"
				}
				if callback != want || got.Request.URL.RequestURI() != left || got.StatusCode != http.StatusOK {
					t.Errorf("sent back to %q, want %q; he is at %s", callback, want, got.Request.URL)
				}
				if _, kind, _ := rg.identityOf(); kind != "member" {
					t.Errorf("he is a %s", kind)
				}
			})
		}
	}
}
