package gate

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// agent is what a User-Agent claims. It chooses a flow and never grants
// anything, since anyone can send it.
type agent struct {
	wechat bool // WeChat's browser, and not WeCom's, which has no official accounts
	mobile bool // a telephone's other browser: nobody scans his own screen
	bot    bool // a declared crawler
}

// classify reads a User-Agent in one pass, without regard to case.
func classify(userAgent string) agent {
	var a agent
	wecom, tablet := false, false
	for i := range len(userAgent) {
		switch userAgent[i] | 0x20 {
		case 'm':
			a.wechat = a.wechat || hasPrefixFold(userAgent[i:], "micromessenger")
			a.mobile = a.mobile || hasPrefixFold(userAgent[i:], "mobile")
		case 'i':
			tablet = tablet || hasPrefixFold(userAgent[i:], "ipad")
		case 'w':
			wecom = wecom || hasPrefixFold(userAgent[i:], "wxwork")
		case 's':
			a.bot = a.bot || hasPrefixFold(userAgent[i:], "spider") || hasPrefixFold(userAgent[i:], "slurp")
		case 'c':
			a.bot = a.bot || hasPrefixFold(userAgent[i:], "crawler")
		case 'b':
			a.bot = a.bot || isBotWord(userAgent, i)
		}
	}
	a.wechat = a.wechat && !wecom
	a.mobile = a.mobile && !tablet && !a.wechat
	return a
}

// isBotWord finds names that end in "bot", but for a maker of telephones.
func isBotWord(ua string, i int) bool {
	if !hasPrefixFold(ua[i:], "bot") || i >= 2 && strings.EqualFold(ua[i-2:i], "cu") {
		return false
	}
	return i+3 == len(ua) || !isAlnum(ua[i+3])
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// header returns the only value of a header whose name is in canonical form.
func header(r *http.Request, name string) string {
	if v := r.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// isNavigation says whether a person is opening a page: browsers say so in
// Sec-Fetch headers; older ones only ask for HTML and are not a script.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if !wantsPage(r) {
		return false
	}
	switch dest := header(r, "Sec-Fetch-Dest"); {
	case dest == "document", !saysFetch(r):
		return true
	case dest != "":
		return false
	}
	// Chromium 76 to 79, on which WeChat's Android browser was built for long,
	// names no destination and calls a frame's mode nested-navigate.
	return prefersHTML(header(r, "Accept"))
}

// wantsPage says whether a person will look at the answer, whatever the method.
func wantsPage(r *http.Request) bool {
	if saysFetch(r) {
		return header(r, "Sec-Fetch-Mode") == "navigate"
	}
	return prefersHTML(header(r, "Accept")) && !isScript(r)
}

// saysFetch says whether the browser describes the request (Fetch Metadata).
// None does over plain http.
func saysFetch(r *http.Request) bool {
	return header(r, "Sec-Fetch-Mode") != "" || header(r, "Sec-Fetch-Dest") != "" || header(r, "Sec-Fetch-Site") != ""
}

// isScript trusts one value only: Android's WebViews send their package name
// in the same header on navigations.
func isScript(r *http.Request) bool {
	return strings.EqualFold(header(r, "X-Requested-With"), "XMLHttpRequest")
}

// isPrefetch says whether a browser asks in advance, for nobody yet.
func isPrefetch(r *http.Request) bool {
	return hasPrefixFold(header(r, "Sec-Purpose"), "prefetch") || hasPrefixFold(header(r, "Purpose"), "prefetch") ||
		hasPrefixFold(header(r, "X-Moz"), "prefetch") || strings.EqualFold(header(r, "X-Purpose"), "preview")
}

// isPreflight says whether a browser asks for leave to send a cross-origin
// request. It never carries credentials (Fetch standard, CORS-preflight).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && header(r, "Origin") != "" && header(r, "Access-Control-Request-Method") != ""
}

// prefersHTML says whether nothing else is wanted more than HTML (RFC 9110,
// 12.5.1), wildcards included.
func prefersHTML(accept string) bool {
	html, other := 0.0, 0.0
	for item := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(item, ";")
		name = strings.TrimSpace(name)
		if strings.EqualFold(name, "text/html") || strings.EqualFold(name, "application/xhtml+xml") {
			html = max(html, quality(params))
		} else {
			other = max(other, quality(params))
		}
	}
	return html > 0 && html >= other
}

// quality reads the weight among an item's parameters; 1 when there is none.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, v, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return 0
		}
		return q
	}
	return 1
}

// mayMint says whether a request without any id may be given one: a page that
// this site or the visitor himself has opened, or this site's own script. A
// form that a payment page posts back comes without its cookie, an image may be
// embedded anywhere: an id given to those would replace the visitor's own.
func mayMint(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	site := header(r, "Sec-Fetch-Site")
	if isNavigation(r) {
		return site != "cross-site" || header(r, "Sec-Fetch-User") == "?1"
	}
	if saysFetch(r) {
		return site == "same-origin" && header(r, "Sec-Fetch-Dest") == "empty" && !wantsPage(r)
	}
	ref, err := url.Parse(header(r, "Referer"))
	return err == nil && strings.EqualFold(ref.Host, r.Host) &&
		(isScript(r) || strings.Contains(header(r, "Accept"), "application/json"))
}
