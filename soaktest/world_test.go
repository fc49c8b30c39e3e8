package soaktest

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// The shop's apps, all of one Open Platform account.
const (
	accountApp = "wx1111111111111111"
	miniApp    = "wx2222222222222222"
	websiteApp = "wx3333333333333333"
	mobileApp  = "wx4444444444444444"
	appSecret  = "of the apps"

	site       = "http://shop.test"
	apiKey     = "a key of the shop's own programs, long enough"
	hookSecret = "whsec_ZGVtbyBzaG9wIGRlbW8gc2hvcCBkZW1vIHNob3AhIQ=="
	smsSecret  = "whsec_c2FuZGJveCBzYW5kYm94IHNhbmRib3ggc2FuZGJveCA="
)

const caddyfile = `{
	admin unix/RUN/admin
	persist_config off
	grace_period 1s
	servers {
		trusted_proxies static private_ranges
		trusted_proxies_unix
	}
	wxgate {
		secret "a secret of thirty-two bytes or more"
		database DATABASE
		redis REDIS
		official_account ` + accountApp + ` "` + appSecret + `"
		mini_program ` + miniApp + ` "` + appSecret + `"
		website ` + websiteApp + ` "` + appSecret + `"
		mobile_app ` + mobileApp + ` "` + appSecret + `"
		first_login wechat_phone
		sms_budget 1000000
		sms webhook SHOP/sms {
			secret ` + smsSecret + `
		}
		webhook SHOP/hooks/wxgate {
			secret ` + hookSecret + `
		}
		endpoints {
			api WECHAT
			open WECHAT
		}
	}
}
` + site + ` {
	bind unix/RUN/site
	wxgate {
		external_url ` + site + `
		login /me/*
		assertion {
			claims openid unionid
		}
	}
	reverse_proxy SHOP
}
http://api.test {
	bind unix/RUN/api
	wxgate_api {
		key "` + apiKey + `"
	}
}
`

// world is all that there is but the people.
type world struct {
	t        *testing.T
	gateways []*gateway
	wechat   *wechattest.Server
	redis    *dbtest.Redis
	losses   atomic.Int64 // how often Redis has lost all
	database *dbtest.Server
	accounts string // URL
	shop     *shop
	inbox    *inbox
	table    *table
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, redis: dbtest.StartRedis(t), database: dbtest.Start(t, dbtest.Postgres), shop: newShop(t), inbox: newInbox(t)}
	w.table = &table{w: w, underWay: new(sync.WaitGroup), seen: map[cell]map[outcome]int{}, first: map[cell]map[outcome]*household{}, took: map[cell]time.Duration{}}
	apps := []wechattest.App{
		{ID: accountApp, Domains: []string{"shop.test"}}, {ID: miniApp, MiniProgram: true},
		{ID: websiteApp, Domains: []string{"shop.test"}, Website: true}, {ID: mobileApp, Mobile: true},
	}
	for i := range apps {
		apps[i].Secret, apps[i].OpenPlatform = appSecret, "shop"
	}
	w.wechat = wechattest.NewServer(wechattest.Config{Apps: apps})
	t.Cleanup(w.wechat.Close)
	mux := http.NewServeMux()
	mux.Handle("/", w.shop)
	mux.Handle("/sms", w.inbox)
	backend := httptest.NewServer(mux)
	t.Cleanup(backend.Close)
	w.accounts = w.database.Create(t)
	config := strings.NewReplacer("DATABASE", w.accounts, "REDIS", w.redis.URL(), "SHOP", backend.URL, "WECHAT", w.wechat.URL).Replace(caddyfile)
	binary := buildGateway(t)
	for range 3 {
		w.gateways = append(w.gateways, w.newGateway(binary, config))
	}
	for _, g := range w.gateways {
		g.await()
	}
	return w
}

func (w *world) newGateway(binary, config string) *gateway {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "wxg") // the path of a socket has to be short
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g := &gateway{t: w.t, binary: binary, dir: dir, log: new(tail), caddyfile: config}
	g.start()
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the last lines of a gateway:\n%s", g.log.last(20))
		}
		g.kill()
	})
	return g
}

// only is the context's gateway, if a request may go to that one alone.
type only struct{}

// dial is the balancer: a connection goes to any gateway that takes it.
func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if !strings.Contains(addr, ".test:") {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	socket := "site"
	if strings.HasPrefix(addr, "api.") {
		socket = "api"
	}
	if g, ok := ctx.Value(only{}).(*gateway); ok {
		return new(net.Dialer).DialContext(ctx, "unix", g.socket(socket))
	}
	var conn net.Conn
	err := error(net.UnknownNetworkError("no gateway"))
	for _, i := range rand.Perm(len(w.gateways)) {
		if conn, err = new(net.Dialer).DialContext(ctx, "unix", w.gateways[i].socket(socket)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// inbox is everybody's phone: it keeps the codes of each number.
type inbox struct {
	hook  *standardwebhooks.Webhook
	mu    sync.Mutex
	codes map[string][]string
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(smsSecret)
	if err != nil {
		t.Fatal(err)
	}
	return &inbox{hook: hook, codes: map[string][]string{}}
}

func (i *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m struct{ Phone, Code string }
	if err != nil || i.hook.Verify(body, r.Header) != nil || json.Unmarshal(body, &m) != nil {
		http.Error(w, "no message", http.StatusBadRequest)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.codes[m.Phone] = append(i.codes[m.Phone], m.Code)
	w.WriteHeader(http.StatusNoContent)
}

// all are the codes that a phone was sent so far.
func (i *inbox) all(phone string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.codes["+86"+phone]
}
