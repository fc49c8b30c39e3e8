package wechat_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// A wrong secret is asked about once, not once per visitor, and the log says
// once what to do.
func TestConfigurationErrorStopsCalls(t *testing.T) {
	for _, code := range []int{40001, 40013, 40125, 40164, 40243, 48004, 61004, 89503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.ErrCode(code))
				for range 50 {
					_, err := w.exchange("c0de")
					wantError(t, err, wechat.ErrConfig)
					if e := (*wechat.Error)(nil); !errors.As(err, &e) || !e.Logged() {
						t.Fatalf("%v: every caller would log it again", err)
					}
				}
				wantCount(t, w.Server, wechattest.ExchangeCode, 1)
				lines := w.log.lines()
				if len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") ||
					!strings.Contains(lines[0], fmt.Sprintf("errcode=%d", code)) || !strings.Contains(lines[0], "appid="+shopID) {
					t.Errorf("log:\n%s", w.log)
				}
				if strings.Contains(w.log.String(), "does not say why") {
					t.Errorf("the log does not say what to do:\n%s", w.log)
				}
			})
		})
	}
}

// The pause grows from one minute to ten, with one call each time.
func TestPauseGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.ErrCode(40125))
		start := time.Now()
		var tries []string
		for seen := 0; time.Since(start) < 40*time.Minute; time.Sleep(time.Second) {
			w.exchange("c0de")
			if now := w.Count(wechattest.ExchangeCode); now != seen {
				seen = now
				tries = append(tries, time.Since(start).String())
			}
		}
		if got := strings.Join(tries, " "); got != "0s 1m0s 3m0s 7m0s 15m0s 25m0s 35m0s" {
			t.Errorf("calls at %s", got)
		}
		if lines := w.log.lines(); len(lines) != len(tries) {
			t.Errorf("%d log lines:\n%s", len(lines), w.log)
		}
	})
}

// When a pause is over one visitor tries it, not all at once.
func TestOneCallTriesAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(40125))
		w.exchange("c0de")
		time.Sleep(time.Minute)
		w.Fail(wechattest.ExchangeCode, 1, wechattest.Delay(time.Second))
		good := w.code("li", wechat.ScopeBase)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { w.exchange(good) })
		}
		all.Wait()
		wantCount(t, w.Server, wechattest.ExchangeCode, 2)
		if lines := w.log.lines(); len(lines) != 2 || !strings.Contains(lines[1], "accepts calls again") {
			t.Errorf("log:\n%s", w.log)
		}
		w.grant("li", wechat.ScopeBase) // all is well again
		w.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(40125))
		w.exchange("c0de")
		time.Sleep(time.Minute) // and the next pause starts small
		w.grant("li", wechat.ScopeBase)
	})
}

// A try whose answer is lost says nothing: the pause goes on, and the next
// visitor tries a moment later.
func TestLostTryKeepsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(40125))
		w.exchange("c0de")
		time.Sleep(time.Minute)
		w.Fail(wechattest.ExchangeCode, 1, wechattest.BadGateway())
		_, err := w.exchange("c0de")
		wantError(t, err, wechat.ErrUnavailable)
		_, err = w.exchange("c0de")
		wantError(t, err, wechat.ErrConfig)
		time.Sleep(5 * time.Second)
		_, err = w.exchange("c0de") // answered 40029: the secret is right again
		wantError(t, err, wechat.ErrCode)
		w.grant("li", wechat.ScopeBase)
		wantCount(t, w.Server, wechattest.ExchangeCode, 4)
	})
}

// Calls that were under way together make one pause and one line.
func TestParallelRefusalsPauseOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.Fault{ErrCode: 40125, Delay: time.Second})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { w.exchange("c0de") })
		}
		all.Wait()
		if lines := w.log.lines(); len(lines) != 1 {
			t.Errorf("log:\n%s", w.log)
		}
		w.Heal(wechattest.ExchangeCode)
		time.Sleep(time.Minute)
		w.grant("li", wechat.ScopeBase) // one minute, not doubled twenty times
	})
}

// The IP whitelist guards the server's token. The login does not need that
// token, and other apps have lists of their own.
func TestRefusedTokenDoesNotStopTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(wechattest.StableToken, 1, wechattest.Fault{
			Body: `{"errcode":40164,"errmsg":"invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 652d44d0-1d0af18b-5b069232"}`,
		})
		for range 10 {
			_, _, err := w.follower("wang")
			wantError(t, err, wechat.ErrConfig)
		}
		wantCount(t, w.Server, wechattest.StableToken, 1)
		for _, want := range []string{"caller_ip=203.0.113.9", "IP whitelist", "rid=652d44d0-1d0af18b-5b069232", "next_try_in=1m0s"} {
			if !strings.Contains(w.log.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, w.log)
			}
		}
		w.grant("wang", wechat.ScopeBase)
		if _, subscribed, err := w.client.Follower(t.Context(), other(), w.OpenID("wang", otherID)); err != nil || !subscribed {
			t.Errorf("another app: subscribed %v, error %v", subscribed, err)
		}
	})
}

// A used-up quota is like a wrong configuration; a minute limit passes within
// the minute, and is never called into in a tight loop.
func TestLimitsBackOff(t *testing.T) {
	for code, want := range map[int]string{
		45009: "0s 1m0s 3m0s 7m0s",
		45011: "0s 5s 15s 35s 1m15s 2m15s 3m15s 4m15s 5m15s 6m15s 7m15s",
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.ErrCode(code))
				start := time.Now()
				var tries []string
				for seen := 0; time.Since(start) < 8*time.Minute; time.Sleep(time.Second) {
					_, err := w.exchange("c0de")
					wantError(t, err, wechat.ErrBusy)
					if now := w.Count(wechattest.ExchangeCode); now != seen {
						seen = now
						tries = append(tries, time.Since(start).String())
					}
				}
				if got := strings.Join(tries, " "); got != want {
					t.Errorf("calls at %s, want %s", got, want)
				}
			})
		})
	}
}
