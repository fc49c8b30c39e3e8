package gate

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

// benchSite is a site whose assertions are signed with a shared key: what is
// measured is the gate, and not a signature that a session costs once.
func benchSite(b *testing.B) *Site {
	b.Helper()
	db, err := account.Open(b.Context(), account.Config{URL: "sqlite:" + filepath.Join(b.TempDir(), "bench.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	keys, err := session.NewKeys("a secret for benchmarks that is long enough")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := assertion.NewSigner(assertion.SignerConfig{
		Algorithm: assertion.HS256, Key: "the shop's own key, long enough for HS256", Issuer: "http://shop.test", TTL: assertion.MaxTTL,
	})
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	cache := session.NewCache(512 << 20)
	site, err := New(Config{
		ExternalURL: "http://shop.test",
		Rules: []Rule{
			{Level: Bypass, Paths: []string{"/pay/notify", "/pos/*"}},
			{Level: Public, Paths: []string{"/static/*", "/healthz"}},
			{Level: Login, Paths: []string{"/api/me/*", "/cart/checkout"}},
		},
	}, Deps{
		Accounts: db, Store: session.NewMemory(session.MemoryConfig{}), Limiter: limit.NewMemory(10), Cache: cache,
		Watcher: NewWatcher(db.ReadInvalidations(), cache), Keys: keys, Signer: signer, Metrics: nopMetrics{}, Log: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	return site
}

// BenchmarkKnownVisitor is the whole way of a request whose session is in
// memory, without server and shop, for one session and for many at random.
func BenchmarkKnownVisitor(b *testing.B) {
	for _, sessions := range []int{1, 100_000} {
		b.Run(strconv.Itoa(sessions), func(b *testing.B) {
			site := benchSite(b)
			cookies := guestCookies(b, site, sessions)
			pass := passing(b, site)
			for _, c := range cookies {
				pass(c)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				pass(cookies[i*7919%len(cookies)])
				i++
			}
		})
	}
}

// guestCookies are the cookies of so many guests.
func guestCookies(b *testing.B, site *Site, sessions int) []string {
	now := time.Now().Unix()
	cookies := make([]string, sessions)
	for i := range cookies {
		token, err := site.Keys.SealSession(&session.Session{
			ID: session.NewID(), UserID: strconv.Itoa(1_000_000_000 + i), Kind: kindGuest, Born: now,
			IssuedAt: now, RenewedAt: now, ExpiresAt: now + 30*24*3600, Channel: channelBrowser,
		})
		if err != nil {
			b.Fatal(err)
		}
		cookies[i] = "wxgate=" + token
	}
	return cookies
}

// passing returns what takes a page view through the gate.
func passing(b *testing.B, site *Site) func(cookie string) {
	base := ordinaryRequest()
	return func(cookie string) {
		r := base.Clone(b.Context())
		r.Header["Cookie"] = []string{cookie}
		v := site.Receive(r, Origin{Sent: base.URL, Method: http.MethodGet})
		level, err := site.Level(r, v)
		if err != nil || site.Owns(v) {
			b.Fatal(err)
		}
		site.Identify(r, v, level)
		if site.Answer(nil, r, v) {
			b.Fatal("answered")
		}
		aw, r, done := site.Attach(httptest.NewRecorder(), r, v)
		aw.WriteHeader(http.StatusOK)
		done()
		if len(r.Header["X-User-Id"]) != 1 {
			b.Fatal("not identified")
		}
	}
}

// BenchmarkKnownVisitorBesideRedis is what known visitors wait for while new
// ones, a thousand a second, are counted in a Redis that answers or does not.
func BenchmarkKnownVisitorBesideRedis(b *testing.B) {
	for _, frozen := range []bool{false, true} {
		b.Run(map[bool]string{false: "answers", true: "frozen"}[frozen], func(b *testing.B) {
			server := dbtest.StartRedis(b)
			site := benchSite(b)
			redis, err := session.OpenRedis(server.URL())
			if err != nil {
				b.Fatal(err)
			}
			defer redis.Close()
			site.Local = &Local{Store: site.Store, Limiter: site.Limiter}
			site.Store, site.Limiter = redis, limit.NewRedis(redis.Client())
			site.cfg.MintLimit = limit.Limit{Events: 1_000_000, Window: time.Hour}
			cookies, pass := guestCookies(b, site, 10_000), passing(b, site)
			for _, c := range cookies {
				pass(c)
			}
			if frozen {
				server.Freeze()
				defer server.Thaw()
			}
			ctx, stop := context.WithCancel(b.Context())
			var newcomers sync.WaitGroup
			newcomers.Go(func() {
				for ctx.Err() == nil {
					newcomers.Go(func() { pass("") })
					time.Sleep(time.Millisecond)
				}
			})
			var took []time.Duration
			i := 0
			for b.Loop() {
				begun := time.Now()
				pass(cookies[i*7919%len(cookies)])
				took = append(took, time.Since(begun))
				i++
			}
			stop()
			newcomers.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns/op")
		})
	}
}
