package gate

import "net/http"

// lacksUnionID says whether WeChat, asked for a consent, may tell the unionid of
// a member who has none here, such as an imported one.
func (s *Site) lacksUnionID(v *Visit) bool {
	return v.who.marks&markNoUnionID != 0 && !v.grace && !v.failed && !v.viaHeader && s.canConsent(v)
}

// wantsUnionID says whether such a member is to be asked now: once a day.
func (s *Site) wantsUnionID(v *Visit) bool {
	if !s.lacksUnionID(v) {
		return false
	}
	sess := v.session()
	return sess != nil && v.now.Unix()-sess.AskedAt >= consentPause
}

// unionIDPage asks a member for a consent, and remembers that he was asked:
// 'not now' leads on.
func (s *Site) unionIDPage(w http.ResponseWriter, r *http.Request, v *Visit, back string) {
	if !s.wantsUnionID(v) {
		s.redirect(w, back)
		return
	}
	next := *v.session()
	next.AskedAt = v.now.Unix()
	s.give(v, &next)
	s.deliver(w, v)
	s.writePage(w, r, page{Status: http.StatusOK, Key: "unionid", Actions: []action{
		{Key: "bind_wechat", Primary: true, Href: s.loginURL(back, "") + "&go=wechat"},
		{Key: "not_now", Href: back},
	}})
}
