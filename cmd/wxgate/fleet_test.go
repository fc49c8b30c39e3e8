package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

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
