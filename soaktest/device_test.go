package soaktest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// kind of a device.
type kind string

const (
	h5      kind = "H5"           // a page in WeChat's browser
	desk    kind = "PC"           // an ordinary browser
	mini    kind = "mini program" // keeps a session and sends it in a header
	app     kind = "app"          // the same
	webView kind = "web-view"     // a page in the mini program
)

// device is a browser or an app in somebody's hands.
type device struct {
	kind  kind
	home  *household
	owner *person // who uses it; the family's computer changes hands
	jar   http.CookieJar
	token string // of a mini program or an app

	self  *self // who orders here; nil: nobody has yet been told of
	told  told  // of the last page
	in    bool  // whoever orders here is known to WeChat or by his phone
	fresh bool  // nothing of the gateway's is in it
	left  bool  // a logout may have happened

	// What was begun here and may have happened, for all its user knows: he
	// does it again until he is sure, and nothing else here before.
	open goal
	wait time.Time // no code by SMS before

	code   string // the last one by SMS that was asked for here
	losses int64  // of Redis, before that
	missed bool   // an answer, so that more may have happened than is known here
}

// goal is what somebody wants to prove on a device.
type goal struct{ wechat, phone bool }

func (d *device) bearer() bool { return d.kind == mini || d.kind == app }

func (d *device) agent() string {
	switch d.kind {
	case h5:
		return wechattest.AndroidUserAgent
	case mini:
		return wechattest.IPhoneUserAgent
	case webView:
		return wechattest.AndroidUserAgent + " miniProgram/" + miniApp
	}
	return wechattest.OrdinaryUserAgent
}

// forget empties the browser, or removes the app.
func (d *device) forget() {
	d.jar, _ = cookiejar.New(nil) // never an error without options
	d.token, d.open, d.code, d.missed, d.fresh = "", goal{}, "", false, true
	d.reset()
}

// reset makes the device nobody's.
func (d *device) reset() { d.self, d.told, d.in, d.left = nil, told{}, false, false }

// answer is what came of a request.
type answer struct {
	status int
	header http.Header
	url    *url.URL
	body   string
	lost   error // the connection broke
	told   *told // the shop's own answer; nil: it is none
	code   string
	during string        // the fault that was there when the request began
	took   time.Duration // all redirects
}

// is says what became of a request, in the words of the table of faults.
func (a answer) is() outcome {
	switch retry := a.header.Get("Retry-After") != ""; {
	case a.lost != nil:
		return lost
	case a.told != nil && a.told.ID == "":
		return nobody
	case a.told != nil:
		return served
	case a.status == http.StatusServiceUnavailable && retry:
		return unavailable
	case a.status == http.StatusTooManyRequests && retry:
		return limited
	case a.status == http.StatusUnauthorized && a.code != "":
		return outcome(a.code)
	case a.status == http.StatusForbidden && a.header.Get(fromShop) != "":
		return nobody
	case a.status == http.StatusUnprocessableEntity && a.code != "":
		return outcome(a.code)
	case a.status < 300:
		return step
	}
	return wrong
}

// client follows redirects as the device's browser does.
func (d *device) client() *http.Client {
	base := &http.Transport{DialContext: d.home.w.dial, DisableKeepAlives: true}
	var through http.RoundTripper = behind{d.owner.address, base}
	if d.kind == h5 || d.kind == webView {
		through = &wechattest.Transport{Person: d.owner.name, Base: through}
	}
	return &http.Client{Transport: through, Jar: d.jar, Timeout: time.Minute, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 20 {
			return http.ErrUseLastResponse
		}
		navigate(r)
		return nil
	}}
}

// behind is a balancer that says where a request comes from.
type behind struct {
	address string
	http.RoundTripper
}

func (b behind) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Host, ".test") {
		r = r.Clone(r.Context())
		r.Header.Set("X-Forwarded-For", b.address)
	}
	return b.RoundTripper.RoundTrip(r)
}

func navigate(r *http.Request) {
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Site", "none")
	r.Header.Set("Sec-Fetch-User", "?1")
}

// visit opens a page; apps ask for their data.
func (d *device) visit(path string) answer {
	r := d.request(http.MethodGet, path, nil)
	if !d.bearer() {
		navigate(r)
		if strings.Contains(path, "go=") { // a link of our page
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	}
	a := d.do(r)
	d.fresh = d.fresh && a.lost != nil
	if a.told != nil {
		d.met(*a.told)
	}
	return a
}

// post sends JSON, as a page's script or an app does.
func (d *device) post(path string, body any) answer {
	r := d.request(http.MethodPost, path, body)
	if !d.bearer() {
		r.Header.Set("Origin", site)
		r.Header.Set("Sec-Fetch-Mode", "cors")
		r.Header.Set("Sec-Fetch-Dest", "empty")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return d.do(r)
}

func (d *device) request(method, path string, body any) *http.Request {
	var send io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		send = bytes.NewReader(raw)
	}
	if strings.HasPrefix(path, "/") {
		path = site + path
	}
	r, err := http.NewRequestWithContext(d.home.ctx, method, path, send)
	if err != nil {
		panic(err)
	}
	r.Header.Set("User-Agent", d.agent())
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if d.token != "" {
		r.Header.Set("Authorization", "Wxgate "+d.token)
	}
	return r
}

func (d *device) do(r *http.Request) answer {
	path, begun := r.URL.Path, time.Now()
	during, ended := d.home.w.table.begin()
	a := d.send(r)
	ended()
	a.during, a.took = during, time.Since(begun)
	d.missed = d.missed || r.Method == http.MethodPost && (a.is() == lost || a.is() == unavailable)
	d.home.note(d, r.Method+" "+path, a)
	return a
}

func (d *device) send(r *http.Request) answer {
	resp, err := d.client().Do(r)
	if err != nil {
		return answer{lost: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{lost: err}
	}
	if t := resp.Header.Get("X-Wxgate-Session"); t != "" {
		d.token = t
	}
	return read(resp, body)
}

// read takes an answer apart.
func read(resp *http.Response, body []byte) answer {
	a := answer{status: resp.StatusCode, header: resp.Header, url: resp.Request.URL, body: string(body)}
	if resp.Header.Get(fromShop) != "" && resp.StatusCode == http.StatusOK {
		a.told = new(told)
		_ = json.Unmarshal(body, a.told)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		var p struct{ Code string }
		_ = json.Unmarshal(body, &p)
		a.code = p.Code
	}
	return a
}

var links = regexp.MustCompile(`<a href="([^"]+)"`)

// link is the first link of a page that holds a word, empty if there is none.
func (a answer) link(word string) string {
	for _, m := range links.FindAllStringSubmatch(a.body, -1) {
		if strings.Contains(m[1], word) {
			return strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	return ""
}
