// Package session seals session tokens, reads and writes their cookies, keeps
// what is short-lived in a Store, and caches resolved sessions in memory.
package session

import "cmp"

// Session is what a session token holds. It is sealed, so a visitor can
// neither read nor change it. Times are Unix seconds.
type Session struct {
	ID     string `json:"i"`           // 128 random bits; changes at every rise of level
	Root   string `json:"l,omitempty"` // the ID that this line of sessions began with; empty: this one
	UserID string `json:"u,omitempty"` // empty: nobody, as with guests off
	Kind   string `json:"k,omitempty"` // "guest" or "member", empty for nobody
	Born   int64  `json:"b,omitempty"` // birth of a guest

	IssuedAt  int64 `json:"t"` // first sealing of this ID
	RenewedAt int64 `json:"r,omitempty"`
	ExpiresAt int64 `json:"e"`

	Channel string `json:"c,omitempty"` // h5, mini_program, website, mobile_app, browser
	AMR     string `json:"m,omitempty"` // wechat, sms, wechat_phone, upstream

	// The identity WeChat proved for this session.
	AppID   string `json:"a,omitempty"`
	OpenID  string `json:"o,omitempty"`
	UnionID string `json:"n,omitempty"`

	SignedOut   bool  `json:"s,omitempty"` // logged out: no silent identification until 'log in' is tapped
	Snapshot    bool  `json:"p,omitempty"` // WeChat's snapshot page: stored nowhere, cookie without Max-Age
	ConsentedAt int64 `json:"g,omitempty"` // a consent brought no unionid at this time
	AskedAt     int64 `json:"q,omitempty"` // a member without a unionid was asked for a consent at this time

	// HandedOver: a mini program has handed its session to the browser in its
	// web-view, so what WeChat proved it has proved elsewhere.
	HandedOver bool   `json:"h,omitempty"`
	Left       string `json:"w,omitempty"` // the guest that this browser was before that
	LeftBorn   int64  `json:"v,omitempty"`
}

// Line names a session through its rotations, so that what is bound to it
// outlives them.
func (s *Session) Line() string { return cmp.Or(s.Root, s.ID) }
