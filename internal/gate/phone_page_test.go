package gate

import (
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// A page may run one script, ours, and only that with the form may speak with two
// of our endpoints.
// Scripts of a listed origin read what becomes of a code, and its people leave
// our pages for it when they log out.
func TestListedOriginsAreLetIn(t *testing.T) {
	const shop = "https://m.example.com"
	rg := newPhoneRig(t, func(c *Config) { c.ReturnOrigins = []string{shop} })
	b := rg.visitor()
	from := func(r *http.Request) {
		r.Header.Set("Origin", shop)
		r.Header.Set("Sec-Fetch-Site", "same-site")
	}
	fields := map[string]string{"phone": liPhone}
	sent := b.post("/wxgate/phone/code", fields, from)
	fields["code"] = rg.inbox.last(t).Code
	for _, got := range []answer{sent, b.post("/wxgate/phone", fields, from)} {
		if got.StatusCode >= 300 || got.Header.Get("Access-Control-Allow-Origin") != shop {
			t.Errorf("%d %v", got.StatusCode, got.Header)
		}
	}
	page := b.get("/wxgate/account?return_to=" + shop + "/me")
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' "+shop) {
		t.Errorf("the logout leads nowhere: %s", csp)
	}
}

func TestPagesRunOneScriptOfOurs(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.browser(uaChrome)
	page := b.get("/wxgate/phone")
	base := rg.srv.URL + "/wxgate"
	csp := page.Header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "form-action 'none'", "frame-ancestors 'none'",
		"script-src " + base + "/page.js", "connect-src " + base + "/phone " + base + "/phone/code",
	} {
		if !slices.Contains(strings.Split(csp, "; "), want) {
			t.Errorf("%q is missing in %q", want, csp)
		}
	}
	_, rest, _ := strings.Cut(page.body, `<script src="`)
	src, rest, _ := strings.Cut(rest, `"`)
	if !strings.HasPrefix(rest, " defer></script>") || strings.Count(page.body, "<script") != 1 {
		t.Errorf("scripts on the page:\n%s", page.body)
	}
	script := b.fetch(http.MethodGet, html.UnescapeString(src))
	if script.StatusCode != http.StatusOK || !strings.HasPrefix(script.Header.Get("Content-Type"), "text/javascript") ||
		!strings.Contains(script.Header.Get("Cache-Control"), "immutable") || script.Header.Get("Set-Cookie") != "" {
		t.Errorf("the script: %d %v", script.StatusCode, script.Header)
	}
	if len(page.body)+len(script.body) > 30<<10 {
		t.Errorf("page and script have %d bytes", len(page.body)+len(script.body))
	}
	other := b.get("/wxgate/nowhere")
	if csp := other.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "; script-src "+base+"/page.js") || strings.Contains(csp, "connect-src") {
		t.Errorf("another page: %q", csp)
	}
	if strings.Count(other.body, "<script") != 1 || !strings.Contains(other.body, src) {
		t.Errorf("scripts on another page:\n%s", other.body)
	}
	if !strings.Contains(page.body, "<noscript>") || page.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("%v:\n%s", page.Header, page.body)
	}
}

// Whoever prefers English reads English, the messages of the script included.
func TestPhonePageSpeaksBothLanguages(t *testing.T) {
	rg := newPhoneRig(t)
	for accept, want := range map[string][]string{
		"en-GB,en;q=0.9": {`<html lang="en">`, "Send code", "The code is on its way"},
		"zh-CN,zh;q=0.9": {`<html lang="zh-Hans">`, "发送验证码", "验证码已发送"},
		"":               {`<html lang="zh-Hans">`},
	} {
		b := rg.browser(uaChrome)
		in := func(r *http.Request) { r.Header.Set("Accept-Language", accept) }
		page := b.get("/wxgate/phone", in)
		for _, w := range want {
			if !strings.Contains(page.body, w) {
				t.Errorf("%q: no %q in\n%s", accept, w, page.body)
			}
		}
		rg.wait()
		b.post("/wxgate/phone/code", map[string]string{"phone": liPhone}, in)
		if m := rg.inbox.last(t); !strings.Contains(page.body, `<html lang="`+m.Locale+`">`) {
			t.Errorf("%q: the message is in %s", accept, m.Locale)
		}
		said := b.post("/wxgate/phone", map[string]string{"phone": liPhone, "code": "1"}, in)
		if !strings.Contains(said.body, rg.site.pages.text(slices.Index(rg.site.pages.tags, rg.inbox.last(t).Locale), "text.code_wrong")) {
			t.Errorf("%q: %s", accept, said.body)
		}
	}
}

// The page leads back to exactly where the visitor came from, and to no other
// site.
func TestPhonePageLeadsBackExactly(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.ReturnOrigins = []string{"https://m.example.com"} })
	for to, want := range map[string]string{
		"/me?a=1&b=%2F%26&c=%E8%8C%B6#x=1&y=/2": "/me?a=1&b=%2F%26&c=%E8%8C%B6#x=1&y=/2",
		"https://m.example.com/a?b=c#d":         "https://m.example.com/a?b=c#d",
		"https://evil.example/":                 "/",
		"//evil.example":                        "/",
		`/\evil.example`:                        "/",
		"javascript:alert(1)":                   "/",
		`/"><script>alert(1)</script>`:          `/"><script>alert(1)</script>`,
		"/wxgate/login":                         "/",
	} {
		page := rg.browser(uaChrome).get(rg.site.phoneURL(to, ""))
		_, rest, _ := strings.Cut(page.body, `data-next="`)
		next, _, _ := strings.Cut(rest, `"`)
		if got := html.UnescapeString(next); got != want {
			t.Errorf("%s leads back to %s", to, got)
		}
		if strings.Contains(page.body, "<script>") {
			t.Errorf("%s is not escaped", to)
		}
	}
}

// A phone in another browser than WeChat's gets the form, and the link that
// works there.
func TestOtherMobileBrowserIsToldOfWeChat(t *testing.T) {
	rg := newPhoneRig(t)
	page := rg.browser(uaChrome).get("/me/orders?page=2")
	if !strings.Contains(page.body, `<form id="prove"`) || !strings.Contains(page.body, rg.srv.URL+"/me/orders?page=2</p>") {
		t.Errorf("at %s:\n%s", page.Request.URL, page.body)
	}
}

func TestComputerChoosesBetweenScanAndPhone(t *testing.T) {
	rg := newPhoneRig(t, withWebsite)
	pc := rg.browser(uaDesktop)
	page := pc.get("/me/orders")
	if page.Request.URL.Path != "/wxgate/login" || !strings.Contains(page.body, "go=scan") || !strings.Contains(page.body, "/wxgate/phone?return_to=%2Fme%2Forders") {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	// A first login by a scan lacks the phone, and both become one member.
	page = pc.scanAt(page, accepting("li"))
	if page.Request.URL.Path != "/wxgate/phone" {
		t.Fatalf("after the scan at %s:\n%s", page.Request.URL, page.body)
	}
	rg.verify(pc, liPhone)
	member := pc.who()
	rg.wait()
	phone := rg.wechatBrowser(accepting("li"))
	phone.tapLogin(phone.get("/me/orders"))
	if got := phone.who(); got != member || !strings.HasPrefix(member, "member ") {
		t.Errorf("on his PC he is %s, in WeChat %s", member, got)
	}
}

// A refusal shown to whoever is in WeChat offers what WeChat can do there.
func TestSecondProofInWeChatIsATap(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	b.get("/goods")
	page := b.get("/wxgate/phone?return_to=%2Fme%2Forders&code=" + string(account.CodeSecondProofRequired))
	if !strings.Contains(page.body, "go=wechat") {
		t.Errorf("no tap:\n%s", page.body)
	}
}

// Whoever is logged in is not offered to go on without a login.
func TestMemberWhoWantsNoPhoneGoesOnAsAMember(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	wang.get("/me/orders")
	for path, want := range map[string]string{
		"/wxgate/phone": "Verify your phone", "/wxgate/phone?code=phone_owned_by_other_user": "This number belongs to another account",
	} {
		page := wang.get(path, english)
		if !strings.Contains(page.body, want) || strings.Contains(page.body, "Not now, keep browsing") || hrefOf(t, page, "Not now") != "/" {
			t.Errorf("%s:\n%s", path, page.body)
		}
	}
}

// A form that was posted without the phone that it needs is not lost silently.
func TestFormThatNeedsAPhoneGetsAPage(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/me/orders")
	reached := rg.reached()
	got := b.fetch(http.MethodPost, "/pay", func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
	})
	if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.body, `href="/wxgate/phone?return_to=%2Fcart%3Fx%3D1"`) || rg.reached() != reached {
		t.Errorf("%d:\n%s", got.StatusCode, got.body)
	}
}

// Both languages have the same texts, and every problem and refusal has some.
func TestEveryPageHasItsTexts(t *testing.T) {
	rg := newRig(t)
	texts := rg.site.pages.texts
	keys := func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
	if diff := cmp.Diff(keys(texts[0]), keys(texts[1])); diff != "" {
		t.Errorf("texts of %v differ:\n%s", rg.site.pages.tags, diff)
	}
	codes := []code{
		codeLoginRequired, codeSessionExpired, codeInvalid, codeWeChatBusy, codeWeChatBlocked, codeRateLimited, codePhoneInvalid, codeWrong,
		codeUsed, codeSessionKeyLost, codeExpired, codeUnavailable, codeMalformed, codeCrossSite, codeNotFound, codeMethodNotAllowed, code(account.CodeSnapshot),
	}
	for _, c := range []account.Code{
		account.CodePhoneBoundToOtherWeChat, account.CodePhoneOwnedByOtherUser, account.CodeSecondProofRequired,
		account.CodePhoneChangeNeedsFlow, account.CodeUserIDBoundToOtherWeChat, account.CodeWeChatBoundToOtherUser,
		account.CodeUnionIDChanged, account.CodeOpenIDChanged, account.CodeRepairConflict,
	} {
		if phoneRefusal(string(c)) != c {
			t.Errorf("%s is not explained on the phone page", c)
		}
		codes = append(codes, code(c))
	}
	for _, c := range codes {
		for i, m := range texts {
			if m["title."+string(c)] == "" || m["text."+string(c)] == "" {
				t.Errorf("%s has no text in %s", c, rg.site.pages.tags[i])
			}
		}
	}
}

// TestThePhonePageIsNoPageForPrograms: without a session there is nothing for
// them here but a login.
func TestThePhonePageIsNoPageForPrograms(t *testing.T) {
	rg := newPhoneRig(t)
	for name, header := range map[string]http.Header{
		"a program":                {},
		"a script of another site": {"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}},
		"a browser that looks ahead": {
			"Accept": {"text/html"}, "Sec-Purpose": {"prefetch"}, "Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"},
		},
	} {
		got := rg.browser("").get("/wxgate/phone", func(r *http.Request) { r.Header = header })
		if !is(got, http.StatusUnauthorized, "login_required") || !strings.Contains(got.body, `"login_url":"/wxgate/login`) || len(got.Cookies()) > 0 {
			t.Errorf("%s gets %d %v %s", name, got.StatusCode, got.Header, got.body)
		}
	}
}
