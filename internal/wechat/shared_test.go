package wechat_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	tokenKey = "token:" + shopID
	leaseKey = "lease:" + tokenKey
)

// instances are clients of several gateways that share a store.
func (w *world) instances(n int, shared wechat.Shared) []*wechat.Client {
	clients := make([]*wechat.Client, n)
	for i := range clients {
		clients[i] = w.newClient(wechat.Config{Shared: shared})
	}
	return clients
}

// mustFollowBy asks about wang through a client.
func (w *world) mustFollowBy(c *wechat.Client) {
	w.Helper()
	if _, subscribed, err := c.Follower(context.Background(), shop(), w.OpenID("wang", shopID)); err != nil || !subscribed {
		w.Errorf("subscribed %v, error %v", subscribed, err)
	}
}

// all lets every client ask about wang, several times at once.
func (w *world) all(clients []*wechat.Client) {
	var all sync.WaitGroup
	for _, c := range clients {
		for range 4 {
			all.Go(func() { w.mustFollowBy(c) })
		}
	}
	all.Wait()
}

func TestInstancesFetchOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clients := w.instances(10, session.NewMemory(session.MemoryConfig{}))
		w.Fail(wechattest.StableToken, 1, wechattest.Delay(time.Second))
		w.all(clients)
		wantCount(t, w.Server, wechattest.StableToken, 1)
	})
}

// An instance that comes later, or one that has reloaded its configuration,
// fetches nothing.
func TestLaterInstanceTakesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := session.NewMemory(session.MemoryConfig{})
		w.mustFollowBy(w.instances(1, store)[0])
		time.Sleep(time.Hour)
		w.mustFollowBy(w.instances(1, store)[0])
		wantCount(t, w.Server, wechattest.StableToken, 1)
	})
}

// For a day every instance has a visitor each minute: no call meets a dead
// token, and a token is fetched about as often as by one instance.
func TestInstancesRenewOneTokenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clients := w.instances(5, session.NewMemory(session.MemoryConfig{}))
		for range 24 * 60 {
			for _, c := range clients {
				w.mustFollowBy(c)
			}
			time.Sleep(time.Minute)
		}
		if n := w.Count(wechattest.StableToken); n < 12 || n > 8*12 {
			t.Errorf("%d token fetches in 12 lives", n)
		}
		wantCount(t, w.Server, wechattest.Follower, 5*24*60)
	})
}

// Somebody has forced a new token: all instances meet the dead one, and one
// fetch heals them.
func TestInstancesReplaceADeadTokenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clients := w.instances(10, session.NewMemory(session.MemoryConfig{}))
		w.all(clients)
		time.Sleep(time.Minute)
		w.RevokeTokens(shopID)
		w.Fail(wechattest.StableToken, 1, wechattest.Delay(time.Second))
		w.all(clients)
		wantCount(t, w.Server, wechattest.StableToken, 2)
	})
}

// The instance that holds the lease gets no token: another one tries.
func TestFailedHolderIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clients := w.instances(2, session.NewMemory(session.MemoryConfig{}))
		w.Fail(wechattest.StableToken, 1, wechattest.Fault{Delay: time.Second, Status: 502})
		var all sync.WaitGroup
		all.Go(func() {
			_, _, err := clients[0].Follower(t.Context(), shop(), w.OpenID("wang", shopID))
			wantError(t, err, wechat.ErrUnavailable)
		})
		synctest.Wait()
		all.Go(func() { w.mustFollowBy(clients[1]) })
		all.Wait()
		wantCount(t, w.Server, wechattest.StableToken, 2)
	})
}

// An instance that died with the lease holds the others up for no longer than
// the lease lasts.
func TestLeaseOfADeadInstanceRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := session.NewMemory(session.MemoryConfig{})
		if _, err := store.Add(t.Context(), leaseKey, []byte("the dead one"), 6*time.Second); err != nil {
			t.Fatal(err)
		}
		c := w.instances(1, store)[0]
		time.Sleep(2 * time.Second)
		w.mustFollowBy(c)
		wantCount(t, w.Server, wechattest.StableToken, 1)
	})
}

// A holder is held up until its lease is another's, who has stored a newer
// token: it neither puts its own in that one's place nor ends his lease.
func TestLateHolderChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := session.NewMemory(session.MemoryConfig{})
		c := w.instances(1, store)[0]
		w.Fail(wechattest.StableToken, 1, wechattest.Delay(2*time.Second))
		var late sync.WaitGroup
		late.Go(func() { w.mustFollowBy(c) })
		synctest.Wait()
		_, held, err := store.Take(t.Context(), leaseKey)
		if err != nil || !held {
			t.Fatalf("a lease: %v, error %v", held, err)
		}
		for key, value := range map[string]string{leaseKey: "another", tokenKey: `{"v":"newer"}`} {
			if err := store.Put(t.Context(), key, []byte(value), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		late.Wait()
		for key, want := range map[string]string{leaseKey: "another", tokenKey: `{"v":"newer"}`} {
			if got, _, err := store.Get(t.Context(), key); string(got) != want || err != nil {
				t.Errorf("%s is %s, error %v", key, got, err)
			}
		}
	})
}

// broken is a store that fails.
type broken struct{ wechat.Shared }

func (broken) Get(context.Context, string) ([]byte, bool, error) {
	return nil, false, errors.New("the store is gone")
}

func (broken) Add(context.Context, string, []byte, time.Duration) (bool, error) {
	return false, errors.New("the store is gone")
}

// Without the store an instance fetches for itself, as often as it would alone.
func TestTokenWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clients := w.instances(3, broken{})
		for range 60 {
			w.all(clients)
			time.Sleep(time.Second)
		}
		wantCount(t, w.Server, wechattest.StableToken, 3)
		if !strings.Contains(w.log.String(), "the store is gone") {
			t.Error("nothing in the log")
		}
	})
}

// What lies in the store opens with the secret alone.
func TestTokenLiesSealed(t *testing.T) {
	w := newWorld(t)
	keys, err := session.NewKeys("0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	store := session.NewMemory(session.MemoryConfig{})
	sealed := session.NewSealed(store, keys, session.TypeCredential)
	clients := w.instances(2, sealed)
	w.all(clients)
	wantCount(t, w.Server, wechattest.StableToken, 1)
	token, err := clients[0].Token(t.Context(), shop())
	if err != nil {
		t.Fatal(err)
	}
	raw, found, err := store.Get(t.Context(), tokenKey)
	if err != nil || !found || bytes.Contains(raw, []byte(token.Value)) {
		t.Errorf("found %v: %s, error %v", found, raw, err)
	}
}
