package wechat_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	shopID   = "wx1111111111111111"
	otherID  = "wx9999999999999999"
	secret   = "s3cr3t-of-the-shop"
	callback = "http://shop.example/wxgate/callback"
	miniID   = "wx2222222222222222"
)

func shop() wechat.App  { return wechat.App{AppID: shopID, AppSecret: secret} }
func mini() wechat.App  { return wechat.App{AppID: miniID, AppSecret: secret} }
func other() wechat.App { return wechat.App{AppID: otherID, AppSecret: "s3cr3t-of-the-other"} }

// world is a client and the fake platform it talks to, over a network in
// memory, so that it works under a synctest clock too.
type world struct {
	*testing.T
	*wechattest.Server
	client   *wechat.Client
	network  *memoryNetwork
	log      *lockedBuffer
	mu       sync.Mutex
	observed []string // "api code"
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, log: &lockedBuffer{}}
	w.Server = wechattest.New(wechattest.Config{
		Apps: []wechattest.App{
			{ID: shopID, Secret: secret, Domains: []string{"shop.example"}, OpenPlatform: "shop"},
			{ID: otherID, Secret: "s3cr3t-of-the-other", Domains: []string{"shop.example"}, OpenPlatform: "shop"},
			{ID: miniID, Secret: secret, OpenPlatform: "shop", MiniProgram: true},
		},
		People: []wechattest.Person{
			{Name: "li", Nickname: "小李", AvatarURL: "https://thirdwx.qlogo.cn/a/132", Phone: "13800138001", Consent: wechattest.Accept},
			{Name: "wang", Follower: true},
		},
	})
	w.network = newMemoryNetwork(w.Server)
	t.Cleanup(func() {
		w.Server.Close()
		w.network.close()
	})
	w.client = w.newClient(wechat.Config{})
	return w
}

// newClient is one more client of the platform.
func (w *world) newClient(cfg wechat.Config) *wechat.Client {
	w.Helper()
	cfg.API, cfg.Open = "http://api.wechat.test", "http://open.wechat.test"
	cfg.Logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Observe = w.observe
	c, err := wechat.New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	c.DialWith(w.network.dial)
	w.Cleanup(c.Close)
	return c
}

func (w *world) observe(api, code string, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observed = append(w.observed, api+" "+code)
}

// takeObserved returns what was observed since the last time.
func (w *world) takeObserved() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.observed
	w.observed = nil
	return seen
}

// code authorizes at the platform as person, through the client's own URL.
func (w *world) code(person string, scope wechat.Scope) string {
	w.Helper()
	target, err := w.client.AuthorizeURL(wechat.AuthorizeParams{AppID: shopID, RedirectURI: callback, Scope: scope, State: "St4te"})
	if err != nil {
		w.Fatal(err)
	}
	target, fragment, _ := strings.Cut(target, "#") // browsers keep the fragment to themselves
	if fragment != "wechat_redirect" {
		w.Errorf("fragment %q", fragment)
	}
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("User-Agent", wechattest.AndroidUserAgent)
	r.Header.Set(wechattest.PersonHeader, person)
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	u, err := url.Parse(answer.Header().Get("Location"))
	if err != nil || u.Query().Get("code") == "" {
		w.Fatalf("no code at %q: %s", u, answer.Body)
	}
	return u.Query().Get("code")
}

func (w *world) exchange(code string) (wechat.Grant, error) {
	return w.client.ExchangeCode(context.Background(), shop(), code)
}

// grant logs person in.
func (w *world) grant(person string, scope wechat.Scope) wechat.Grant {
	w.Helper()
	g, err := w.exchange(w.code(person, scope))
	if err != nil {
		w.Fatal(err)
	}
	return g
}

// follower asks about a person of the shop.
func (w *world) follower(person string) (unionID string, subscribed bool, err error) {
	return w.client.Follower(context.Background(), shop(), w.OpenID(person, shopID))
}

// wantError fails the test unless err is an *Error that matches want alone.
func wantError(t *testing.T, err, want error) {
	t.Helper()
	var e *wechat.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error that matches %q", err, want)
	}
	for _, sentinel := range []error{
		wechat.ErrCode, wechat.ErrBlocked, wechat.ErrBusy, wechat.ErrConfig,
		wechat.ErrToken, wechat.ErrScope, wechat.ErrUnavailable,
	} {
		if got := errors.Is(err, sentinel); got != (sentinel == want) {
			t.Errorf("%v: matches %q: %v", err, sentinel, got)
		}
	}
}

func wantCount(t *testing.T, s *wechattest.Server, api wechattest.API, want int) {
	t.Helper()
	if got := s.Count(api); got != want {
		t.Errorf("%d requests to %s, want %d", got, api, want)
	}
}

// memoryNetwork serves a handler over pipes.
type memoryNetwork struct {
	conns  chan net.Conn
	closed chan struct{}
	server *http.Server
	served chan struct{}
}

func newMemoryNetwork(h http.Handler) *memoryNetwork {
	n := &memoryNetwork{conns: make(chan net.Conn), closed: make(chan struct{}), served: make(chan struct{})}
	n.server = &http.Server{Handler: h}
	go func() {
		defer close(n.served)
		n.server.Serve(n)
	}()
	return n
}

func (n *memoryNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case n.conns <- far:
		return near, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *memoryNetwork) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *memoryNetwork) Close() error   { return nil }
func (n *memoryNetwork) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

func (n *memoryNetwork) close() {
	close(n.closed)
	n.server.Close()
	<-n.served
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines returns what was logged, a line each.
func (b *lockedBuffer) lines() []string {
	return strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\n' })
}
