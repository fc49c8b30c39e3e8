package wechat_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// mustFollow asks about wang, who follows the shop.
func (w *world) mustFollow() {
	w.Helper()
	unionID, subscribed, err := w.follower("wang")
	if err != nil || !subscribed || unionID != w.UnionID("wang", shopID) {
		w.Fatalf("unionid %q, subscribed %v, error %v", unionID, subscribed, err)
	}
}

func TestFollower(t *testing.T) {
	w := newWorld(t)
	w.mustFollow()
	if unionID, subscribed, err := w.follower("li"); err != nil || subscribed || unionID != "" {
		t.Errorf("a stranger: unionid %q, subscribed %v, error %v", unionID, subscribed, err)
	}
	w.Fail(wechattest.Follower, 1, wechattest.Fault{Set: map[string]any{"unionid": w.UnionID("li", shopID), "subscribe": "0"}})
	if unionID, subscribed, err := w.follower("li"); err != nil || subscribed || unionID != w.UnionID("li", shopID) {
		t.Errorf("a stranger with a unionid: %q, subscribed %v, error %v", unionID, subscribed, err)
	}
	w.SetApp(wechattest.App{ID: shopID, Secret: secret})
	if unionID, subscribed, err := w.follower("wang"); err != nil || !subscribed || unionID != "" {
		t.Errorf("an unbound account: unionid %q, subscribed %v, error %v", unionID, subscribed, err)
	}
	_, _, err := w.client.Follower(t.Context(), shop(), w.OpenID("wang", otherID))
	wantError(t, err, wechat.ErrUnavailable) // an openid of another app
	before := w.Count(wechattest.Follower)
	_, _, err = w.client.Follower(t.Context(), shop(), "o1&openid=o2")
	wantError(t, err, wechat.ErrUnavailable)
	wantCount(t, w.Server, wechattest.Follower, before)
}

// Parallel first calls fetch one token, and every app has its own.
func TestTokenIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.StableToken, 1, wechattest.Delay(time.Second))
		var all sync.WaitGroup
		for range 20 {
			all.Go(w.mustFollow)
		}
		all.Wait()
		wantCount(t, w.Server, wechattest.StableToken, 1)
		if _, _, err := w.client.Follower(t.Context(), other(), w.OpenID("wang", otherID)); err != nil {
			t.Error(err)
		}
		wantCount(t, w.Server, wechattest.StableToken, 2)
	})
}

// One who gives up waiting for a token does not take it from the others.
func TestTokenFetchOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.StableToken, 1, wechattest.Delay(2*time.Second))
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := w.client.Follower(first, shop(), w.OpenID("wang", shopID)); !errors.Is(err, wechat.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		all.Go(w.mustFollow)
		all.Wait()
		wantCount(t, w.Server, wechattest.StableToken, 1)
	})
}

// For a day a visitor comes every ten seconds: no call meets a dead token,
// tokens are fetched about once per life, and never by the endpoint that kills
// another system's token or by force.
func TestTokenIsRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const days = 1
		for range days * 24 * 360 {
			w.mustFollow()
			time.Sleep(10 * time.Second)
		}
		lives := days * 12
		if n := w.Count(wechattest.StableToken); n < lives || n > 8*lives {
			t.Errorf("%d token fetches in %d lives", n, lives)
		}
		wantCount(t, w.Server, wechattest.Follower, days*24*360)
		wantCount(t, w.Server, wechattest.PlainToken, 0)
	})
}

// The token is taken for what is left of it, however little: a platform that
// hands out one with five minutes left is asked again before they are over.
func TestShortTokenIsNotKeptLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.StableToken, 1, wechattest.Fault{Set: map[string]any{"expires_in": "300"}})
		w.mustFollow()
		time.Sleep(300 * time.Second)
		w.mustFollow()
		wantCount(t, w.Server, wechattest.StableToken, 2)
	})
}

// A token that is due is used while the next one is fetched, so that a slow
// platform slows nobody down; a fetch that fails is tried again only later.
func TestRenewalRunsBesideCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustFollow()
		time.Sleep(6950 * time.Second) // due, and 250 s left
		w.Fail(wechattest.StableToken, wechattest.Forever, wechattest.Hang())
		start := time.Now()
		w.mustFollow()
		if took := time.Since(start); took != 0 {
			t.Errorf("the call took %v", took)
		}
		for range 60 {
			w.mustFollow()
			time.Sleep(time.Second)
		}
		if n := w.Count(wechattest.StableToken); n < 4 || n > 6 { // 5 s each, 10 s apart
			t.Errorf("%d token fetches in a minute", n)
		}
	})
}

// Somebody else has forced a new token: the call heals itself, once.
func TestDeadTokenIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustFollow()
		time.Sleep(time.Minute)
		w.RevokeTokens(shopID)
		w.mustFollow()
		wantCount(t, w.Server, wechattest.StableToken, 2)
		wantCount(t, w.Server, wechattest.Follower, 3)
	})
}

// Many calls meet the dead token at once: one fetch heals them all.
func TestDeadTokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustFollow()
		time.Sleep(time.Minute)
		w.RevokeTokens(shopID)
		w.Fail(wechattest.Follower, 20, wechattest.Fault{Delay: time.Second, ErrCode: 42001})
		var all sync.WaitGroup
		for range 20 {
			all.Go(w.mustFollow)
		}
		all.Wait()
		wantCount(t, w.Server, wechattest.StableToken, 2)
		wantCount(t, w.Server, wechattest.Follower, 41)
	})
}

// A platform that refuses every token is not asked for tokens in a loop.
func TestTokenThatNeverWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustFollow()
		time.Sleep(time.Minute)
		w.Fail(wechattest.Follower, wechattest.Forever, wechattest.ErrCode(40001))
		start := time.Now()
		for time.Since(start) < time.Minute {
			_, _, err := w.follower("wang")
			wantError(t, err, wechat.ErrToken)
			time.Sleep(time.Second)
		}
		if n := w.Count(wechattest.StableToken); n > 1+7 {
			t.Errorf("%d token fetches in a minute", n)
		}
	})
}

// force_refresh is sent, and false: the endpoint refuses calls without it, and
// forcing kills the token of every other system.
func TestTokenIsNeverForced(t *testing.T) {
	w := newWorld(t)
	w.mustFollow()
	first := slices.IndexFunc(w.Requests(), func(r wechattest.Request) bool { return r.API == wechattest.StableToken })
	if first < 0 || w.Requests()[first].Forced {
		t.Errorf("request %d is forced or missing", first)
	}
}

func TestTokenAnswersThatAreNone(t *testing.T) {
	for name, fault := range map[string]wechattest.Fault{
		"no token":         {Set: map[string]any{"access_token": ""}},
		"no life":          {Set: map[string]any{"expires_in": 0}},
		"life is missing":  {Set: map[string]any{"expires_in": nil}},
		"life is a word":   {Set: map[string]any{"expires_in": "soon"}},
		"an HTML page":     wechattest.HTMLPage(),
		"JSON breaks off":  wechattest.WrongJSON(),
		"a huge answer":    wechattest.HugeBody(),
		"the body is gone": wechattest.EmptyBody(),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Fail(wechattest.StableToken, 1, fault)
			_, _, err := w.follower("wang")
			wantError(t, err, wechat.ErrUnavailable)
			wantCount(t, w.Server, wechattest.Follower, 0)
			w.mustFollow()
		})
	}
}

// A busy platform is asked again for what is only read.
func TestBusyPlatformDuringReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.StableToken, 2, wechattest.ErrCode(-1))
		w.Fail(wechattest.Follower, 2, wechattest.ErrCode(-1))
		w.mustFollow()
		wantCount(t, w.Server, wechattest.StableToken, 3)
		wantCount(t, w.Server, wechattest.Follower, 3)
	})
}
