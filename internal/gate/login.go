package gate

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// login is the page between 'this needs a login' and WeChat's consent or its QR
// code.
func (s *Site) login(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	back := s.returnTo(q.Get("return_to"))
	switch {
	case v.who.member() && !v.grace && refusalCode(q.Get("code")) != "":
		s.writePage(w, r, s.refusedPage(v, refusalCode(q.Get("code")), back))
	case v.who.member() && !v.grace && !s.lacksUnionID(v):
		s.redirect(w, back)
	case isNavigation(r) && s.toExternal(w, r, v):
	case isPrefetch(r):
		s.writeProblem(w, r, newProblem(codeLoginRequired))
	case s.promote(r.Context(), v):
		s.deliver(w, v)
		s.redirect(w, back)
	case v.failed:
		s.writeProblem(w, r, newProblem(codeUnavailable))
	default:
		if scope, ok := s.asked(r, v); ok {
			s.askConsent(w, r, v, authorization{scope: scope, returnTo: back})
			return
		}
		switch {
		case v.who.member():
			s.unionIDPage(w, r, v, back)
		case s.onlyPhone(v, q.Get("code")):
			s.redirect(w, s.phoneURL(back, ""))
		default:
			s.writePage(w, r, s.loginPage(v, back, q.Get("code")))
		}
	}
}

// onlyPhone says whether a phone is all that the login page could offer. What
// WeChat has refused is explained there first.
func (s *Site) onlyPhone(v *Visit, code string) bool {
	sess := v.session()
	explained := loginCode(code) != "" && code != string(account.CodePhoneRequired)
	return s.SMS != nil && !s.canConsent(v) && !s.canScan(v) && (sess == nil || !sess.Snapshot) && !explained
}

// bind is the page on which a member adds a WeChat account to his own. He stays
// who he is, whatever WeChat says.
func (s *Site) bind(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	back := s.returnTo(q.Get("return_to"))
	switch {
	case v.failed:
		s.writeProblem(w, r, newProblem(codeUnavailable))
	case isPrefetch(r):
		s.writeProblem(w, r, newProblem(codeLoginRequired))
	case isNavigation(r) && s.toExternal(w, r, v):
	case !v.who.member() || v.grace:
		s.redirect(w, s.loginURL(back, ""))
	case v.handedOver():
		s.writePage(w, r, handedOverPage(back))
	default:
		scope, ok := s.asked(r, v)
		if appid := q.Get("appid"); ok && (appid == "" || appid == s.app(scope).AppID) {
			s.askConsent(w, r, v, authorization{scope: scope, returnTo: back, member: v.who.id})
			return
		}
		s.writePage(w, r, s.bindPage(v, back))
	}
}

// asked is the authorization that a tap on one of our pages asks for. A link of
// another site is no tap: WeChat counts a consent that comes without an
// explanation as misuse.
func (s *Site) asked(r *http.Request, v *Visit) (scope wechat.Scope, ok bool) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return "", false
	}
	switch v.Sent.Query().Get("go") {
	case "wechat":
		return wechat.ScopeUserInfo, s.canConsent(v)
	case "scan":
		return wechat.ScopeLogin, s.canScan(v)
	default:
		return "", false
	}
}

func (s *Site) askConsent(w http.ResponseWriter, r *http.Request, v *Visit, a authorization) {
	a.flow, _ = s.readFlow(v)
	if !s.authorize(r.Context(), w, v, a) {
		s.writeProblem(w, r, newProblem(codeUnavailable))
	}
}

// canConsent says whether a tap can start an authorization: in WeChat's
// browser, and not right after a consent that brought no unionid.
func (s *Site) canConsent(v *Visit) bool {
	return v.inBrowser() && s.cfg.OfficialAccount.AppID != "" && s.mayTell(v)
}

// canScan says whether a tap can show a QR code: on a screen that is not the
// telephone's that is to scan it.
func (s *Site) canScan(v *Visit) bool {
	a := v.agent()
	return !v.viaHeader && !a.wechat && !a.mobile && s.cfg.Website.AppID != "" && s.mayTell(v)
}

// mayTell says whether WeChat, asked once more, may tell more.
func (s *Site) mayTell(v *Visit) bool {
	sess := v.session()
	return sess == nil || !sess.Snapshot && v.now.Unix()-sess.ConsentedAt >= consentPause && !s.lacksPhone(v)
}

// lacksPhone says whether WeChat has told all that a first login needs of it, so
// that a phone is what is missing.
func (s *Site) lacksPhone(v *Visit) bool {
	sess := v.session()
	return s.cfg.Account.FirstLogin == account.FirstLoginWeChatPhone && !v.who.member() &&
		sess != nil && sess.UnionID != "" && s.provedHere(sess)
}

// provedHere says whether WeChat has told us who the visitor is in an app of
// this site, and not in one that handed him over.
func (s *Site) provedHere(sess *session.Session) bool {
	return !sess.HandedOver && (s.holdsWeChat(sess) || s.provedInApp(sess) || sess.OpenID != "" && sess.AppID == s.cfg.Website.AppID)
}

// consentPause is how long a consent that brought no unionid is not asked for
// again, in seconds.
const consentPause = 24 * 60 * 60

// loginCode is an outcome that the login page explains, or nothing.
func loginCode(raw string) code {
	if slices.Contains([]code{codeRefused, codeInvalid, "phone_required", "unionid_missing", "snapshot"}, code(raw)) {
		return code(raw)
	}
	return refusalCode(raw)
}

// refusalCode is a refusal of the linking rules, or nothing.
func refusalCode(raw string) code {
	known := []code{"unionid_changed", "openid_changed", "userid_bound_to_other_wechat", "wechat_bound_to_other_user", "repair_conflict"}
	if slices.Contains(known, code(raw)) {
		return code(raw)
	}
	return ""
}

func (s *Site) loginPage(v *Visit, back, rawCode string) page {
	p := page{Status: http.StatusOK, Code: loginCode(rawCode)}
	sess, here := v.session(), s.loginURL(back, "")
	switch {
	case sess != nil && sess.Snapshot || p.Code == "snapshot":
		p.Key = "login_snapshot"
	case s.canConsent(v):
		p.Key, p.Actions = "login", []action{{Key: "log_in_wechat", Primary: true, Href: here + "&go=wechat"}}
	case s.canScan(v):
		p.Key, p.Actions = "login_scan", []action{{Key: "log_in_scan", Primary: true, Href: here + "&go=scan"}}
	case s.SMS == nil && s.lacksPhone(v):
		return s.miniPhonePage(v, back)
	case s.SMS != nil:
		p.Key = "login_phone"
	case !s.mayTell(v):
		p.Key, p.Code = "login_no_unionid", code(account.CodePhoneRequired) // he is told to name it
	case s.cfg.OfficialAccount.AppID == "" && s.cfg.Website.AppID != "":
		p.Key, p.Detail = "login_on_computer", s.absolute(back)
	default:
		p.Key, p.Detail = "login_elsewhere", s.absolute(back)
	}
	if s.SMS != nil && p.Key != "login_snapshot" {
		p.Actions = append(p.Actions, action{Key: "log_in_phone", Primary: p.Key == "login_phone", Href: s.phoneURL(back, "")})
	}
	p.Actions = append(p.Actions, action{Key: "keep_browsing", Href: "/"})
	return p
}

// refusedPage tells a member who is logged in what his login did not do.
func (s *Site) refusedPage(v *Visit, c code, back string) page {
	p := page{Status: http.StatusOK, Key: "logged_in", Code: c, Actions: []action{{Key: "go_on", Primary: true, Href: back}}}
	if c == code(account.CodeWeChatBoundToOtherUser) {
		p.Actions = append(p.Actions, s.mergeActions(v, back)...)
	}
	return p
}

// mergeActions offer a member to merge two accounts of his, where he can.
func (s *Site) mergeActions(v *Visit, back string) []action {
	if !v.who.member() || !s.canMerge(v) {
		return nil
	}
	return []action{{Key: "two_accounts", Href: s.mergeURL(back, "")}}
}

func (s *Site) bindPage(v *Visit, back string) page {
	q := v.Sent.Query()
	p := page{Status: http.StatusOK, Code: loginCode(q.Get("code"))}
	here := s.bindURL(back, "")
	if appid := q.Get("appid"); appid != "" {
		here += "&appid=" + url.QueryEscape(appid)
	}
	sess, wants := v.session(), q.Get("appid")
	switch {
	case sess != nil && sess.Snapshot || p.Code == "snapshot":
		p.Key = "login_snapshot"
	case s.canConsent(v) && (wants == "" || wants == s.cfg.OfficialAccount.AppID):
		p.Key, p.Actions = "bind", []action{{Key: "bind_wechat", Primary: true, Href: here + "&go=wechat"}}
	case s.canScan(v) && (wants == "" || wants == s.cfg.Website.AppID):
		p.Key, p.Actions = "bind_scan", []action{{Key: "bind_scan", Primary: true, Href: here + "&go=scan"}}
	default:
		p.Key, p.Detail = "bind_elsewhere", s.absolute(back)
	}
	if p.Code == code(account.CodeWeChatBoundToOtherUser) {
		p.Actions = append(p.Actions, s.mergeActions(v, back)...)
	}
	p.Actions = append(p.Actions, action{Key: "not_now", Href: back})
	return p
}

func (s *Site) loginURL(returnTo, code string) string { return s.ownURL("/login", returnTo, code) }

func (s *Site) phoneURL(returnTo, code string) string { return s.ownURL("/phone", returnTo, code) }

func (s *Site) bindURL(returnTo, code string) string { return s.ownURL("/bind", returnTo, code) }

// ownURL is a page of ours that leads on to returnTo.
func (s *Site) ownURL(path, returnTo, code string) string {
	u := s.cfg.Prefix + path + "?return_to=" + url.QueryEscape(returnTo)
	if code != "" {
		u += "&code=" + url.QueryEscape(code)
	}
	return u
}

// absolute is where a return_to leads, to be opened in another browser.
func (s *Site) absolute(returnTo string) string {
	if strings.HasPrefix(returnTo, "/") {
		return s.origin() + returnTo
	}
	return returnTo
}
