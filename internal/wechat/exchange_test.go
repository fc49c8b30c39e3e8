package wechat_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// WeChat tells the unionid when it likes: not with snsapi_base, sometimes
// with snsapi_base, with snsapi_userinfo if the account is bound.
func TestUnionIDIsOptional(t *testing.T) {
	w := newWorld(t)
	if g := w.grant("li", wechat.ScopeBase); g.UnionID != "" || g.OpenID != w.OpenID("li", shopID) {
		t.Errorf("snsapi_base: unionid %q, openid %q", g.UnionID, g.OpenID)
	}
	if g := w.grant("li", wechat.ScopeUserInfo); g.UnionID != w.UnionID("li", shopID) {
		t.Errorf("snsapi_userinfo: unionid %q", g.UnionID)
	}
	w.SetApp(wechattest.App{ID: shopID, Secret: secret, Domains: []string{"shop.example"}, OpenPlatform: "shop", BaseUnionID: true})
	if g := w.grant("li", wechat.ScopeBase); g.UnionID != w.UnionID("li", shopID) {
		t.Errorf("snsapi_base after a consent: unionid %q", g.UnionID)
	}
	w.SetApp(wechattest.App{ID: shopID, Secret: secret, Domains: []string{"shop.example"}})
	if g := w.grant("li", wechat.ScopeUserInfo); g.UnionID != "" {
		t.Errorf("unbound account: unionid %q", g.UnionID)
	}
}

// Taking a snapshot page's ids for a person makes ghost accounts, and can hit
// a real one.
func TestSnapshotUserIsMarked(t *testing.T) {
	for name, tt := range map[string]struct {
		mode wechattest.Snapshot
		set  map[string]any
		want bool
	}{
		"an ordinary page":       {wechattest.SnapshotOff, nil, false},
		"a snapshot page":        {wechattest.SnapshotOn, nil, true},
		"with a real openid":     {wechattest.SnapshotRealID, nil, true},
		"marked by a string":     {wechattest.SnapshotOff, map[string]any{"is_snapshotuser": "1"}, true},
		"marked by true":         {wechattest.SnapshotOff, map[string]any{"is_snapshotuser": true}, true},
		"marked in another way":  {wechattest.SnapshotOff, map[string]any{"is_snapshotuser": map[string]int{"page": 1}}, true},
		"unmarked by a number":   {wechattest.SnapshotOff, map[string]any{"is_snapshotuser": 0}, false},
		"unmarked by a string":   {wechattest.SnapshotOff, map[string]any{"is_snapshotuser": "0"}, false},
		"unmarked by nothing":    {wechattest.SnapshotOff, map[string]any{"is_snapshotuser": ""}, false},
		"the mark is not thrown": {wechattest.SnapshotUnflagged, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.AddPerson(wechattest.Person{Name: "li", Consent: wechattest.Accept, Snapshot: tt.mode})
			if tt.set != nil {
				w.Fail(wechattest.ExchangeCode, 1, wechattest.Fault{Set: tt.set})
			}
			if g := w.grant("li", wechat.ScopeUserInfo); g.Snapshot != tt.want {
				t.Errorf("snapshot %v, want %v", g.Snapshot, tt.want)
			}
		})
	}
}

// Grants without a profile are not asked about: WeChat would answer 48001.
func TestProfileNeedsAGrantOfUserInfo(t *testing.T) {
	w := newWorld(t)
	w.AddPerson(wechattest.Person{Name: "zhao", Snapshot: wechattest.SnapshotRealID})
	for name, g := range map[string]wechat.Grant{
		"snsapi_base": w.grant("li", wechat.ScopeBase),
		"snapshot":    w.grant("zhao", wechat.ScopeUserInfo),
	} {
		if _, err := w.client.UserInfo(t.Context(), shop(), g); !errors.Is(err, wechat.ErrScope) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	wantCount(t, w.Server, wechattest.UserInfo, 0)

	w.AddPerson(wechattest.Person{Name: "qian", Snapshot: wechattest.SnapshotUnflagged})
	_, err := w.client.UserInfo(t.Context(), shop(), w.grant("qian", wechat.ScopeUserInfo))
	wantError(t, err, wechat.ErrScope)
	wantCount(t, w.Server, wechattest.UserInfo, 1)
}

func TestCodesThatDoNotWork(t *testing.T) {
	w := newWorld(t)
	spent := w.code("li", wechat.ScopeBase)
	if _, err := w.exchange(spent); err != nil {
		t.Fatal(err)
	}
	_, err := w.exchange(spent)
	wantError(t, err, wechat.ErrCode)
	_, err = w.client.ExchangeCode(t.Context(), other(), w.code("li", wechat.ScopeBase))
	wantError(t, err, wechat.ErrCode)
	_, err = w.exchange("0unknown")
	wantError(t, err, wechat.ErrCode)
	wantCount(t, w.Server, wechattest.ExchangeCode, 4)
}

// What cannot be a code is not worth a call, and above all no header or query
// of its own.
func TestWhatIsNoCodeIsNotSent(t *testing.T) {
	w := newWorld(t)
	for _, code := range []string{"", "authdeny", "a b", "a&appid=wx9", "a\r\nX: y", "代码", strings.Repeat("a", 513)} {
		_, err := w.exchange(code)
		wantError(t, err, wechat.ErrCode)
	}
	wantCount(t, w.Server, wechattest.ExchangeCode, 0)
	for code, want := range map[string]bool{"": true, "authdeny": true, "061eY9xX08tQu02IH4wX05BjxX0eY9xA": false} {
		if wechat.Refused(code) != want {
			t.Errorf("Refused(%q) is %v", code, !want)
		}
	}
}

// -1 may mean that the code is spent or not: one more try, which either works
// or ends the round.
func TestBusyPlatformDuringExchange(t *testing.T) {
	busy := wechattest.ErrCode(-1)
	busyAfterEffect := wechattest.Fault{ErrCode: -1, Consume: true}
	tests := map[string]struct {
		faults []wechattest.Fault
		want   error
	}{
		"once, and the code is good":  {[]wechattest.Fault{busy}, nil},
		"once, and the code is spent": {[]wechattest.Fault{busyAfterEffect}, wechat.ErrCode},
		"twice":                       {[]wechattest.Fault{busy, busy}, wechat.ErrBusy},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for _, f := range tt.faults {
					w.Fail(wechattest.ExchangeCode, 1, f)
				}
				code := w.code("li", wechat.ScopeBase)
				_, err := w.exchange(code)
				if tt.want != nil {
					wantError(t, err, tt.want)
				} else if err != nil {
					t.Error(err)
				}
				wantCount(t, w.Server, wechattest.ExchangeCode, 2)
			})
		})
	}
}

// A code whose answer never came may be spent: it is not sent again, whatever
// broke.
func TestLostAnswerIsNotAskedForAgain(t *testing.T) {
	for name, fault := range map[string]wechattest.Fault{
		"hangs after the effect": wechattest.HangAfterEffect(),
		"drops after the effect": {Drop: true, Consume: true},
		"hangs before":           wechattest.Hang(),
		"drops before":           {Drop: true},
		"bad gateway after":      {Status: 502, Consume: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.grant("li", wechat.ScopeBase) // a connection may be kept from it
				code := w.code("li", wechat.ScopeBase)
				w.Fail(wechattest.ExchangeCode, 1, fault)
				_, err := w.exchange(code)
				wantError(t, err, wechat.ErrUnavailable)
				time.Sleep(time.Minute)
				wantCount(t, w.Server, wechattest.ExchangeCode, 2)
			})
		})
	}
}

// Two callbacks with one code: the platform lets one through, the other is
// told to start again, and neither tries twice.
func TestParallelExchangesOfOneCode(t *testing.T) {
	w := newWorld(t)
	code := w.code("li", wechat.ScopeBase)
	errs := make([]error, 20)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = w.client.ExchangeCode(context.Background(), shop(), code) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantError(t, err, wechat.ErrCode)
	}
	if won != 1 {
		t.Errorf("%d exchanges of one code succeeded", won)
	}
	wantCount(t, w.Server, wechattest.ExchangeCode, len(errs))
}
