package wechattest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	pagesPrefix   = "/connect/"
	authorizePath = pagesPrefix + "oauth2/authorize"
	confirmPath   = pagesPrefix + "oauth2/confirm" // our own: the two buttons

	scopeBase     = "snsapi_base"
	scopeUserInfo = "snsapi_userinfo"
	scopeLogin    = "snsapi_login"

	// pendingLife bounds how long a consent page can be answered.
	pendingLife = time.Hour
)

// authorizeQuery is the order and case that the platform insists on.
var authorizeQuery = regexp.MustCompile(`^appid=([^&]*)&redirect_uri=([^&]*)&response_type=([^&]*)&scope=([^&]*)&state=([^&]*)` +
	`((?:&(?:forcePopup|forceSnapShot|connect_redirect)=[^&]*)*)$`)

var stateFormat = regexp.MustCompile(`^[a-zA-Z0-9]{1,128}$`)

// authorization is an authorize request that was in order.
type authorization struct {
	person      string
	appID       string
	redirectURI string
	scope       string
	state       string
	forcePopup  bool
	created     time.Time
}

// refusedPage is an error page of the platform; the browser stays on it.
type refusedPage struct {
	ErrCode int
	Text    string
}

func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.counts[Authorize]++
	auth, refused := s.readAuthorize(r)
	s.note(Request{
		Time: s.now(), API: Authorize, Method: r.Method, Query: r.URL.Query(),
		Person: auth.person, ErrCode: refused.ErrCode,
	})
	var person Person
	var ask bool
	if refused.Text == "" {
		person = *s.person(auth.person)
		ask = s.mustAsk(auth, person)
	}
	s.mu.Unlock()

	switch {
	case refused.Text != "":
		s.writePage(w, "refused", refused)
	case !ask || person.Consent == Accept:
		s.finish(w, r, auth, true)
	case person.Consent == Refuse:
		s.finish(w, r, auth, false)
	default:
		s.askConsent(w, auth)
	}
}

// readAuthorize checks an authorize request as strictly as the platform. The
// caller holds mu.
func (s *Server) readAuthorize(r *http.Request) (authorization, refusedPage) {
	if !s.anyBrowser && !inWeChat(r.UserAgent()) {
		return authorization{}, refusedPage{Text: "请在微信客户端打开链接"}
	}
	m := authorizeQuery.FindStringSubmatch(r.URL.RawQuery)
	if m == nil {
		return authorization{}, refusedPage{Text: "参数错误：参数的名称、大小写或顺序不对"}
	}
	auth := authorization{
		appID: unescape(m[1]), redirectURI: unescape(m[2]), scope: unescape(m[4]), state: unescape(m[5]),
		forcePopup: strings.Contains(m[6], "&forcePopup=true"),
		created:    s.now(),
	}
	refused := s.refuseAuthorize(auth, m[2], m[3])
	switch {
	case refused.Text != "":
		return auth, refused
	case s.apps[auth.appID].Website:
		return auth, refusedPage{10016, "不支持的 AppID，请使用公众号的 AppID"}
	case !stateFormat.MatchString(auth.state):
		return auth, refusedPage{Text: "state 参数错误"}
	}
	person := s.browserPerson(r)
	if person == nil {
		return auth, refusedPage{Text: "没有人在使用这台手机"}
	}
	auth.person = person.Name
	return auth, refusedPage{}
}

// refuseAuthorize returns the error page of a request that is not in order.
func (s *Server) refuseAuthorize(auth authorization, rawRedirect, responseType string) refusedPage {
	a := s.apps[auth.appID]
	redirect, err := url.Parse(auth.redirectURI)
	switch {
	case auth.appID == "":
		return refusedPage{10012, "appid 不能为空"}
	case a == nil:
		return refusedPage{40013, "AppID 参数错误"}
	case auth.redirectURI == "":
		return refusedPage{10011, "redirect_uri 不能为空"}
	case strings.ContainsAny(rawRedirect, ":/?"):
		return refusedPage{Text: "redirect_uri 参数错误：没有编码"}
	case err != nil, redirect.Scheme != "http" && redirect.Scheme != "https":
		return refusedPage{Text: "redirect_uri 参数错误"}
	case !slices.Contains(a.Domains, redirect.Hostname()):
		return refusedPage{10003, "redirect_uri 域名与后台配置不一致"}
	case responseType != "code":
		return refusedPage{Text: "response_type 参数错误"}
	case auth.scope == "":
		return refusedPage{10010, "scope 不能为空"}
	case !a.mayAsk(auth.scope):
		return refusedPage{10005, "该公众号没有这些 scope 的权限"}
	case auth.state == "":
		return refusedPage{10013, "state 不能为空"}
	}
	return refusedPage{}
}

// mustAsk says whether the platform asks the person for consent. The caller
// holds mu.
func (s *Server) mustAsk(auth authorization, p Person) bool {
	switch {
	case auth.scope == scopeBase:
		return false
	case p.Snapshot != SnapshotOff: // the popup is suppressed
		return false
	case p.Follower && p.FromMenu:
		return false
	case auth.forcePopup:
		return true
	}
	return !s.consents[consentKey{p.Name, auth.appID}]
}

// askConsent shows the page with the two buttons.
func (s *Server) askConsent(w http.ResponseWriter, auth authorization) {
	ticket := randomText(32)
	s.mu.Lock()
	for t, old := range s.pending {
		if s.now().Sub(old.created) > pendingLife {
			delete(s.pending, t)
		}
	}
	s.pending[ticket] = auth
	s.mu.Unlock()
	s.writePage(w, "consent", struct{ Ticket, AppID, Action string }{ticket, auth.appID, confirmPath})
}

// serveConfirm takes the answer of the consent page.
func (s *Server) serveConfirm(w http.ResponseWriter, r *http.Request) {
	ticket := r.PostFormValue("ticket")
	s.mu.Lock()
	auth, found := s.pending[ticket]
	delete(s.pending, ticket)
	known := found && s.person(auth.person) != nil
	s.mu.Unlock()
	if !known {
		s.writePage(w, "refused", refusedPage{Text: "授权页面已失效"})
		return
	}
	s.finish(w, r, auth, r.PostFormValue("decision") == "accept")
}

// finish ends an authorization: to the callback, or not at all.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, auth authorization, consented bool) {
	s.mu.Lock()
	person := *s.person(auth.person)
	query := url.Values{"state": {auth.state}}
	switch {
	case consented:
		if auth.scope == scopeUserInfo && person.Snapshot == SnapshotOff { // a scan is confirmed each time
			s.consents[consentKey{auth.person, auth.appID}] = true
		}
		query.Set("code", s.issueCode(auth, person))
	case person.Refusal == Authdeny:
		query.Set("code", "authdeny")
	}
	s.mu.Unlock()

	if !consented && person.Refusal == NoRedirect {
		s.writePage(w, "refused", refusedPage{Text: "你已拒绝授权"})
		return
	}
	if !s.pause(r.Context(), person.CallbackDelay) {
		return
	}
	callback := withQuery(auth.redirectURI, query)
	if consented && person.DoubledCallback {
		s.background.Go(func() { s.fetchCallback(callback) })
	}
	w.Header().Set("Location", callback)
	w.WriteHeader(http.StatusFound)
}

// fetchCallback requests a callback URL a second time, as prefetching clients
// and proxies do. Its outcome concerns nobody.
func (s *Server) fetchCallback(callback string) {
	r, err := http.NewRequest(http.MethodGet, callback, nil)
	if err != nil {
		return
	}
	r.Header.Set("User-Agent", AndroidUserAgent)
	r.Header.Set("Accept", navigationAcceptText)
	if resp, err := s.client.Do(r); err == nil {
		resp.Body.Close()
	}
}

// withQuery appends code and state, in this order, before any fragment.
func withQuery(redirectURI string, query url.Values) string {
	base, fragment, hasFragment := strings.Cut(redirectURI, "#")
	separator := "?"
	if strings.Contains(base, "?") {
		separator = "&"
	}
	base += separator + query.Encode() // sorted: code before state
	if hasFragment {
		base += "#" + fragment
	}
	return base
}

// unescape decodes a query value; a broken one is empty.
func unescape(raw string) string {
	value, err := url.QueryUnescape(raw)
	if err != nil {
		return ""
	}
	return value
}
