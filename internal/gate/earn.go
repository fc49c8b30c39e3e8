package gate

import (
	"context"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// earned is what a visitor has just proved, and what Link made of it.
type earned struct {
	account.Outcome
	proved  account.Input
	channel string
	amr     string // how a member has proved that he is the one
	risen   bool   // the same user has proved more than before: his phone
}

// succeed makes the session that takes the place of the visitor's, and lets
// the answer carry it. Where only more is known of the same user it goes on
// under its id; else it gets one of its own and the old one ends. It is nil
// when a store failed, and then the visitor keeps what he has.
func (s *Site) succeed(ctx context.Context, v *Visit, e earned) *session.Session {
	old := v.session()
	next := s.successor(old, e)
	ended := old != nil && next.IssuedAt > old.IssuedAt
	if old != nil && old.UserID == next.UserID && old.Kind == next.Kind && !old.Snapshot && !v.grace && !ended && !e.risen {
		next.ID, next.Root, next.IssuedAt = old.ID, old.Root, old.IssuedAt
	} else if !s.rotate(ctx, v, next) {
		return nil
	}
	s.give(v, next)
	return next
}

// successor keeps where WeChat knows the visitor, unless WeChat has just told
// it anew. Of a session that was handed over it keeps that for the same user
// alone: it was not proved in this browser.
func (s *Site) successor(old *session.Session, e earned) *session.Session {
	next := &session.Session{UserID: e.UserID, Kind: string(e.Kind), Channel: e.channel}
	switch {
	case e.proved.OpenID != "":
		next.AppID, next.OpenID, next.UnionID = e.proved.AppID, e.proved.OpenID, e.UnionID
	case old != nil && old.HandedOver && old.UserID != next.UserID:
	case old != nil && !old.Snapshot:
		next.AppID, next.OpenID, next.UnionID = old.AppID, old.OpenID, old.UnionID
		next.HandedOver, next.Left, next.LeftBorn = old.HandedOver, old.Left, old.LeftBorn
	}
	if old != nil && old.AppID == next.AppID && old.OpenID == next.OpenID {
		next.ConsentedAt, next.AskedAt = old.ConsentedAt, old.AskedAt
	}
	switch e.Kind {
	case account.Guest:
		next.Born = e.Born.Unix()
	case account.Member:
		next.AMR = e.amr
	}
	if !e.SessionsFrom.IsZero() { // a session from before is dead, and this one is new
		next.IssuedAt = e.SessionsFrom.Unix()
	}
	if old != nil && old.UserID == next.UserID {
		next.IssuedAt = max(next.IssuedAt, old.IssuedAt)
	}
	return next
}
