package gate

import (
	"context"
	"slices"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// A session_key opens what WeChat encrypts on the phone of a user of a mini
// program. Each new login code may replace it, while data under the one before
// is on its way, so the newest two are kept, sealed. Who has none left logs in
// once more. They are kept for days, and a full Store of one instance gives up the
// oldest of them before a login under way.
const (
	keysKept    = 2
	keysKeptFor = 3 * 24 * time.Hour
)

// miniUser is somebody in a mini program.
type miniUser struct{ appID, openID string }

func (s *Site) sessionKeysKey(u miniUser) string {
	return "sessionkey:" + s.Accounts.Hide(u.appID+" "+u.openID)
}

// keepSessionKey puts a key in front of those that are known. Without it the
// login is good all the same.
func (s *Site) keepSessionKey(ctx context.Context, u miniUser, key wechat.SessionKey) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	keys, err := s.sessionKeys(ctx, u)
	if err == nil {
		keys = slices.DeleteFunc(keys, func(old string) bool { return old == string(key) })
		keys = append([]string{string(key)}, keys[:min(len(keys), keysKept-1)]...)
		err = s.Store.Put(ctx, s.sessionKeysKey(u), s.sealRecord(session.TypeSessionKey, keys), keysKeptFor)
	}
	if err != nil {
		s.sharedFailed(ctx, "session", err) // not in the Local store, where an old key would hide a newer one
	}
}

// sessionKeys returns those that are kept of a user, the newest first.
func (s *Site) sessionKeys(ctx context.Context, u miniUser) (keys []string, err error) {
	sealed, found, err := s.Store.Get(ctx, s.sessionKeysKey(u))
	if err != nil || !found {
		return nil, err
	}
	if !s.openRecord(session.TypeSessionKey, sealed, &keys) {
		return nil, nil // as good as lost
	}
	return keys, nil
}

// withSessionKeys tries the keys of the visitor until one fits.
func (s *Site) withSessionKeys(ctx context.Context, v *Visit, fits func(wechat.SessionKey) bool) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sess := v.session()
	keys, err := s.sessionKeys(ctx, miniUser{sess.AppID, sess.OpenID})
	if err != nil {
		s.storeFailed(ctx, v, "session", "reading a session_key", err)
		return err
	}
	for _, key := range keys {
		if fits(wechat.SessionKey(key)) {
			break
		}
	}
	return nil
}
