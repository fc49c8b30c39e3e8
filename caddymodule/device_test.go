package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// setup is what the Caddyfiles of these tests differ in. The zero value is the
// smallest gateway that works with the pretend WeChat.
type setup struct {
	app       string // lines of the global option
	site      string // lines of the directive
	around    string // lines of the site beside the directive
	account   string // instead of the official account
	endpoints string // instead of the block that names the pretend WeChat
	external  string // instead of the address the site listens on
	backend   string // instead of the proxy to the shop
	more      string // after the site: further sites
	caddy     string // Caddy's own global options
}

// caddyfile is the one that run loads.
func (rg *rig) caddyfile(s setup) string {
	or := func(s, standard string) string {
		if s == "" {
			return standard
		}
		return s
	}
	app := or(s.account, fmt.Sprintf("official_account %s %q", testAppID, testSecret)) + "\n" +
		or(s.endpoints, "endpoints {\napi "+rg.wechat.URL+"\nopen "+rg.wechat.URL+"\n}") + "\n" + s.app
	global := strings.Replace(globals(rg.t, app), "\tdebug\n", "\tdebug\n"+s.caddy+"\n", 1)
	return global + fmt.Sprintf("http://127.0.0.1:%s {\n%s\nwxgate {\nexternal_url %s\n%s\n}\n%s\n}\n%s\n",
		rg.port, s.around, or(s.external, rg.url("")), s.site, or(s.backend, "reverse_proxy "+rg.shop.addr), s.more)
}

// run runs Caddy, or reloads it.
func (rg *rig) run(s setup) {
	rg.t.Helper()
	mustLoad(rg.t, rg.caddyfile(s))
}

// device is one person's browser.
type device struct {
	rg     *rig
	client *http.Client
	agent  string
	hops   []string // where the last request was sent on to
}

// inWeChat is WeChat's browser on the phone of a person.
func (rg *rig) inWeChat(p wechattest.Person) *device {
	rg.t.Helper()
	rg.wechat.AddPerson(p)
	d := rg.elsewhere()
	d.agent = wechattest.AndroidUserAgent
	d.client.Transport = &wechattest.Transport{Person: p.Name, Base: d.client.Transport}
	return d
}

// elsewhere is an ordinary browser.
func (rg *rig) elsewhere() *device {
	rg.t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	rg.t.Cleanup(transport.CloseIdleConnections)
	d := &device{rg: rg, agent: wechattest.OrdinaryUserAgent, client: &http.Client{Transport: transport}}
	d.clearCookies()
	d.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		d.hops = append(d.hops, r.URL.Path)
		if len(via) > 20 {
			return errors.New("sent around for ever")
		}
		navigate(r)
		return nil
	}
	return d
}

func (d *device) clearCookies() {
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.rg.t.Fatal(err)
	}
	d.client.Jar = jar
}

// cookies are what the browser keeps for the site, by name.
func (d *device) cookies() map[string]string {
	d.rg.t.Helper()
	u, err := url.Parse(d.rg.url(""))
	if err != nil {
		d.rg.t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range d.client.Jar.Cookies(u) {
		all[c.Name] = c.Value
	}
	return all
}

func navigate(r *http.Request) {
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-User", "?1")
	r.Header.Set("Sec-Fetch-Site", "none")
}

// reply is an answer whose body was read.
type reply struct {
	*http.Response
	body string
}

// get opens a page of the site and follows where it is sent.
func (d *device) get(path string, edit ...func(*http.Request)) reply {
	d.rg.t.Helper()
	r := d.request(http.MethodGet, path)
	navigate(r)
	return d.do(r, edit...)
}

// fetch does what a script of the shop's page does.
func (d *device) fetch(method, path string, edit ...func(*http.Request)) reply {
	d.rg.t.Helper()
	r := d.request(method, path)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return d.do(r, edit...)
}

func (d *device) request(method, path string) *http.Request {
	d.rg.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = d.rg.url(path)
	}
	r, err := http.NewRequest(method, path, nil)
	if err != nil {
		d.rg.t.Fatal(err)
	}
	return r
}

func (d *device) do(r *http.Request, edit ...func(*http.Request)) reply {
	d.rg.t.Helper()
	r.Header.Set("User-Agent", d.agent)
	for _, e := range edit {
		e(r)
	}
	d.hops = nil
	resp, err := d.client.Do(r)
	if err != nil {
		d.rg.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.rg.t.Fatal(err)
	}
	return reply{resp, string(body)}
}

// tapLogin taps the button of the login page.
func (d *device) tapLogin(page reply) reply {
	d.rg.t.Helper()
	return d.tapFirst(page, "go=wechat")
}

// tapFirst follows the first link of a page of ours, which must hold a word.
func (d *device) tapFirst(page reply, word string) reply {
	d.rg.t.Helper()
	_, rest, ok := strings.Cut(page.body, `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	if !ok || !strings.Contains(href, word) {
		d.rg.t.Fatalf("no button for %s on the page at %s:\n%s", word, page.Request.URL, page.body)
	}
	return d.get(strings.ReplaceAll(href, "&amp;", "&"), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
}

// last returns the last request that reached the shop.
func (s *shop) last(t *testing.T) seen {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		t.Fatal("nothing reached the shop")
	}
	return s.seen[len(s.seen)-1]
}

// told returns who the shop was told in the last request.
func (rg *rig) told() (id, kind string) {
	rg.t.Helper()
	h := rg.shop.last(rg.t).header
	return h.Get("X-User-ID"), h.Get("X-User-Kind")
}

// logIn makes the visitor a member.
func (d *device) logIn() {
	d.rg.t.Helper()
	d.tapLogin(d.get("/wxgate/login?return_to=/"))
	if me := d.fetch(http.MethodGet, "/wxgate/me"); !strings.Contains(me.body, `"member"`) {
		d.rg.t.Fatalf("no member after the login: %s", me.body)
	}
}

// stay opens a page of the site and stays there, wherever it is sent.
func (d *device) stay(path string, edit ...func(*http.Request)) reply {
	d.rg.t.Helper()
	follow := d.client.CheckRedirect
	defer func() { d.client.CheckRedirect = follow }()
	d.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return d.get(path, edit...)
}
