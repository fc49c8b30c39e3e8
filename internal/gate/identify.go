package gate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/session"
)

// Identify finds out who sent the request: token -> session -> current user.
// A known visitor costs one cache lookup. After a technical error v knows
// nobody and Answer fails closed where a login is needed.
func (s *Site) Identify(r *http.Request, v *Visit, level Level) {
	v.level = level
	if v.identified {
		return
	}
	v.identified = true
	v.trace.opens(v)
	s.identify(r, v)
	v.trace.knows(v)
}

func (s *Site) identify(r *http.Request, v *Visit) {
	if v.token == "" {
		return
	}
	key := s.cacheKey(v.token)
	if s.fromCache(r, v, key) {
		s.Metrics.CacheHit()
		return
	}
	sess := v.session()
	if sess == nil || sess.UserID == "" {
		return
	}
	started := time.Now()
	s.resolve(s.numbered(r).Context(), v, key)
	s.Metrics.Identified(time.Since(started))
}

func (s *Site) cacheKey(token string) session.Key {
	var buf [1200]byte
	b := append(buf[:0], s.fingerprint...)
	return sha256.Sum256(append(b, token...))
}

// fromCache serves v from the cache and signs again what is about to expire.
func (s *Site) fromCache(r *http.Request, v *Visit, key session.Key) bool {
	if !s.Watcher.Fresh(v.now, s.cfg.StaleFor) {
		return false
	}
	gen := s.Cache.Generation() // before Get, or what changes in between would be put back
	var buf [2048]byte
	raw, ok := s.Cache.Get(key, buf[:0])
	if !ok {
		return false
	}
	e, ok := decodeEntry(raw)
	now := v.now.Unix()
	if !ok || now >= e.expires || e.dies != 0 && now >= e.dies {
		return false
	}
	if now >= e.refresh {
		sess := v.session()
		if sess == nil || !s.sign(s.numbered(r).Context(), &e, v.now) {
			return false
		}
		s.Cache.Put(key, gen, encodeEntry(&e), e.sid, e.who.id, sess.UserID)
	}
	v.who, v.renew, v.grace = e.who, e.renew, e.dies != 0
	return true
}

// resolve asks the account store, signs, and remembers the answer.
func (s *Site) resolve(ctx context.Context, v *Visit, key session.Key) {
	sess := v.sess
	gen := s.Cache.Generation()
	res, err := s.current(ctx, sess)
	switch {
	case errors.Is(err, account.ErrSessionDead):
		v.ended()
		return
	case err != nil:
		s.storeFailed(ctx, v, "database", "resolving a session", err)
		return
	}
	e, ok := s.tell(ctx, v, sess, res)
	if !ok {
		return
	}
	// The session's own user id too: a guest that is merged later changes whom
	// this session stands for.
	s.Cache.Put(key, gen, encodeEntry(&e), e.sid, e.who.id, sess.UserID)
	v.who, v.renew, v.grace = e.who, e.renew, e.dies != 0
}

// marks are facts about a session that the hot path needs to know.
type marks uint8

const (
	markWeChat    marks = 1 << iota // holds a WeChat identity of this site's official account, or never may
	markMoved                       // the token names another user than the one it stands for
	markNoUnionID                   // a member of whom this site's official account knows no unionid
)

// entry is what the cache keeps of one session on one site.
type entry struct {
	sid                                     string
	expires, renew, refresh, dies           int64
	who                                     identity
	amr, appid, openidClaim, unionid, phone string
}

// tell makes what the shop is told of a session. Where that cannot be had, v has
// failed.
func (s *Site) tell(ctx context.Context, v *Visit, sess *session.Session, res account.Resolved) (entry, bool) {
	e := s.entryOf(sess, res)
	if s.cfg.ClaimPhone && e.who.phone {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		phone, err := s.Accounts.PhoneOf(ctx, e.who.id)
		if err != nil {
			s.storeFailed(ctx, v, "database", "reading a phone", err)
			return e, false
		}
		e.phone = string(phone)
	}
	if !s.sign(ctx, &e, v.now) {
		v.failed = true
		return e, false
	}
	return e, true
}

func (s *Site) entryOf(sess *session.Session, res account.Resolved) entry {
	e := entry{
		sid: sess.ID, expires: sess.ExpiresAt, renew: s.renewAt(sess),
		amr: sess.AMR, appid: sess.AppID,
		who: identity{
			id: res.UserID, kind: string(res.Kind), phone: res.PhoneVerified,
			previous: strings.Join(res.Previous, ","), channel: sess.Channel,
		},
	}
	if !res.DiesAt.IsZero() {
		e.dies = res.DiesAt.Unix()
	}
	if s.holdsWeChat(sess) {
		e.who.marks |= markWeChat
		if res.Kind == account.Member && sess.UnionID == "" {
			e.who.marks |= markNoUnionID
		}
	}
	if !sess.SignedOut { // else nothing recognises him, his openid neither
		s.tellOpenID(&e, sess)
	}
	if sess.SignedOut || sess.Snapshot || sess.HandedOver {
		e.who.marks |= markWeChat
	}
	if res.UserID != sess.UserID || string(res.Kind) != sess.Kind {
		e.who.marks |= markMoved
	}
	if res.Kind == account.Member && sess.Kind != kindMember {
		e.amr = amrWeChat // a guest's session follows to a member by its unionid alone
	}
	return e
}

// tellOpenID lets the shop know what WeChat has told for this session, as far
// as it was asked for.
func (s *Site) tellOpenID(e *entry, sess *session.Session) {
	if s.cfg.Headers.OpenID != "" && !sess.Snapshot && (s.holdsWeChat(sess) || s.provedInApp(sess)) {
		e.who.openid = sess.OpenID
	}
	if s.cfg.ClaimOpenID {
		e.openidClaim = sess.OpenID
	}
	if s.cfg.ClaimUnionID && sess.UnionID != sess.OpenID { // else it only stands in for one
		e.unionid = sess.UnionID
	}
}

// holdsWeChat says whether WeChat has told us, for this session, who the
// visitor is in this site's official account.
func (s *Site) holdsWeChat(sess *session.Session) bool {
	return sess.OpenID != "" && sess.AppID == s.cfg.OfficialAccount.AppID
}

// renewAt is when the sliding expiry of sess is due: after a thirtieth of its
// life, a day by default.
func (s *Site) renewAt(sess *session.Session) int64 {
	if sess.Snapshot {
		return sess.ExpiresAt
	}
	return max(sess.IssuedAt, sess.RenewedAt) + int64(s.cfg.CookieMaxAge/time.Second)/30
}

// sign makes the assertion of e. It fails only when no key can be used.
func (s *Site) sign(ctx context.Context, e *entry, now time.Time) bool {
	c := assertion.Claims{
		Subject: e.who.id, Kind: e.who.kind, PhoneVerified: e.who.phone,
		Channel: e.who.channel, AppID: e.appid, OpenID: e.openidClaim, UnionID: e.unionid, Phone: e.phone,
	}
	if e.who.previous != "" {
		c.Previous = strings.Split(e.who.previous, ",")
	}
	if e.amr != "" {
		c.AMR = []string{e.amr}
	}
	signed, err := s.Signer.Sign(c, now)
	if err != nil {
		s.Log.ErrorContext(ctx, "signing an assertion", "error", err)
		return false
	}
	e.who.assertion, e.refresh = signed.Token, signed.RefreshAt.Unix()
	return true
}

func (s *Site) storeFailed(ctx context.Context, v *Visit, store, doing string, err error) {
	v.failed = true
	v.trace.because(doing + " failed, so nothing is given out")
	s.Metrics.StoreError(store)
	s.Log.ErrorContext(ctx, doing, "store", store, "error", err)
}

// The encoding of an entry: four times, two bytes, then strings with their
// lengths. Decoding allocates once.

func encodeEntry(e *entry) []byte {
	b := make([]byte, 0, 256+len(e.who.assertion))
	for _, t := range [...]int64{e.expires, e.renew, e.refresh, e.dies} {
		b = binary.LittleEndian.AppendUint64(b, uint64(t))
	}
	phone := byte(0)
	if e.who.phone {
		phone = 1
	}
	b = append(b, byte(e.who.marks), phone)
	for _, f := range e.strings() {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(*f)))
		b = append(b, *f...)
	}
	return b
}

func decodeEntry(raw []byte) (e entry, ok bool) {
	const fixed = 4*8 + 2
	if len(raw) < fixed {
		return e, false
	}
	for i, t := range [...]*int64{&e.expires, &e.renew, &e.refresh, &e.dies} {
		*t = int64(binary.LittleEndian.Uint64(raw[i*8:]))
	}
	e.who.marks, e.who.phone = marks(raw[32]), raw[33] == 1
	all := string(raw[fixed:])
	for _, f := range e.strings() {
		if len(all) < 2 {
			return e, false
		}
		n := int(all[0]) | int(all[1])<<8
		if len(all) < 2+n {
			return e, false
		}
		*f, all = all[2:2+n], all[2+n:]
	}
	return e, true
}

func (e *entry) strings() [12]*string {
	return [...]*string{
		&e.sid, &e.who.id, &e.who.kind, &e.who.previous, &e.who.openid, &e.who.channel,
		&e.who.assertion, &e.amr, &e.appid, &e.openidClaim, &e.unionid, &e.phone,
	}
}
