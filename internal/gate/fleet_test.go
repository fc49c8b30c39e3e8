package gate

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// fleet is one site on several gateways, which share a PostgreSQL and a Redis
// and nothing else. Each request goes to another one than the request before.
type fleet struct {
	*phoneRig
	all   []*Site
	dbs   []*account.DB
	redis *dbtest.Redis
	stay  *atomic.Bool // all requests go to the first
}

func newFleet(t *testing.T, opts ...option) *fleet {
	t.Helper()
	f := &fleet{phoneRig: newPhoneRig(t, opts...), redis: dbtest.StartRedis(t), stay: new(atomic.Bool)}
	database := dbtest.Shared(t, dbtest.Postgres).Database(t)
	for range 3 {
		f.all = append(f.all, f.instance(database))
	}
	var turn atomic.Int64
	f.pick = func() *Site {
		if f.stay.Load() {
			return f.all[0]
		}
		return f.all[int(turn.Add(1))%len(f.all)]
	}
	return f
}

// instance starts one gateway more. It does not read the invalidation log by
// itself: of what others change it knows what it hears.
func (f *fleet) instance(database string) *Site {
	f.t.Helper()
	db, err := account.Open(f.t.Context(), account.Config{URL: database})
	must(f.t, err)
	f.t.Cleanup(func() { db.Close() })
	must(f.t, db.Unlock(f.t.Context(), testSealer{f.keys}))
	redis, err := session.OpenRedis(f.redis.URL())
	must(f.t, err)
	f.t.Cleanup(func() { _ = redis.Close() })
	client, err := wechat.New(wechat.Config{
		API: f.wechat.URL, Open: f.wechat.URL, Logger: f.site.Log, Shared: session.NewSealed(redis, f.keys, session.TypeCredential),
	})
	must(f.t, err)
	f.t.Cleanup(client.Close)
	deps := f.site.Deps
	deps.Accounts, deps.WeChat, deps.Store, deps.Limiter = db, client, redis, limit.NewRedis(redis.Client())
	deps.Local = &Local{Store: session.NewMemory(session.MemoryConfig{}), Limiter: limit.NewMemory(10_000)}
	deps.Cache, deps.Live = session.NewCache(16<<20), NewLive(db)
	deps.Watcher = NewWatcher(db.ReadInvalidations(), deps.Cache)
	db.OnChange(deps.Watcher.Changed)
	ctx, stop := context.WithCancel(f.t.Context())
	var sharing sync.WaitGroup
	sharing.Go(func() { deps.Watcher.Share(ctx, redis) })
	f.t.Cleanup(func() { stop(); sharing.Wait() })
	site, err := New(f.site.cfg, deps)
	must(f.t, err)
	f.dbs = append(f.dbs, db)
	return site
}

// listened returns when each instance hears the others.
func (f *fleet) listened() {
	f.until("all listen", func() bool {
		return strings.Count(f.redis.Do(f.t, "CLIENT", "LIST", "TYPE", "PUBSUB"), " sub=1 ") == len(f.all)
	})
}

// ends waits until the next instance no longer knows a session.
func (f *fleet) ends(token string) {
	f.t.Helper()
	f.until("the session is ended", func() bool {
		other := f.browser(uaChrome)
		got := other.fetch(http.MethodGet, "/wxgate/me", func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+token) })
		return strings.Contains(got.body, `"nobody"`)
	})
}

// until waits for what happens by itself.
func (f *fleet) until(what string, done func() bool) {
	f.t.Helper()
	for begun := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			f.t.Fatalf("not after a minute: %s", what)
		}
	}
}
