package gate

import (
	"context"
	"errors"

	"github.com/wxgate/wxgate/internal/wechat"
)

// told is what WeChat has said of the visitor of an authorization.
type told struct {
	OpenID   string `json:"o,omitempty"`
	UnionID  string `json:"u,omitempty"`
	Phone    string `json:"t,omitempty"` // account.Phone would be masked where it is kept
	Snapshot bool   `json:"p,omitempty"` // of a snapshot page: nothing of it is true
	// Unheard: WeChat was asked for the unionid and gave no answer, so that he
	// has none is not known.
	Unheard bool `json:"h,omitempty"`
	Failed  code `json:"f,omitempty"` // what went wrong; empty: nothing
}

// told asks WeChat by the code, or finds what it has told the callback host.
func (s *Site) told(ctx context.Context, in callbackInput, p pending) told {
	if p.Via != "" {
		return s.takeTicket(ctx, in)
	}
	return s.spend(ctx, in.code, p)
}

// spend exchanges a code at WeChat.
func (s *Site) spend(ctx context.Context, code string, p pending) told {
	if wechat.Refused(code) {
		return told{Failed: codeRefused}
	}
	grant, err := s.WeChat.ExchangeCode(ctx, s.app(p.Scope), code)
	switch {
	case errors.Is(err, wechat.ErrCode):
		return told{Failed: codeInvalid}
	case errors.Is(err, wechat.ErrBlocked):
		return told{Failed: codeWeChatBlocked}
	case err != nil:
		s.logWeChat(ctx, "exchanging a code", err)
		return told{Failed: codeWeChatBusy}
	case grant.Snapshot:
		return told{Snapshot: true}
	}
	unheard := s.learnUnionID(ctx, &grant, p)
	return told{OpenID: grant.OpenID, UnionID: grant.UnionID, Unheard: unheard}
}

// learnUnionID asks WeChat once more when the token answer had no unionid:
// after a consent the user's data may name it, and a follower's is known to
// the server. It is an extra, so what goes wrong here is no failure yet: unheard
// says that a consent was given and nothing was heard of the unionid.
func (s *Site) learnUnionID(ctx context.Context, grant *wechat.Grant, p pending) (unheard bool) {
	if grant.UnionID != "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if p.tapped() {
		grant.UnionID, unheard = s.profileUnionID(ctx, s.app(p.Scope), *grant)
		return unheard
	}
	key := "nounionid:" + s.cfg.OfficialAccount.AppID + ":" + grant.OpenID
	if _, asked, _ := s.logins.Get(ctx, key); asked { // whether he was is no reason to lose him
		return false
	}
	unionID, _, err := s.WeChat.Follower(ctx, s.cfg.OfficialAccount, grant.OpenID)
	if err != nil {
		s.logWeChat(ctx, "reading a follower", err)
		return false
	}
	grant.UnionID = unionID
	if unionID == "" {
		if err := s.logins.Put(ctx, key, []byte{1}, followerPause); err != nil {
			s.Metrics.StoreError("session")
		}
	}
	return false
}

// profileUnionID asks for the data of a user who has consented.
func (s *Site) profileUnionID(ctx context.Context, app wechat.App, grant wechat.Grant) (unionID string, unheard bool) {
	info, err := s.WeChat.UserInfo(ctx, app, grant)
	if err != nil {
		s.logWeChat(ctx, "reading the user's data", err)
		return "", !errors.Is(err, wechat.ErrScope)
	}
	return info.UnionID, false
}

// logWeChat logs a failed call, unless the client has said it once for all
// visitors.
func (s *Site) logWeChat(ctx context.Context, doing string, err error) {
	if e := (*wechat.Error)(nil); errors.As(err, &e) && e.Logged() {
		return
	}
	s.Log.WarnContext(ctx, doing, "error", err)
}

// followerPause is how long WeChat is not asked again about a visitor of whom
// it knew no unionid. Nearly every visitor leaves such a mark, and a bounded
// Store drops first what expires first: marks that outlive states would fill it
// and leave no room for a login under way.
const followerPause = stateLife
