package wechat_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// The example of WeChat's guide to the JS-SDK.
func TestPageSignatureOfTheGuide(t *testing.T) {
	const ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
	s := wechat.PageSignature{Timestamp: 1414587457, NonceStr: "Wm3WZYTPz0wzccnW"}
	if got := s.Sign(ticket, "http://mp.weixin.qq.com?params=value"); got != "0f9de62fce790f9a083d5c99e95740ceb90c27ed" {
		t.Errorf("signature %s", got)
	}
}

// mustSign signs a page and lets the platform check it.
func (w *world) mustSign(c *wechat.Client, page string) {
	w.Helper()
	s, err := c.SignPage(w.Context(), shop(), page)
	if err != nil {
		w.Error(err)
		return
	}
	if !w.AcceptsPage(page, wechattest.Signed{
		AppID: shopID, NonceStr: s.NonceStr, Timestamp: strconv.FormatInt(s.Timestamp, 10), Signature: s.Signature,
	}) {
		w.Errorf("wx.config refuses %+v on %s", s, page)
	}
}

func TestPagesAreSigned(t *testing.T) {
	w := newWorld(t)
	for _, page := range []string{
		"https://shop.example/", "https://shop.example/goods?id=1&from=timeline", "https://shop.example/goods#/cart?id=1",
		"http://shop.example/%E5%95%86%E5%93%81?q=%E7%BA%A2%20a+b",
	} {
		w.mustSign(w.client, page)
	}
	wantCount(t, w.Server, wechattest.PageTicket, 1)
	for _, page := range []string{"", "/goods", "shop.example", "javascript:alert(1)", "https://shop.example/%zz"} {
		if _, err := w.client.SignPage(t.Context(), shop(), page); !errors.Is(err, wechat.ErrPageURL) {
			t.Errorf("%q: error %v", page, err)
		}
	}
}

func TestInstancesShareOneTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clients := w.instances(5, session.NewMemory(session.MemoryConfig{}))
		for range 5 {
			var all sync.WaitGroup
			for _, c := range clients {
				all.Go(func() { w.mustSign(c, "https://shop.example/") })
			}
			all.Wait()
			time.Sleep(time.Minute)
		}
		wantCount(t, w.Server, wechattest.PageTicket, 1)
		wantCount(t, w.Server, wechattest.StableToken, 1)
	})
}

// A day of signatures: none is made with a ticket that is over.
func TestTicketIsRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 24 * 60 {
			w.mustSign(w.client, "https://shop.example/")
			time.Sleep(time.Minute)
		}
		if n := w.Count(wechattest.PageTicket); n < 12 || n > 8*12 {
			t.Errorf("%d tickets in 12 lives", n)
		}
	})
}

func TestTicketHealsItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustFollow()
		time.Sleep(time.Minute)
		w.RevokeTokens(shopID)
		w.mustSign(w.client, "https://shop.example/")
		wantCount(t, w.Server, wechattest.StableToken, 2)
	})
}

func TestTicketThatWeChatRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		fault wechattest.Fault
		want  error
	}{
		"not an official account": {wechattest.ErrCode(48001), wechat.ErrScope},
		"the quota of a day":      {wechattest.ErrCode(45009), wechat.ErrBusy},
		"no ticket":               {wechattest.Fault{Set: map[string]any{"ticket": ""}}, wechat.ErrUnavailable},
		"no life":                 {wechattest.Fault{Set: map[string]any{"expires_in": 0}}, wechat.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Fail(wechattest.PageTicket, 1, tt.fault)
			_, err := w.client.SignPage(t.Context(), shop(), "https://shop.example/")
			wantError(t, err, tt.want)
		})
	}
}
