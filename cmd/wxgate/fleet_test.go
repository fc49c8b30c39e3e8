package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// fleet are gateways, each a process, in front of one shop, with one database
// and one Redis. Each request of a visitor meets another gateway than the one
// before.
type fleet struct {
	t       *testing.T
	all     []*gateway
	redis   *dbtest.Redis
	shop    *fleetShop
	phones  *inbox
	turn    atomic.Int64
	only    atomic.Int64 // that every request meets; anyOfThem: in turn
	visited atomic.Int64 // pages that were shown to whom they should be
}

const anyOfThem = -1

const fleetCaddyfile = `{
	admin unix/DIR/admin
	persist_config off
	storage file_system DIR/storage
	wxgate {
		SECRETS
		database DATABASE
		redis REDIS
		official_account ` + shopApp + ` s
		mini_program ` + miniApp + ` m
		first_login wechat
		sms webhook PHONES {
			secret ` + hookSecret + `
		}
		endpoints {
			api WECHAT
			open WECHAT
		}
		APP
	}
}
http://shop.test {
	bind unix/DIR/site
	wxgate {
		external_url http://shop.test
		login /me/*
	}
	reverse_proxy SHOP
}
`

// newFleet prepares as many gateways, which run with a secret until they are
// told another one. In app are further lines of the global option.
func newFleet(t *testing.T, n int, app string) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: dbtest.StartRedis(t), phones: newInbox(t)}
	f.only.Store(anyOfThem)
	for range n {
		f.all = append(f.all, prepare(t))
	}
	first := f.all[0]
	f.shop = newFleetShop(f)
	first.databaseAt = dbtest.Shared(t, dbtest.Postgres).Database(t)
	first.wechat.SetApp(wechattest.App{ID: miniApp, Secret: "m", OpenPlatform: "shop", MiniProgram: true})
	for _, g := range f.all {
		g.databaseAt, g.wechat = first.databaseAt, first.wechat
		g.template = strings.NewReplacer("REDIS", f.redis.URL(), "PHONES", f.phones.server.URL, "SHOP", f.shop.server.URL, "APP", app).Replace(fleetCaddyfile)
		f.configure(g, secret)
	}
	return f
}

// configure writes a gateway's configuration, with secrets.
func (f *fleet) configure(g *gateway, secrets ...string) {
	f.t.Helper()
	lines := ""
	for _, s := range secrets {
		lines += fmt.Sprintf("secret %q\n", s)
	}
	g.write("Caddyfile", strings.Replace(g.config(""), "SECRETS", lines, 1))
}

// run starts all gateways at once.
func (f *fleet) run() {
	f.t.Helper()
	for _, g := range f.all {
		g.begin()
	}
	for _, g := range f.all {
		g.await()
	}
}

// dial leads to the gateways in turn, and anywhere else as usual.
func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(addr); host == "shop.test" {
		n := int(f.only.Load())
		if n == anyOfThem {
			n = int(f.turn.Add(1)) % len(f.all)
		}
		network, addr = "unix", f.all[n].path("site")
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// transport makes a connection for each request.
func (f *fleet) transport() *http.Transport {
	return &http.Transport{DialContext: f.dial, DisableKeepAlives: true}
}

// visitor is somebody's browser, or the mini program on his phone.
type visitor struct {
	f       *fleet
	client  *http.Client
	session string // of a mini program
}

// inWeChat is WeChat's browser on the phone of a person.
func (f *fleet) inWeChat(p wechattest.Person) *visitor {
	return f.visitor(&wechattest.Transport{Person: p.Name, Base: f.transport()})
}

// elsewhere is an ordinary browser.
func (f *fleet) elsewhere() *visitor {
	return f.visitor(&wechattest.Transport{UserAgent: wechattest.OrdinaryUserAgent, Base: f.transport()})
}

func (f *fleet) visitor(through http.RoundTripper) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return &visitor{f: f, client: &http.Client{Jar: jar, Transport: through}}
}

// do sends a request and returns a good answer's text. Like a browser it tries
// again when the connection breaks, as it may at a reload of Caddy.
func (v *visitor) do(method, target, body string) (string, error) {
	if strings.HasPrefix(target, "/") {
		target = "http://shop.test" + target
	}
	for try := 0; ; try++ {
		r, err := http.NewRequest(method, target, strings.NewReader(body))
		if err != nil {
			return "", err
		}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Accept", "application/json")
		}
		if v.session != "" {
			r.Header.Set("X-Wxgate-Session", v.session)
		}
		resp, err := v.client.Do(r)
		if try < 20 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
			continue
		}
		if err != nil {
			return "", err
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode/100 != 2 {
			err = fmt.Errorf("%s %s: %d %s", method, resp.Request.URL, resp.StatusCode, raw)
		}
		return string(raw), err
	}
}

// get opens a page.
func (v *visitor) get(path string) (string, error) { return v.do(http.MethodGet, path, "") }

// post sends JSON and reads JSON.
func (v *visitor) post(path string, in map[string]string) (answer clientAnswer, err error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return answer, err
	}
	text, err := v.do(http.MethodPost, path, string(raw))
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &answer)
	}
	if answer.Session != "" {
		v.session = answer.Session
	}
	return answer, err
}

type clientAnswer struct {
	User struct {
		ID, Kind string
		Verified bool `json:"phone_verified"`
	}
	Session, URL string
}

// logIn goes through the login page and returns the member.
func (v *visitor) logIn() (string, error) {
	page, err := v.get("/me/orders")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(page, `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	said, err := v.get(strings.ReplaceAll(href, "&amp;", "&"))
	id, ok := strings.CutPrefix(said, "member ")
	if err == nil && !ok {
		err = fmt.Errorf("not logged in: %s", said)
	}
	return id, err
}

// stays opens a page so often, at one gateway and the other, and wants it to be
// shown to the same one.
func (v *visitor) stays(times int, who string) error {
	for range times {
		if said, err := v.get("/me/orders"); err != nil || said != who {
			return fmt.Errorf("%q is %q, error %w", who, said, err)
		}
		v.f.visited.Add(1)
	}
	return nil
}

// fleetShop says whom it is shown to, by what the assertion says, which it
// verifies as docs/backends.md shows.
type fleetShop struct {
	server   *httptest.Server
	verifier *verifier

	mu      sync.Mutex
	refused []string       // what was
	keys    map[string]int // of what was not, with how many assertions each
}

func newFleetShop(f *fleet) *fleetShop {
	s := &fleetShop{keys: map[string]int{}}
	keys := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "shop.test"})
		},
		Transport: f.transport(),
	})
	f.t.Cleanup(keys.Close)
	s.verifier = &verifier{t: f.t, jwksURL: keys.URL + "/wxgate/jwks.json"}
	s.verifier.start((*exec.Cmd).Start)
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	f.t.Cleanup(s.server.Close)
	return s
}

func (s *fleetShop) serve(w http.ResponseWriter, r *http.Request) {
	sent := strings.Join(r.Header.Values("X-User-Assertion"), "\t")
	if sent == "" {
		_, _ = io.WriteString(w, "nobody")
		return
	}
	who := r.Header.Get("X-User-Id") + " " + r.Header.Get("X-User-Kind")
	said, err := s.verifier.verify(sent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || said != "ok "+who {
		s.refused = append(s.refused, fmt.Sprintf("%s: %q, %v", who, said, err))
		w.WriteHeader(http.StatusForbidden)
		return
	}
	s.keys[keyOf(sent)]++
	_, _ = io.WriteString(w, r.Header.Get("X-User-Kind")+" "+r.Header.Get("X-User-Id"))
}

// keyOf is the id of the key that has signed an assertion.
func keyOf(assertion string) string {
	header, _, _ := strings.Cut(assertion, ".")
	var h struct{ Kid string }
	if raw, err := base64.RawURLEncoding.DecodeString(header); err == nil {
		_ = json.Unmarshal(raw, &h)
	}
	return h.Kid
}

// signed counts the assertions of a key so far.
func (s *fleetShop) signed(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[key]
}

// signedBy counts the keys that have signed.
func (s *fleetShop) signedBy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

// verifier is the one of docs/backends.md in Go, as a process.
type verifier struct {
	t       *testing.T
	jwksURL string

	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// verifierBinary builds it once for all tests.
var verifierBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "verifier")
	out, err := exec.Command("go", "build", "-o", path, "../../docs/backends/verifier.go").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the verifier: %w\n%s", err, out)
	}
	return path, nil
})

// start begins anew, without keys.
func (v *verifier) start(how func(*exec.Cmd) error) {
	v.t.Helper()
	path, err := verifierBinary()
	if err != nil {
		v.t.Fatal(err)
	}
	cmd := exec.Command(path, v.jwksURL, "http://shop.test", "http://shop.test")
	in, err := cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := how(cmd); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	v.in, v.out = in, bufio.NewReader(out)
}

// verify returns what it says of the values of an assertion: "ok" and the claims,
// or "refused" and why.
func (v *verifier) verify(values string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := io.WriteString(v.in, values+"\n"); err != nil {
		return "", err
	}
	line, err := v.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

// inbox receives the codes that are sent to phones.
type inbox struct {
	server *httptest.Server
	mu     sync.Mutex
	codes  map[string]string // by phone
}

func newInbox(t *testing.T) *inbox {
	hook, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	b := &inbox{codes: map[string]string{}}
	b.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var sms struct{ Phone, Code string }
		raw, err := io.ReadAll(r.Body)
		if err := errors.Join(err, hook.Verify(raw, r.Header), json.Unmarshal(raw, &sms)); err != nil {
			t.Error(err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.codes[sms.Phone] = sms.Code
	}))
	t.Cleanup(b.server.Close)
	return b
}

func (b *inbox) code(phone string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.codes["+86"+phone]
}
