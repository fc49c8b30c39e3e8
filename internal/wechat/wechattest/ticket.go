package wechattest

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// pageTicket is the jsapi_ticket of an official account.
type pageTicket struct {
	value   string
	expires time.Time
}

// pageTicketOf answers getticket. A ticket stays the same until the last five
// minutes of its life. Unlike a token's, this answer says errcode 0 at success.
func (s *Server) pageTicketOf(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	appID, refused := s.checkServerToken(r)
	switch {
	case refused != nil:
		return refused
	case r.param("type") != "jsapi":
		return fail(40097, "invalid args")
	case !s.apps[appID].mayAsk(scopeBase):
		return fail(48001, "api unauthorized") // not an official account
	}
	now := s.now()
	t, found := s.tickets[appID]
	if !found || t.expires.Sub(now) <= overlap {
		t = pageTicket{value: "sM4AOVdWfPE4DxkXGEs8V" + randomText(65), expires: now.Add(serverLife)}
		s.tickets[appID] = t
	}
	return answer{"errcode": 0, "errmsg": "ok", "ticket": t.value, "expires_in": int(t.expires.Sub(now) / time.Second)}
}

// Signed is what a page gives wx.config.
type Signed struct {
	AppID, NonceStr, Timestamp, Signature string
}

// AcceptsPage says whether wx.config accepts a signature on the page of this
// URL, as the browser shows it.
func (s *Server) AcceptsPage(page string, in Signed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, found := s.tickets[in.AppID]
	page, _, _ = strings.Cut(page, "#")
	sum := sha1.Sum([]byte("jsapi_ticket=" + t.value + "&noncestr=" + in.NonceStr + "&timestamp=" + in.Timestamp + "&url=" + page))
	return found && s.now().Before(t.expires) && in.Signature == hex.EncodeToString(sum[:])
}
