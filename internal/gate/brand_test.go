package gate

import (
	"net/http"
	"strings"
	"testing"
)

func branded(c *Config) {
	c.Brand = Brand{Name: "Tea <b>& Co", Logo: []byte("<svg/>"), Type: "image/svg+xml", Colour: "#c8102e", Contact: "400-123-4567"}
}

func TestPagesShowWhoseTheyAre(t *testing.T) {
	rg := newRig(t, branded)
	b := rg.browser(uaWeChat)
	page := b.get("/wxgate/login", english)
	for _, want := range []string{"· Tea &lt;b&gt;&amp; Co</title>", `<p class="brand"><img src="` + rg.srv.URL + `/wxgate/logo?v=`, "--go:#c8102e;--go-ink:#fff"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("no %q:\n%s", want, page.body)
		}
	}
	if strings.Contains(page.body, "400-123-4567") {
		t.Error("whom to call is said where nothing went wrong")
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "img-src "+rg.srv.URL+"/wxgate/logo") {
		t.Errorf("the browser would not show the logo: %s", csp)
	}
	if wrong := b.get("/wxgate/login?code=unionid_changed", english); !strings.Contains(wrong.body, "400-123-4567") {
		t.Errorf("whom to call is not said:\n%s", wrong.body)
	}
	_, rest, _ := strings.Cut(page.body, `<img src="`)
	src, _, _ := strings.Cut(rest, `"`)
	logo := b.get(src)
	if logo.body != "<svg/>" || logo.Header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(logo.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v %s", logo.Header, logo.body)
	}
}

// Nothing is wrong on the page of a change, but it names the shop as a way.
func TestChangeOfPhoneShowsWhomToCall(t *testing.T) {
	rg := newPhoneRig(t, branded)
	b := rg.browser(uaChrome)
	b.get("/goods")
	rg.verify(b, liPhone)
	if page := b.get("/wxgate/phone?change=1", english); !strings.Contains(page.body, "contact the shop") || !strings.Contains(page.body, "400-123-4567") {
		t.Errorf("at %s:\n%s", page.Request.URL, page.body)
	}
}

func TestPagesWithoutABrandShowNone(t *testing.T) {
	rg := newRig(t)
	b := rg.browser(uaWeChat)
	if page := b.get("/wxgate/login"); strings.Contains(page.body, `class="brand"`) || strings.Contains(page.Header.Get("Content-Security-Policy"), "img-src") {
		t.Errorf("%v\n%s", page.Header, page.body)
	}
	if got := b.get("/wxgate/logo"); got.StatusCode != http.StatusNotFound {
		t.Errorf("a logo: %d", got.StatusCode)
	}
}

// Black or white, whichever is read better: 4.5 to 1 on any colour.
func TestButtonsCanBeReadOnEachColour(t *testing.T) {
	for _, colour := range []string{"#000000", "#FFFFFF", "#c8102e", "#067a3e", "#ffd400", "#777777", "#757575", "#0000ff", "#00ff00", "#888888"} {
		l, ink := luminance(colour), 0.0
		if strings.Contains(Brand{Colour: colour}.style(), "--go-ink:#fff") {
			ink = 1
		}
		if ratio := (max(l, ink) + 0.05) / (min(l, ink) + 0.05); ratio < 4.5 {
			t.Errorf("%s: %.2f", colour, ratio)
		}
	}
}

func TestBrandThatPagesCannotShowIsRefused(t *testing.T) {
	for name, b := range map[string]Brand{
		"a word":              {Colour: "red"},
		"a rule":              {Colour: "#123456}*{display:none"},
		"a short one":         {Colour: "#123"},
		"a logo that is long": {Logo: make([]byte, maxLogo+1)},
	} {
		if err := b.check(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
