package wechat_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// clientOf returns a client for a server on a real socket.
func clientOf(t *testing.T, cfg wechat.Config) *wechat.Client {
	t.Helper()
	c, err := wechat.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// net/http repeats a GET when a connection it has reused dies before the
// answer begins. A code sent like that is spent by the first request, and the
// repeated one tells an innocent visitor that his code is used.
func TestCodeIsSentOnceOverDyingConnections(t *testing.T) {
	for name, spend := range map[string]func(*wechat.Client, string) error{
		"exchange": func(c *wechat.Client, code string) error {
			_, err := c.ExchangeCode(t.Context(), shop(), code)
			return err
		},
		"login of a mini program": func(c *wechat.Client, code string) error {
			_, err := c.Code2Session(t.Context(), mini(), code)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { sendOnce(t, spend) })
	}
}

func sendOnce(t *testing.T, spend func(*wechat.Client, string) error) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code := r.URL.Query().Get("code") + r.URL.Query().Get("js_code")
		mu.Lock()
		seen[code]++
		mu.Unlock()
		if strings.HasPrefix(code, "dies") {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		io.WriteString(w, `{"access_token":"t","openid":"o1","scope":"snsapi_base","session_key":"tiihtNczf5v6AKRyjwEUhQ=="}`)
	}))
	defer server.Close()
	c := clientOf(t, wechat.Config{API: server.URL})
	for _, code := range []string{"warms1", "dies1", "warms2", "warms3", "dies2"} {
		err := spend(c, code)
		if strings.HasPrefix(code, "dies") {
			wantError(t, err, wechat.ErrUnavailable)
		} else if err != nil {
			t.Errorf("exchanging %s: %v", code, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(map[string]int{"warms1": 1, "dies1": 1, "warms2": 1, "warms3": 1, "dies2": 1}, seen); diff != "" {
		t.Errorf("requests per code, want - got +:\n%s", diff)
	}
}

// HTTP/2 has repeats of its own (a refused stream, GOAWAY), so it is not
// spoken where a server offers it.
func TestHTTP2IsNotSpoken(t *testing.T) {
	var proto atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		io.WriteString(w, `{"access_token":"t","openid":"o1"}`)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c := clientOf(t, wechat.Config{API: server.URL})
	c.Trust(server.Certificate())
	if _, err := c.ExchangeCode(t.Context(), shop(), "code"); err != nil {
		t.Fatal(err)
	}
	if proto.Load() != "HTTP/1.1" {
		t.Errorf("the request came as %v", proto.Load())
	}
}

func TestUnknownCertificateIsRefused(t *testing.T) {
	var reached atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	c := clientOf(t, wechat.Config{API: server.URL})
	_, err := c.ExchangeCode(t.Context(), shop(), "code")
	wantError(t, err, wechat.ErrUnavailable)
	if reached.Load() || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("reached %v, error %v", reached.Load(), err)
	}
}

// A redirect would carry secret and code to another host.
func TestRedirectIsNotFollowed(t *testing.T) {
	var reached atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Store(true)
		io.WriteString(w, `{"access_token":"t","openid":"o1"}`)
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	c := clientOf(t, wechat.Config{API: server.URL})
	_, err := c.ExchangeCode(t.Context(), shop(), "code")
	wantError(t, err, wechat.ErrUnavailable)
	if reached.Load() {
		t.Error("the redirect was followed")
	}
}

// An answer without end is cut off, not read until the time is over.
func TestEndlessAnswerIsCutOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for blanks := make([]byte, 32<<10); ; {
			if _, err := w.Write(blanks); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	var seen string
	c := clientOf(t, wechat.Config{API: server.URL, Observe: func(_, code string, _ time.Duration) { seen = code }})
	_, err := c.ExchangeCode(t.Context(), shop(), "code")
	wantError(t, err, wechat.ErrUnavailable)
	if seen != "malformed" {
		t.Errorf("observed %q", seen)
	}
}

func TestProxyCarriesCalls(t *testing.T) {
	var target atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target.Store(r.URL.Host)
		io.WriteString(w, `{"access_token":"t","openid":"o1"}`)
	}))
	defer proxy.Close()
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := clientOf(t, wechat.Config{API: "http://api.weixin.example", Proxy: via})
	if _, err := c.ExchangeCode(t.Context(), shop(), "code"); err != nil || target.Load() != "api.weixin.example" {
		t.Errorf("error %v, proxied host %v", err, target.Load())
	}
}

// Nothing that identifies a person or opens a door is in an error or a log
// line, whatever goes wrong.
func TestNothingSecretInErrorsAndLogs(t *testing.T) {
	const code, openID, token = "c0de-of-li", "o-openid-of-li", "t0ken-of-li"
	secrets := []string{secret, code, openID, token, "/sns/", "appid=", "p4ss"}
	echo := func(w http.ResponseWriter, r *http.Request) string {
		body, _ := io.ReadAll(r.Body)
		return r.URL.String() + string(body)
	}
	servers := map[string]http.HandlerFunc{
		"errmsg repeats the request": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"errcode":40125,"errmsg":%q}`, echo(w, r)+" rid: 652d44d0-1d0af18b-5b069232")
		},
		"unknown errcode": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"errcode":77777,"errmsg":%q}`, "hints: [ req_id: "+echo(w, r)+" ]")
		},
		"a page repeats the request": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, echo(w, r)) },
		"the connection breaks":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"the body breaks off": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, echo(w, r))
		},
		"the status line repeats the request": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(conn, "WHAT %s\r\n\r\n", r.URL)
			conn.Close()
		},
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	bases := map[string]string{"nobody listens": closed.URL, "unknown host": "http://wechat.invalid", "plain http behind https": "https://" + plainListener(t)}
	for name, handler := range servers {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		bases[name] = server.URL
	}
	for name, base := range bases {
		t.Run(name, func(t *testing.T) {
			log := &lockedBuffer{}
			logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c := clientOf(t, wechat.Config{API: base, Logger: logger})
			_, exchange := c.ExchangeCode(t.Context(), shop(), code)
			grant := wechat.Grant{OpenID: openID, AccessToken: token, Scope: "snsapi_userinfo"}
			_, profile := c.UserInfo(t.Context(), shop(), grant)
			_, _, follower := c.Follower(t.Context(), shop(), openID)
			_, followers := c.Followers(t.Context(), shop(), []string{openID})
			_, _, page := c.FollowerPage(t.Context(), shop(), openID)
			_, login := c.Code2Session(t.Context(), shop(), code)
			_, phone := c.PhoneNumber(t.Context(), wechat.Owner{App: shop(), OpenID: openID}, code)
			for _, err := range []error{exchange, profile, follower, followers, page, login, phone} {
				if err == nil {
					t.Fatal("a call succeeds")
				}
				logger.Error("login", "err", err, "app", shop(), "grant", grant, "profile", wechat.Profile{OpenID: openID, Nickname: token})
			}
			text := fmt.Sprintf("%s %v %+v %#v %s %v", log, shop(), grant, grant, wechat.Profile{Nickname: token}, exchange)
			text = strings.NewReplacer(
				string(wechattest.ExchangeCode), "", string(wechattest.UserInfo), "", string(wechattest.Code2Session), "").Replace(text) // the name of a call
			for _, s := range secrets {
				if strings.Contains(text, s) {
					t.Errorf("%q is in:\n%s", s, text)
				}
			}
		})
	}
}

// plainListener answers TLS handshakes with text.
func plainListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadByte()
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
	return l.Addr().String()
}
