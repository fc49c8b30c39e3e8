package caddymodule

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	testAppID  = "wx1111111111111111"
	testSecret = "the AppSecret of the official account"
)

// rig is a Caddy with the gate in it, between browsers and a shop that records
// what reaches it, beside a pretend WeChat.
type rig struct {
	t      *testing.T
	dir    string // Caddy's data
	port   string
	shop   *shop
	wechat *wechattest.Server
	last   seen // see member
}

// newRig prepares everything but Caddy, which load starts.
func newRig(t *testing.T) *rig {
	t.Helper()
	rg := &rig{t: t, dir: dataDir(t), port: dbtest.Port(t), shop: newShop(t)}
	rg.wechat = wechattest.NewServer(wechattest.Config{
		Apps:   []wechattest.App{{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop"}},
		People: []wechattest.Person{{Name: "li", Consent: wechattest.Accept}},
	})
	t.Cleanup(rg.wechat.Close)
	return rg
}

// config is a whole Caddyfile. In its parts PORT is the gateway's port, SHOP
// the shop's address, GATE a wxgate block with a login line for /me, and MAKER
// the URL of a shop that makes user ids.
func (rg *rig) config(app, sites string) string {
	app += fmt.Sprintf("\nofficial_account %s %q\nendpoints {\n\tapi %s\n\topen %s\n}\n", testAppID, testSecret, rg.wechat.URL, rg.wechat.URL)
	return rg.expand(globals(rg.t, app) + sites)
}

func (rg *rig) expand(s string) string {
	const gate = "wxgate {\nexternal_url http://127.0.0.1:PORT\nlogin /me/* /early/me/*\nbypass /pay/notify\npublic /static/*\n}"
	if strings.Contains(s, "MAKER") {
		s = strings.ReplaceAll(s, "MAKER", newMaker(rg.t).URL)
	}
	return strings.NewReplacer("PORT", rg.port, "SHOP", rg.shop.addr).Replace(strings.ReplaceAll(s, "GATE", gate))
}

// start runs Caddy with one site.
func (rg *rig) start(site string) {
	rg.t.Helper()
	mustLoad(rg.t, rg.config("", "http://127.0.0.1:PORT {\n"+site+"\n}\n"))
}

func (rg *rig) url(path string) string { return "http://127.0.0.1:" + rg.port + path }

// waitUntil waits for what workers do.
func (rg *rig) waitUntil(what string, f func() bool) {
	rg.t.Helper()
	for range 3000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	rg.t.Fatalf("in vain: %s", what)
}

// log returns what Caddy has logged.
func (rg *rig) log() string {
	rg.t.Helper()
	raw, err := os.ReadFile(logFile(rg.dir))
	if err != nil {
		rg.t.Fatal(err)
	}
	return string(raw)
}

// raw sends bytes as they are and returns the answer.
func (rg *rig) raw(request string) *http.Response {
	rg.t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+rg.port)
	if err != nil {
		rg.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		rg.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		rg.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		rg.t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

// browser is a visitor's browser, in WeChat if it has a person.
func (rg *rig) browser(person string) *http.Client {
	b := wechattest.NewBrowser(person)
	if person == "" {
		b.Transport = ordinary{b.Transport}
	}
	return b
}

// ordinary makes a browser one that is not WeChat's.
type ordinary struct{ http.RoundTripper }

func (o ordinary) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", wechattest.OrdinaryUserAgent)
	return o.RoundTripper.RoundTrip(r)
}

// get opens a page.
func (rg *rig) get(b *http.Client, path string) (*http.Response, string) {
	rg.t.Helper()
	r, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	if strings.HasPrefix(path, "/") {
		if r, err = http.NewRequest(http.MethodGet, rg.url(path), nil); err != nil {
			rg.t.Fatal(err)
		}
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	resp, body := rg.do(b, r)
	return resp, string(body)
}

// do sends a request. Like a browser it tries again when the connection breaks:
// at a reload Caddy, with the gate or without it, gives up connections that are
// just being made.
func (rg *rig) do(b *http.Client, r *http.Request) (*http.Response, []byte) {
	rg.t.Helper()
	resp, err := b.Do(r)
	for n := 0; n < 20 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)); n++ {
		resp, err = b.Do(r)
	}
	if err != nil {
		rg.t.Error(err)
		return &http.Response{Request: r}, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		rg.t.Error(err)
	}
	return resp, body
}

// fetch does what a script of the shop's page does.
func (rg *rig) fetch(b *http.Client, path string, header http.Header) *http.Response {
	rg.t.Helper()
	r, err := http.NewRequest(http.MethodGet, rg.url(path), nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	resp, body := rg.do(b, r)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

// logIn takes a browser in WeChat through the login page to a page of members.
func (rg *rig) logIn(b *http.Client, path string) {
	rg.t.Helper()
	resp, body := rg.tapLogin(b, path)
	if resp.Request.URL.Path != path || resp.StatusCode != http.StatusOK {
		rg.t.Fatalf("not at %s after the login but at %s, %d:\n%s", path, resp.Request.URL, resp.StatusCode, body)
	}
}

// tapLogin opens a page of members and taps the button of the login page.
func (rg *rig) tapLogin(b *http.Client, path string) (*http.Response, string) {
	rg.t.Helper()
	resp, body := rg.get(b, path)
	_, rest, _ := strings.Cut(body, `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	if !strings.Contains(href, "go=wechat") {
		rg.t.Fatalf("no login button at %s, %d:\n%s", resp.Request.URL, resp.StatusCode, body)
	}
	return rg.get(b, strings.ReplaceAll(href, "&amp;", "&"))
}

// shop is a backend that records what reaches it.
type shop struct {
	*httptest.Server
	addr string

	mu     sync.Mutex
	seen   []seen
	status int      // of its answers; 0: 200
	said   []string // name and value of a header in them
}

// answerWith puts a header into the shop's answers from now on.
func (s *shop) answerWith(status int, header ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.said = status, header
}

type seen struct {
	method, uri, body string
	header            http.Header
}

func newShop(t *testing.T) *shop {
	s := new(shop)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.seen = append(s.seen, seen{r.Method, r.RequestURI, string(body), r.Header.Clone()})
		status, said := s.status, s.said
		s.mu.Unlock()
		w.Header().Set("Cache-Control", "public, max-age=60")
		if status != 0 {
			w.Header().Set(said[0], said[1])
			w.WriteHeader(status)
		}
		_, _ = io.WriteString(w, "shop "+r.RequestURI)
	}))
	t.Cleanup(s.Close)
	s.addr = s.Listener.Addr().String()
	return s
}

// reached returns what has reached the shop since the last call.
func (s *shop) reached() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.seen
	s.seen = nil
	return all
}

// only returns the one request that has reached the shop since the last call.
func (s *shop) only(t *testing.T) seen {
	t.Helper()
	all := s.reached()
	if len(all) != 1 {
		t.Fatalf("%d requests reached the shop, want 1: %v", len(all), all)
	}
	return all[0]
}

// write puts a file into a directory of the test's own and returns the
// directory.
func write(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
