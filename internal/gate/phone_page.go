package gate

import (
	"net/http"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// phonePage is where a phone is proved: to log in, to give a member his first
// one, or to change it.
func (s *Site) phonePage(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	back, change := s.returnTo(q.Get("return_to")), q.Get("change") == "1"
	sess := v.session()
	switch {
	case s.SMS == nil && (change || len(s.cfg.MiniPrograms) == 0):
		s.writeProblem(w, r, newProblem(codeNotFound))
	case isNavigation(r) && s.toExternal(w, r, v):
	case isPrefetch(r):
		s.writeProblem(w, r, s.loginNeeded(v))
	case v.failed:
		s.writeProblem(w, r, newProblem(codeUnavailable))
	case sess != nil && sess.Snapshot:
		s.writePage(w, r, s.loginPage(v, back, ""))
	case v.handedOver():
		s.writePage(w, r, handedOverPage(back))
	case phoneRefusal(q.Get("code")) != "":
		s.writePage(w, r, s.phoneRefused(v, back, phoneRefusal(q.Get("code"))))
	case change && !v.who.member():
		s.redirect(w, s.loginURL(s.changeURL(back, ""), ""))
	case change:
		s.changePage(w, r, v, back)
	case v.who.member() && v.who.phone && !v.grace:
		s.redirect(w, back)
	case s.SMS == nil:
		s.writePage(w, r, s.miniPhonePage(v, back))
	case sess == nil && !wantsPage(r) && !mayMint(r): // a program, or a script of another site
		s.writeProblem(w, r, s.loginNeeded(v))
	case !s.haveSession(r, v):
		s.writePage(w, r, *newProblem(codeUnavailable).page(
			action{Key: "try_again", Href: s.phoneURL(back, ""), Primary: true}, action{Key: "keep_browsing", Href: "/"}))
	default:
		s.deliver(w, v)
		s.writePage(w, r, s.phoneForm(v, back))
	}
}

// phoneForm asks for a number and for the code that was sent to it.
func (s *Site) phoneForm(v *Visit, back string) page {
	p := page{Status: http.StatusOK, Key: "phone_login", Form: &form{
		Submit: "log_in", AskPhone: true, Next: back, Refused: s.phoneURL(back, "") + "&code=", Purpose: purposeLogin,
	}}
	switch {
	case v.who.member():
		p.Key, p.Form.Submit = "phone_bind", "confirm"
	case s.canConsent(v):
		p.Actions = append(p.Actions, action{Key: "log_in_wechat", Href: s.loginURL(back, "") + "&go=wechat"})
	case s.canScan(v):
		p.Actions = append(p.Actions, action{Key: "log_in_scan", Href: s.loginURL(back, "") + "&go=scan"})
	case !v.agent().wechat && s.cfg.OfficialAccount.AppID != "":
		p.Key, p.Detail = "phone_login_elsewhere", s.absolute(back)
	}
	p.Actions = append(p.Actions, leave(v))
	return p
}

// miniPhonePage sends people to where their phone can be verified, in a shop
// that sends no codes.
func (s *Site) miniPhonePage(v *Visit, back string) page {
	return page{Status: http.StatusOK, Key: "phone_in_mini_program", Code: code(account.CodePhoneRequired), Actions: []action{
		{Key: "go_on", Href: back, Primary: true}, leave(v),
	}}
}

// leave is the way on for whoever would rather not. A member is not told that he
// goes on without a login.
func leave(v *Visit) action {
	if v.who.member() {
		return action{Key: "not_now", Href: "/"}
	}
	return action{Key: "keep_browsing", Href: "/"}
}

// haveSession makes sure that the visitor has the session that a code needs.
func (s *Site) haveSession(r *http.Request, v *Visit) bool {
	switch {
	case v.session() != nil:
		return true
	case v.viaHeader, v.agent().bot, !mayMint(r), v.carried && !s.Watcher.Healthy(v.now), !s.mintAllowed(r.Context(), v):
		return false
	}
	next := &session.Session{ID: session.NewID(), IssuedAt: v.now.Unix(), Channel: v.channel()}
	if !s.cfg.Account.GuestsOff {
		if next = s.newGuest(r.Context(), v); next == nil {
			return false
		}
	}
	s.give(v, next)
	return true
}

// deliver lets an answer of ours carry the session that the visitor got in this
// request, if he got one.
func (s *Site) deliver(w http.ResponseWriter, v *Visit) {
	if v.issue != nil {
		s.deliverToken(w, v, s.tokenOf(v.issue), !v.issue.Snapshot)
	}
}

func (s *Site) deliverToken(w http.ResponseWriter, v *Visit, token string, lasting bool) {
	if v.viaHeader {
		w.Header().Set(sessionHeader, token)
		return
	}
	http.SetCookie(w, s.cookies.Session(token, lasting))
}

// phoneRefusal is the refusal that a page explains; empty for anything else.
func phoneRefusal(raw string) account.Code {
	switch c := account.Code(raw); c {
	case account.CodePhoneBoundToOtherWeChat, account.CodePhoneOwnedByOtherUser, account.CodeSecondProofRequired,
		account.CodePhoneChangeNeedsFlow, account.CodeUserIDBoundToOtherWeChat, account.CodeWeChatBoundToOtherUser,
		account.CodeUnionIDChanged, account.CodeOpenIDChanged, account.CodeRepairConflict:
		return c
	}
	return ""
}

// phoneRefused says what a refusal means and what the visitor can do.
func (s *Site) phoneRefused(v *Visit, back string, c account.Code) page {
	p := page{Status: http.StatusOK, Key: string(c), Code: code(c)}
	if c == account.CodePhoneBoundToOtherWeChat || c == account.CodeUserIDBoundToOtherWeChat {
		p.Detail = s.origin() + s.cfg.Prefix + "/account" // where the other WeChat can be unbound
	}
	switch {
	case c == account.CodePhoneChangeNeedsFlow:
		p.Actions = append(p.Actions, action{Key: "change_phone", Href: s.changeURL(back, ""), Primary: true})
	case c == account.CodeSecondProofRequired && s.canConsent(v):
		p.Actions = append(p.Actions, action{Key: "log_in_wechat", Href: s.loginURL(back, "") + "&go=wechat", Primary: true})
	case c == account.CodePhoneOwnedByOtherUser && v.who.member() && s.canMerge(v):
		p.Actions = append(p.Actions, action{Key: "two_accounts", Href: s.mergeURL(back, ""), Primary: true},
			action{Key: "other_phone", Href: s.phoneURL(back, "")})
	case c == account.CodeWeChatBoundToOtherUser:
		p.Actions = append(p.Actions, s.mergeActions(v, back)...)
	case c == account.CodePhoneBoundToOtherWeChat, c == account.CodePhoneOwnedByOtherUser, c == account.CodeSecondProofRequired:
		p.Actions = append(p.Actions, action{Key: "other_phone", Href: s.phoneURL(back, ""), Primary: true})
	}
	p.Actions = append(p.Actions, leave(v))
	return p
}
