package gate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/wxgate/wxgate/internal/account"
)

// forMember answers those who cannot use a page or an endpoint of a member's
// own account. A login leads on to back.
func (s *Site) forMember(w http.ResponseWriter, r *http.Request, v *Visit, back string) (answered bool) {
	switch {
	case v.failed:
		s.writeProblem(w, r, newProblem(codeUnavailable))
	case isPrefetch(r):
		s.writeProblem(w, r, newProblem(codeLoginRequired))
	case isNavigation(r) && s.toExternal(w, r, v):
	case v.Method == http.MethodPost && !s.confirm(r.Context(), v):
		s.writeProblem(w, r, newProblem(codeUnavailable))
	case v.who.member() && !v.grace:
		return false
	case wantsPage(r):
		s.redirect(w, s.loginURL(back, ""))
	case v.session() == nil:
		s.writeProblem(w, r, s.sessionEnded(v))
	default:
		s.writeProblem(w, r, s.loginNeeded(v))
	}
	return true
}

// self reads what a member is shown of himself.
func (s *Site) self(ctx context.Context, v *Visit) (account.Self, bool) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	me, err := s.Accounts.Self(ctx, v.who.id)
	if err != nil {
		s.storeFailed(ctx, v, "database", "reading a person's own data", err)
	}
	return me, err == nil
}

// canBind says whether a tap here would add a WeChat account to a member's.
func (s *Site) canBind(v *Visit, me account.Self) bool {
	if !s.canConsent(v) && !s.canScan(v) && !s.canBindInApp(v) {
		return false
	}
	if s.cfg.Account.Linking == account.ManyUnionIDs {
		return true
	}
	for _, i := range me.Identities {
		if i.UnionID != "" && !i.StandIn {
			return false
		}
	}
	return true
}

// canBindInApp says whether the visitor is in a mobile app that can ask WeChat.
func (s *Site) canBindInApp(v *Visit) bool {
	return v.viaHeader && v.who.channel == channelMobile && len(s.cfg.MobileApps) > 0
}

// appsOf are the apps in which WeChat knows a member.
func appsOf(me account.Self) (appIDs []string) {
	for _, i := range me.Identities {
		if !slices.Contains(appIDs, i.AppID) {
			appIDs = append(appIDs, i.AppID)
		}
	}
	return appIDs
}

// weChatsOf are the apps by which a member's WeChat accounts are named, one for
// each account.
func weChatsOf(me account.Self) (appIDs []string) {
	seen := map[string]bool{}
	for _, i := range me.Identities {
		key := i.UnionID
		if key == "" {
			key = i.AppID + "\n" + i.OpenID
		}
		if !seen[key] {
			seen[key] = true
			appIDs = append(appIDs, i.AppID)
		}
	}
	return appIDs
}

// accountPage shows a member what is kept of him, and what he can do about it.
func (s *Site) accountPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	back := s.returnTo(v.Sent.Query().Get("return_to"))
	if s.forMember(w, r, v, s.ownURL("/account", back, "")) {
		return
	}
	me, ok := s.self(r.Context(), v)
	if !ok {
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	p := page{Status: http.StatusOK, Key: "account", Facts: s.factsOf(me.Summary)}
	p.Actions = append(p.Actions, action{Key: "go_on", Href: back, Primary: true})
	switch {
	case s.SMS == nil:
	case me.Phone == "":
		p.Actions = append(p.Actions, action{Key: "verify_phone", Href: s.phoneURL(back, "")})
	default:
		p.Actions = append(p.Actions, action{Key: "change_phone", Href: s.changeURL(back, "")})
	}
	if s.canBind(v, me) {
		p.Actions = append(p.Actions, action{Key: "add_wechat", Href: s.bindURL(back, "")})
	}
	for _, appID := range weChatsOf(me) {
		p.Actions = append(p.Actions, action{Key: "unbind", Href: s.ownURL("/unbind", back, "") + "&appid=" + url.QueryEscape(appID)})
	}
	if s.canMerge(v) {
		p.Actions = append(p.Actions, action{Key: "two_accounts", Href: s.mergeURL(back, "")})
	}
	p.Actions = append(p.Actions, action{Key: "log_out", Href: s.ownURL("/logout", back, ""), Post: true},
		action{Key: "cancel_account", Href: s.ownURL("/account/cancel", back, "")})
	s.writePage(w, r, p)
}

// factsOf tells a person who an account is, without telling it to whoever looks
// over his shoulder.
func (s *Site) factsOf(who account.Summary) []fact {
	id := []rune(who.ID)
	facts := []fact{{"user_id", "••••" + string(id[max(0, len(id)-4):])}}
	if who.Phone != "" {
		facts = append(facts, fact{"phone", who.Phone})
	}
	return append(facts, fact{"created", day(who.Created)}, fact{"last_seen", day(who.LastSeen)})
}

// day is a date where most of the shops' customers are, in China.
func day(t time.Time) string { return t.In(time.FixedZone("", 8*60*60)).Format(time.DateOnly) }

// unbindPage says what happens when a WeChat account is unbound.
func (s *Site) unbindPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	back := s.returnTo(q.Get("return_to"))
	if q.Get("code") == "done" {
		s.writePage(w, r, donePage("unbound", s.loginURL(back, "")))
		return
	}
	here := s.ownURL("/unbind", back, "") + "&appid=" + url.QueryEscape(q.Get("appid"))
	if s.forMember(w, r, v, here) {
		return
	}
	s.writePage(w, r, page{Status: http.StatusOK, Key: "unbind", Actions: []action{
		{Key: "keep_wechat", Href: back, Primary: true}, {Key: "unbind", Href: here, Post: true},
	}})
}

// unbind takes a WeChat account from the member (O1). All his sessions end.
func (s *Site) unbind(w http.ResponseWriter, r *http.Request, v *Visit) {
	back := s.returnTo(v.Sent.Query().Get("return_to"))
	if s.forMember(w, r, v, back) {
		return
	}
	in, ok := readFields(r, v)
	if !ok || in.AppID == "" {
		s.writeProblem(w, r, newProblem(codeMalformed))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 2*storeTimeout)
	defer cancel()
	named := account.Unbinding{UserID: v.who.id, AppID: in.AppID}
	out, err := s.Accounts.Unbind(ctx, named)
	if sess := v.session(); errors.Is(err, account.ErrSeveralIdentities) && sess != nil && sess.AppID == in.AppID {
		named.OpenID = sess.OpenID // the one he is here with
		out, err = s.Accounts.Unbind(ctx, named)
	}
	switch {
	case errors.Is(err, account.ErrUnknownIdentity), errors.Is(err, account.ErrSeveralIdentities):
		s.writeProblem(w, r, newProblem(codeNotFound))
	case errors.Is(err, account.ErrUnknownUser), errors.Is(err, account.ErrUserCancelled):
		s.writeProblem(w, r, s.loginNeeded(v))
	case err != nil:
		s.storeFailed(ctx, v, "database", "unbinding a WeChat account", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
	case out.Code == account.CodeLastCredential && wantsPage(r):
		s.writePage(w, r, s.lastCredentialPage(back))
	case out.Code != account.CodeOK:
		s.writeProblem(w, r, newProblem(code(out.Code)))
	default:
		s.gone(w, r, v, s.ownURL("/unbind", back, "done"))
	}
}

// lastCredentialPage says why the last way into an account stays.
func (s *Site) lastCredentialPage(back string) page {
	p := newProblem(code(account.CodeLastCredential)).page()
	if s.SMS != nil {
		p.Actions = append(p.Actions, action{Key: "verify_phone", Href: s.phoneURL(back, ""), Primary: true})
	}
	p.Actions = append(p.Actions, action{Key: "keep_wechat", Href: back})
	return *p
}

// cancelPage says what happens when an account is cancelled.
func (s *Site) cancelPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	back := s.returnTo(q.Get("return_to"))
	if q.Get("code") == "done" {
		s.writePage(w, r, donePage("cancelled", "/"))
		return
	}
	here := s.ownURL("/account/cancel", back, "")
	if s.forMember(w, r, v, here) {
		return
	}
	s.writePage(w, r, page{Status: http.StatusOK, Key: "cancel", Actions: []action{
		{Key: "keep_account", Href: back, Primary: true}, {Key: "cancel_account", Href: here, Post: true},
	}})
}

// cancelAccount cancels the member's account (O2).
func (s *Site) cancelAccount(w http.ResponseWriter, r *http.Request, v *Visit) {
	back := s.returnTo(v.Sent.Query().Get("return_to"))
	if s.forMember(w, r, v, back) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	if _, err := s.Accounts.Cancel(ctx, account.Cancelling{UserID: v.who.id}); err != nil {
		s.storeFailed(ctx, v, "database", "cancelling an account", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	s.gone(w, r, v, s.ownURL("/account/cancel", back, "done"))
}

// gone answers who has just ended all his sessions, this one among them: he is
// a guest whom nothing recognises until he wants to.
func (s *Site) gone(w http.ResponseWriter, r *http.Request, v *Visit, to string) {
	h := w.Header()
	ours(h)
	s.allowOrigin(h, r)
	s.deliverToken(w, v, s.seal(v, s.signedOut(r.Context(), v)), true)
	if wantsPage(r) {
		s.redirectAfterPost(w, to)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func donePage(key, to string) page {
	return page{Status: http.StatusOK, Key: key, Actions: []action{{Key: "go_on", Href: to, Primary: true}}}
}

// fields are what a request to an endpoint of the member's own account says: a
// script in its body, a form of ours, which has none, in the query.
type fields struct {
	AppID string `json:"appid"`
}

func readFields(r *http.Request, v *Visit) (f fields, ok bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) > 0 && json.Unmarshal(body, &f) != nil {
		return f, false
	}
	if len(body) == 0 {
		f.AppID = v.Sent.Query().Get("appid")
	}
	return f, true
}
