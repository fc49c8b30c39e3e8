package gate

import (
	"context"
	"errors"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// For some seconds an instance may not have heard that a session was ended on
// another one. Pages are served with it on, but nothing may come of it that
// outlives its end: no session with another id, no phone or WeChat account that
// is added or taken away. So before any of that the account store itself is
// asked whether the session still stands.

// confirm makes a visitor nobody whose session was ended, whatever the cache
// says. It is false when the store failed.
func (s *Site) confirm(ctx context.Context, v *Visit) bool {
	v.failed = false
	sess := v.session()
	if sess == nil {
		return true
	}
	res, err := s.current(ctx, sess)
	switch {
	case errors.Is(err, account.ErrSessionDead):
		s.Cache.Invalidate(sess.ID)
		v.ended()
	case err != nil:
		s.storeFailed(ctx, v, "database", "resolving a session", err)
		return false
	default:
		v.grace = !res.DiesAt.IsZero()
	}
	return true
}

// live says whether the visitor has a session that was neither ended nor rotated
// away.
func (s *Site) live(ctx context.Context, v *Visit) bool {
	return s.confirm(ctx, v) && v.session() != nil && !v.grace
}

// ended forgets a session that was ended: its visitor is nobody.
func (v *Visit) ended() {
	v.trace.because("the session was ended: by a logout, by an operator, or with its user")
	v.sess, v.token, v.who = nil, "", identity{}
}

// current asks who a session stands for now, and which ids were merged into
// him.
func (s *Site) current(ctx context.Context, sess *session.Session) (account.Resolved, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.Accounts.Resolve(ctx, sessionRef(sess))
}

// sessionRef is a session as the account store asks for it.
func sessionRef(sess *session.Session) account.SessionRef {
	return account.SessionRef{
		ID: sess.ID, UserID: sess.UserID, Kind: account.Kind(sess.Kind),
		AppID: sess.AppID, OpenID: sess.OpenID, UnionID: sess.UnionID, IssuedAt: time.Unix(sess.IssuedAt, 0),
	}
}
