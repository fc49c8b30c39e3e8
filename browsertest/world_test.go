package browsertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	accountID = "wx1111111111111111" // of the official account
	websiteID = "wx3333333333333333"

	miniProgramID = "wx2222222222222222"

	// patience bounds every wait. It is long, since a machine may be busy.
	patience = 90 * time.Second
	// tick is how often a condition is looked at.
	tick = 20 * time.Millisecond
)

// setting is what worlds differ in.
type setting struct {
	app    string // lines of the global option
	site   string // lines of the directive
	routes string // lines of the site beside the shop
}

// world is the gateway's own process in front of a shop, with a pretend WeChat
// and everybody's phone around it. Browsers reach shop and WeChat at two sites,
// over https.
type world struct {
	t        *testing.T
	wechat   *wechattest.Server
	shop     *shop.Shop
	messages *messages
	base     string // the shop's origin
	platform string // WeChat's origin for browsers
	dir      string
	process  *exec.Cmd
	ended    chan error // the process's end
	log      *bytes.Buffer
	phones   int // numbers given out
}

// newWorld starts a world that ends with the test.
func newWorld(t *testing.T, s setting) *world {
	t.Helper()
	w := &world{t: t, shop: shop.New(), messages: &messages{}, dir: t.TempDir(), log: &bytes.Buffer{}}
	w.wechat = wechattest.NewServer(wechattest.Config{
		Apps: []wechattest.App{
			{ID: accountID, Secret: "account-secret", Domains: []string{"shop.test"}, OpenPlatform: "shop"},
			{ID: websiteID, Secret: "website-secret", Domains: []string{"shop.test"}, OpenPlatform: "shop", Website: true},
			{ID: miniProgramID, Secret: "mini-secret", OpenPlatform: "shop", MiniProgram: true},
		},
		People: []wechattest.Person{{Name: "li"}, {Name: "han"}},
	})
	t.Cleanup(w.wechat.Close)
	shopServer, phones := httptest.NewServer(w.shop), httptest.NewServer(w.messages)
	t.Cleanup(shopServer.Close)
	t.Cleanup(phones.Close)

	logo, err := filepath.Abs("../cmd/wxgate-sandbox/shop/static/icon.svg")
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	w.base, w.platform = "https://shop.test:"+port, "https://wechat.test:"+port
	config := strings.NewReplacer(
		"BASE", w.base, "OTHER", "https://other.test:"+port, "PLATFORM", w.platform, "DIR", w.dir, "API", w.wechat.URL,
		"SHOP", strings.TrimPrefix(shopServer.URL, "http://"),
		"\t\tAPP\n", s.app, "\t\tSITE\n", s.site, "\tROUTES\n", s.routes,
		"PHONES", phones.URL, "LOGO", logo,
	)
	// Twice: the settings name places too.
	text := config.Replace(config.Replace(caddyfile))
	if err := os.WriteFile(filepath.Join(w.dir, "Caddyfile"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	t.Cleanup(w.stop)
	return w
}

const caddyfile = `{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	servers {
		protocols h1 h2
	}
	wxgate {
		database sqlite:DIR/wxgate.db
		sandbox on
		endpoints {
			api API
			open PLATFORM
		}
		APP
	}
}

BASE, OTHER {
	bind 127.0.0.1
	tls internal
	wxgate {
		external_url BASE
		bypass /pay/notify
		public /static/* /favicon.ico
		SITE
	}
	ROUTES
	reverse_proxy SHOP
}

PLATFORM {
	bind 127.0.0.1
	tls internal
	reverse_proxy API
}
`

var portsTaken atomic.Int64

// freePort is below those that systems give to connections, one of which might
// take it before the gateway does, and never the same twice.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + (97*os.Getpid()+int(portsTaken.Add(1)))%20_000)
		if listener, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts the gateway and waits until it is ready.
func (w *world) start() {
	w.t.Helper()
	w.process = exec.Command(os.Getenv(gatewayVariable), "run", "--config", filepath.Join(w.dir, "Caddyfile"), "--adapter", "caddyfile")
	w.process.Env = append(os.Environ(), "XDG_DATA_HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir)
	w.process.Stderr = w.log
	if err := w.process.Start(); err != nil {
		w.t.Fatalf("starting the gateway: %v", err)
	}
	w.ended = make(chan error, 1)
	go func() { w.ended <- w.process.Wait() }()
	waitFor(w.t, "the gateway to answer", func() bool {
		select {
		case err := <-w.ended:
			w.t.Fatalf("the gateway ended: %v\n%s", err, w.log)
		default:
		}
		answer, err := w.client().Get(w.base + "/wxgate/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// stop ends the gateway. What it keeps in memory is gone, its database stays.
func (w *world) stop() {
	w.t.Helper()
	if err := w.process.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Errorf("stopping the gateway: %v\n%s", err, w.log)
	}
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.t.Error("the gateway does not end")
	}
	if w.t.Failed() {
		w.t.Logf("the gateway's log:\n%s", w.log)
	}
}

// restart ends the gateway and starts it again.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// client reaches the gateway as programs do, such as the payment provider's.
func (w *world) client() *http.Client {
	address := strings.Replace(strings.TrimPrefix(w.base, "https://"), "shop.test", "127.0.0.1", 1)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{ServerName: "shop.test", InsecureSkipVerify: true},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}}
}

// pay is the payment provider, who tells the shop that an order is paid.
func (w *world) pay(order string) {
	w.t.Helper()
	answer, err := w.client().Post(w.base+"/pay/notify", "application/json", strings.NewReader(fmt.Sprintf(`{"order":%q}`, order)))
	if err != nil {
		w.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		w.t.Fatalf("the payment's notification was answered %s", answer.Status)
	}
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	waitForOr(t, holds, func() { t.Fatalf("waited in vain for %s", what) })
}

// waitForOr waits until a condition holds, or else gives up.
func waitForOr(t *testing.T, holds func() bool, giveUp func()) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(tick) {
		if time.Now().After(end) {
			giveUp()
			return
		}
	}
}

// messages takes the codes that are sent to phones. Whether they are signed is
// for others to test.
type messages struct {
	mu    sync.Mutex
	codes map[string][]string // by phone
}

func (m *messages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var sent struct{ Phone, Code string }
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.codes == nil {
		m.codes = map[string][]string{}
	}
	m.codes[sent.Phone] = append(m.codes[sent.Phone], sent.Code)
	w.WriteHeader(http.StatusNoContent)
}

// sentTo returns the codes that a phone was sent, oldest first.
func (m *messages) sentTo(phone string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.codes[phone]
}
