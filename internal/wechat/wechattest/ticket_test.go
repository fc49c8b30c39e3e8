package wechattest_test

import (
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func (p *platform) pageTicket(token string, changes ...string) reply {
	p.Helper()
	return p.get(wechattest.PageTicket, append([]string{"access_token", token, "type", "jsapi"}, changes...)...)
}

func TestPageTicketStaysUntilItsLastMinutes(t *testing.T) {
	p := start(t)
	token := p.stable(false)
	first := p.pageTicket(token)
	if first["ticket"] == "" || first["expires_in"] != 7200.0 || first["errcode"] != 0.0 {
		t.Fatalf("answer %v", first)
	}
	p.clock.Advance(time.Hour)
	if again := p.pageTicket(token); again["ticket"] != first["ticket"] || again["expires_in"] != 3600.0 {
		t.Errorf("answer %v after %v", again, first)
	}
	p.clock.Advance(55 * time.Minute)
	if next := p.pageTicket(p.stable(false)); next["ticket"] == first["ticket"] || next["expires_in"] != 7200.0 {
		t.Errorf("answer %v after %v", next, first)
	}
}

func TestPageTicketIsStrict(t *testing.T) {
	p := start(t)
	token := p.stable(false)
	wantCode(t, p.pageTicket(token, "type", ""), 40097)
	wantCode(t, p.pageTicket(token, "type", "JSAPI"), 40097)
	wantCode(t, p.pageTicket(""), 41001)
	wantCode(t, p.pageTicket("x"), 40014)
	wantCode(t, p.post(wechattest.PageTicket, "", ""), 43001)
	p.RevokeTokens(shopID)
	wantCode(t, p.pageTicket(token), 40001)
}
