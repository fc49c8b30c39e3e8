package gate

import (
	"context"
	"net/http"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// mayMint says whether this request may be answered with a new guest.
func (s *Site) mayMint(r *http.Request, v *Visit, navigation bool) bool {
	if why := s.mintsNot(r, v, navigation); why != "" {
		v.trace.because("no guest id is given: " + why)
		return false
	}
	return s.mintAllowed(r.Context(), v)
}

// mintsNot says why a request may not be answered with a new guest, empty if it
// may. One that carried something of ours may not while a store is failing, for
// its owner may be a member; nor may it on a fetch, since the next navigation
// will do.
func (s *Site) mintsNot(r *http.Request, v *Visit, navigation bool) (why string) {
	sess := v.session()
	switch {
	case s.cfg.Account.GuestsOff:
		return "guests are off"
	case v.failed:
		return "a store has failed, and he may be a member"
	case v.viaHeader:
		return "his session came in a header, and apps ask for theirs"
	case v.agent().bot:
		return "the User-Agent is a crawler's"
	case !mayMint(r):
		return "the request may be another site's, or for a picture or a form, whose answer would replace an id that he has"
	case sess != nil && sess.UserID == "" && sess.OpenID != "":
		return "WeChat knows him, and when it told so guests were off"
	case v.carried && !navigation:
		return "he carried a session that is of no use, and the next page he opens will do"
	case v.carried && !s.Watcher.Healthy(v.now):
		return "he carried a session, and it cannot be said whether it was ended"
	}
	return ""
}

// mintAllowed counts one new guest against the limit of his address block.
func (s *Site) mintAllowed(ctx context.Context, v *Visit) bool {
	ok, _, err := s.mintLimit(ctx, v)
	return ok && err == nil
}

// mintLimit is mintAllowed for whoever can be told to come back.
func (s *Site) mintLimit(ctx context.Context, v *Visit) (ok bool, wait time.Duration, err error) {
	ok, wait, err = s.countAddress(ctx, v, "mint")
	if err != nil {
		s.storeFailed(ctx, v, "limit", "counting new guests", err)
	} else if !ok {
		v.trace.because("no guest id is given: too many have come from his block of addresses (mint_limit)")
	}
	return ok, wait, err
}

// mint makes the visitor a guest: an id in a sealed token, no row anywhere.
func (s *Site) mint(ctx context.Context, v *Visit) {
	next := s.newGuest(ctx, v)
	if next == nil {
		return
	}
	v.trace.mints()
	s.give(v, next)
	s.become(ctx, v, account.Resolved{UserID: next.UserID, Kind: account.Guest})
}

// newGuest is a session of a guest nobody has seen before, or nil when ids
// cannot be had.
func (s *Site) newGuest(ctx context.Context, v *Visit) *session.Session {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	id, err := s.Accounts.NewGuestID(ctx)
	if err != nil {
		s.storeFailed(ctx, v, "database", "taking a guest id", err)
		return nil
	}
	return &session.Session{
		ID: session.NewID(), UserID: id, Kind: kindGuest, Born: v.now.Unix(),
		IssuedAt: v.now.Unix(), Channel: v.channel(),
	}
}
