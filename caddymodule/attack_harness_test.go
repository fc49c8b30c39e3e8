package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/session"
)

// In these tests a client says "forged" wherever it lies, so one look at the
// bytes that reached the shop tells whether a lie got through.
const lie = "forged"

const (
	attackSecret = "a secret of the attack tests, known to nobody else"
	attackAppID  = "wx1111111111111111"
)

// patience is how long a client waits: a hang ends after it and fails the test.
const patience = 20 * time.Second

// siege is a real Caddy with the gateway in front of a shop that keeps every
// byte that reaches it.
type siege struct {
	t    *testing.T
	addr string // of the gateway
	shop *recordingShop
	app  *App
	keys *session.Keys
}

// battlefield is what differs between sieges.
type battlefield struct {
	servers string // lines of the global option `servers`
	gate    string // lines of the gate besides the usual ones
	proxy   string // lines of reverse_proxy
}

// besiege starts the gateway and the shop.
func besiege(t *testing.T, b battlefield) *siege {
	t.Helper()
	s := &siege{t: t, addr: "127.0.0.1:" + dbtest.Port(t), shop: openShop(t)}
	global := globals(t, "secret \""+attackSecret+"\"\ndatabase sqlite:"+filepath.Join(t.TempDir(), "wxgate.db")+
		"\nofficial_account "+attackAppID+" app-secret")
	global = strings.Replace(global, "admin off\n", "admin off\n\tservers {\n\t\tprotocols h1 h2c\n"+b.servers+"\n\t}\n", 1)
	_, port, _ := net.SplitHostPort(s.addr)
	mustLoad(t, global+fmt.Sprintf(`http://:%s {
	bind 127.0.0.1
	wxgate {
		external_url http://%s
		bypass /pay/notify
		public /static/*
		login  /me/*
		%s
	}
	reverse_proxy %s {
		%s
	}
}
`, port, s.addr, b.gate, s.shop.addr, b.proxy))
	app, err := caddy.ActiveContext().App("wxgate")
	if err != nil {
		t.Fatal(err)
	}
	s.app, s.keys = app.(*App), app.(*App).keys
	return s
}

// visitor is somebody with a session.
type visitor struct {
	id, token string
	sess      *session.Session
}

// guest returns a visitor whom the gateway knows as a guest. A guest has no
// row: the sealed token is all there is of him.
func (s *siege) guest() visitor {
	s.t.Helper()
	id, err := s.app.shared.db.NewGuestID(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return s.seal(&session.Session{UserID: id, Kind: "guest"})
}

// member returns a visitor who has logged in with WeChat.
func (s *siege) member() visitor {
	s.t.Helper()
	in := account.Input{AppID: attackAppID, OpenID: "openid-of-a-member", UnionID: "unionid-of-a-member", Want: account.WantLogin}
	out, err := s.app.shared.db.Link(s.t.Context(), account.Rules{FirstLogin: account.FirstLoginWeChat}, in)
	if err != nil || out.Kind != account.Member {
		s.t.Fatalf("%+v, %v", out, err)
	}
	return s.seal(&session.Session{
		UserID: out.UserID, Kind: "member", AppID: in.AppID, OpenID: in.OpenID, UnionID: in.UnionID, AMR: "wechat",
	})
}

func (s *siege) seal(sess *session.Session) visitor {
	s.t.Helper()
	now := time.Now().Unix()
	sess.ID, sess.Channel = session.NewID(), "browser"
	sess.Born, sess.IssuedAt, sess.RenewedAt, sess.ExpiresAt = now, now, now, now+30*24*3600
	token, err := s.keys.SealSession(sess)
	if err != nil {
		s.t.Fatal(err)
	}
	return visitor{id: sess.UserID, token: token, sess: sess}
}

// cookie is the line that a browser sends for v.
func (v visitor) cookie() string { return "Cookie: wxgate=" + v.token + "\r\n" }

// answer is what a client reads.
type answer struct {
	status int
	header http.Header
	body   string
}

// raw writes bytes of the attacker's choice to a connection of their own and
// reads answers until the gateway closes it or want of them have come.
func (s *siege) raw(bytes string, want int) []answer {
	s.t.Helper()
	conn := s.dial()
	go func() { _, _ = io.WriteString(conn, bytes) }()
	method, _, _ := strings.Cut(bytes, " ")
	return readAnswers(conn, method, want)
}

// dial connects to the gateway. What is still open at the end of the test is
// closed then, and nothing waits longer than that.
func (s *siege) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// readAnswers reads what comes back to requests of a method.
func readAnswers(conn net.Conn, method string, want int) (all []answer) {
	br := bufio.NewReader(conn)
	for len(all) < want {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return all
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return all
		}
		all = append(all, answer{resp.StatusCode, resp.Header, string(body)})
	}
	return all
}

// send writes one request: its request line, our Host, and the given header
// lines, each with its end of line.
func (s *siege) send(requestLine, lines string) answer {
	s.t.Helper()
	all := s.raw(requestLine+" HTTP/1.1\r\nHost: "+s.addr+"\r\n"+lines+"\r\n", 1)
	if len(all) != 1 {
		s.t.Fatalf("no answer to %q", requestLine)
	}
	return all[0]
}

// h2 is a client that speaks HTTP/2 without TLS.
func (s *siege) h2() *http.Client {
	s.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// request builds a request of an HTTP/2 client.
func (s *siege) request(method, target string, v visitor) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if v.token != "" {
		r.Header.Set("Cookie", "wxgate="+v.token)
	}
	return r
}

// ask sends r over HTTP/2 and reads the whole answer.
func (s *siege) ask(c *http.Client, r *http.Request) answer {
	s.t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		s.t.Fatalf("the gateway speaks %s", resp.Proto)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// wantOnlyTruth checks that the shop heard one request that names v and holds
// nothing that the client invented.
func (s *siege) wantOnlyTruth(v visitor) {
	s.t.Helper()
	heard := s.shop.take()
	if len(heard.requests) != 1 {
		s.t.Fatalf("the shop heard %d requests:\n%s", len(heard.requests), heard.wire)
	}
	r := heard.requests[0]
	if got := r.Header["X-User-Id"]; len(got) != 1 || got[0] != v.id {
		s.t.Errorf("X-User-ID is %q, want %s", got, v.id)
	}
	if got := r.Header["X-User-Kind"]; len(got) != 1 || got[0] != v.sess.Kind {
		s.t.Errorf("X-User-Kind is %q, want %s", got, v.sess.Kind)
	}
	if r.Header.Get("X-User-Assertion") == "" {
		s.t.Error("no assertion")
	}
	if strings.Contains(strings.ToLower(heard.wire), lie) {
		s.t.Errorf("a lie reached the shop:\n%s", heard.wire)
	}
}

// wantNobody checks that the shop heard one request that names nobody.
func (s *siege) wantNobody() *http.Request {
	s.t.Helper()
	heard := s.shop.take()
	if len(heard.requests) != 1 {
		s.t.Fatalf("the shop heard %d requests:\n%s", len(heard.requests), heard.wire)
	}
	if low := strings.ToLower(heard.wire); strings.Contains(low, "x-user-") || strings.Contains(low, lie) {
		s.t.Errorf("the shop was told of somebody:\n%s", heard.wire)
	}
	return heard.requests[0]
}

// wantSilence checks that nothing reached the shop.
func (s *siege) wantSilence() {
	s.t.Helper()
	if heard := s.shop.take(); heard.wire != "" {
		s.t.Errorf("the shop heard:\n%s", heard.wire)
	}
}

// recordingShop is the backend: a plain Go server that keeps requests as it
// has read them and the bytes they came in.
type recordingShop struct {
	addr string

	mu       sync.Mutex
	wire     bytes.Buffer
	requests []*http.Request
	bodies   []string
	answer   http.HandlerFunc // nil: 200
}

type hearing struct {
	wire     string
	requests []*http.Request // with their bodies read and their trailers filled
	bodies   []string
}

func openShop(t *testing.T) *recordingShop {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shop := &recordingShop{addr: l.Addr().String()}
	srv := &http.Server{Handler: shop}
	go func() { _ = srv.Serve(wireTap{l, shop}) }()
	t.Cleanup(func() { srv.Close() })
	return shop
}

// says makes the shop answer with h from now on. It reads request bodies
// itself.
func (s *recordingShop) says(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

// take returns what the shop has heard since the last call.
func (s *recordingShop) take() hearing {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := hearing{s.wire.String(), s.requests, s.bodies}
	s.wire.Reset()
	s.requests, s.bodies = nil, nil
	return h
}

func (s *recordingShop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		s.keep(r, "")
		answer(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	s.keep(r, string(body))
	_, _ = io.WriteString(w, "the shop's answer")
}

func (s *recordingShop) keep(r *http.Request, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.bodies = append(s.requests, r), append(s.bodies, body)
}

// wireTap keeps what is read from every connection.
type wireTap struct {
	net.Listener
	shop *recordingShop
}

func (l wireTap) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tappedConn{conn, l.shop}, nil
}

type tappedConn struct {
	net.Conn
	shop *recordingShop
}

func (c tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.shop.mu.Lock()
	defer c.shop.mu.Unlock()
	c.shop.wire.Write(p[:n])
	return n, err
}
