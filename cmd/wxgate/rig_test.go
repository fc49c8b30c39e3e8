package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// binary is this command as `make build` makes it, built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "wxgate")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return path, nil
})

var binaryDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wxgate")
	if err != nil {
		panic(err)
	}
	binaryDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const (
	shopApp = "wx1111111111111111" // the official account of the shop
	miniApp = "wx2222222222222222" // another app of the same Open Platform account
	secret  = "a secret of thirty-two bytes or more"
)

// gateway is a running gateway: this command, with a database, Caddy's admin
// endpoint and a site, both on unix sockets.
type gateway struct {
	t          *testing.T
	dir        string
	template   string // of its Caddyfile
	databaseAt string // URL
	start      func(*exec.Cmd) error
	wechat     *wechattest.Server
	log        *logs
	process    *os.Process
	ended      <-chan error // of the process
}

// newGateway starts a gateway with what seed has stored, and ends it with the
// test. In app are further lines of the global option.
func newGateway(t *testing.T, app string, seed func(*seeder)) *gateway {
	t.Helper()
	g := prepare(t)
	if seed != nil {
		s := &seeder{t, g.database(), g.databaseAt}
		seed(s)
		if err := s.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	g.write("Caddyfile", g.config(app))
	g.run()
	return g
}

// prepare does all but to start the gateway.
func prepare(t *testing.T) *gateway {
	t.Helper()
	// The path of a unix socket has to be short, which t.TempDir's is not.
	dir, err := os.MkdirTemp("", "wxg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g := &gateway{t: t, dir: dir, databaseAt: "sqlite:" + dir + "/wxgate.db", log: new(logs), template: caddyfile, start: (*exec.Cmd).Start}
	g.wechat = wechattest.NewServer(wechattest.Config{
		Apps:   []wechattest.App{{ID: shopApp, Secret: "s", Domains: []string{"shop.test"}, OpenPlatform: "shop"}},
		People: []wechattest.Person{{Name: "li", Consent: wechattest.Accept}},
	})
	t.Cleanup(g.wechat.Close)
	return g
}

func (g *gateway) config(app string) string {
	return strings.NewReplacer("DIR", g.dir, "DATABASE", g.databaseAt, "WECHAT", g.wechat.URL, "APP", app).Replace(g.template)
}

const caddyfile = `{
	admin unix/DIR/admin
	persist_config off
	storage file_system DIR/storage
	wxgate {
		secret "` + secret + `"
		database DATABASE
		official_account ` + shopApp + ` s
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
		official_account ` + shopApp + `
		login /me/*
	}
	respond "{http.auth.user.kind} {http.auth.user.id}"
}
`

func (g *gateway) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gateway) write(name, text string) string {
	g.t.Helper()
	if err := os.WriteFile(g.path(name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return g.path(name)
}

// database opens the gateway's database, while no gateway runs.
func (g *gateway) database() *account.DB {
	g.t.Helper()
	db, err := account.Open(context.Background(), account.Config{URL: g.databaseAt})
	if err != nil {
		g.t.Fatal(err)
	}
	keys, err := session.NewKeys(secret)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := db.Unlock(context.Background(), sealer{keys}); err != nil {
		g.t.Fatal(err)
	}
	return db
}

// sealer opens the data key as the gateway does.
type sealer struct{ keys *session.Keys }

func (s sealer) Seal(plaintext []byte) string { return s.keys.Seal(session.TypeDataKey, plaintext) }

func (s sealer) Open(sealed string) ([]byte, bool) { return s.keys.Open(session.TypeDataKey, sealed) }

func (s sealer) Newest(sealed string) bool { return s.keys.Newest(session.TypeDataKey, sealed) }

// run starts the process and waits until its admin endpoint answers.
func (g *gateway) run() {
	g.t.Helper()
	g.begin()
	g.await()
}

// begin starts the process, which ends with the test.
func (g *gateway) begin() {
	g.t.Helper()
	cmd := g.command("run", "--config", g.path("Caddyfile"), "--adapter", "caddyfile")
	cmd.Stdout, cmd.Stderr = g.log, g.log
	if err := g.start(cmd); err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	g.process, g.ended = cmd.Process, ended
	g.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
}

// await waits until the admin endpoint answers.
func (g *gateway) await() {
	g.t.Helper()
	for start := time.Now(); ; {
		got := g.do("event", "list", "--limit", "1")
		if got.code == 0 {
			return
		}
		if time.Since(start) > 2*time.Minute {
			g.t.Fatalf("the gateway does not start: %s\n%s", got.err, g.log)
		}
		select {
		case err := <-g.ended:
			g.t.Fatalf("the gateway has ended: %v\n%s", err, g.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// reload lets it take up what its Caddyfile says now.
func (g *gateway) reload() {
	g.t.Helper()
	got := g.do("reload", "--config", g.path("Caddyfile"), "--adapter", "caddyfile", "--address", "unix/"+g.path("admin"))
	if got.code != 0 {
		g.t.Fatalf("reloading: %s", got.err)
	}
}

// command prepares a run of the binary.
func (g *gateway) command(args ...string) *exec.Cmd {
	g.t.Helper()
	bin, err := binary()
	if err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "HOME="+g.dir, "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir,
		"CADDY_ADMIN=unix/"+g.path("admin"), "TZ=Asia/Shanghai")
	cmd.Dir = g.dir
	return cmd
}

// said is what a run of a command has printed.
type said struct {
	out, err string
	code     int
}

// do runs one of our commands against the gateway. Nobody sits at its terminal.
func (g *gateway) do(args ...string) said {
	g.t.Helper()
	return g.finish(g.command(args...))
}

func (g *gateway) finish(cmd *exec.Cmd) said {
	g.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	return said{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must runs a command that has to work and returns what it prints.
func (g *gateway) must(args ...string) string {
	g.t.Helper()
	got := g.do(args...)
	if got.code != 0 || got.err != "" {
		g.t.Fatalf("wxgate %s: exit %d\n%s%s", strings.Join(args, " "), got.code, got.out, got.err)
	}
	return got.out
}

// dial leads to the gateway's sockets, and anywhere else as usual.
func (g *gateway) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	switch host {
	case "shop.test":
		network, addr = "unix", g.path("site")
	case "admin.test":
		network, addr = "unix", g.path("admin")
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// browser is the browser of somebody in WeChat.
func (g *gateway) browser(person string) *http.Client {
	b := wechattest.NewBrowser(person)
	b.Transport = &wechattest.Transport{Person: person, Base: &http.Transport{DialContext: g.dial, DisableKeepAlives: true}}
	return b
}

// open takes a browser to a page of the shop and returns its text.
func (g *gateway) open(b *http.Client, path string) string {
	g.t.Helper()
	resp, err := b.Get("http://shop.test" + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(body)
}

// ask sends a request to the admin endpoint as a program would.
func (g *gateway) ask(method, path, contentType, body string) (status int, header http.Header, answer string) {
	g.t.Helper()
	r, err := http.NewRequest(method, "http://admin.test"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: g.dial, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

// logs collects what the gateway logs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listen takes a port that the system chooses.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
