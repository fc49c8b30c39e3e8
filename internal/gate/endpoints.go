package gate

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
)

// maxBody bounds the body of a request to one of our endpoints, in bytes.
const maxBody = 64 << 10

type handler func(*Site, http.ResponseWriter, *http.Request, *Visit)

// endpoint is what a path of ours does, by method. GET is HEAD too.
type endpoint struct{ get, post handler }

// methods lists those that the endpoint takes.
func (e endpoint) methods() string {
	switch {
	case e.post == nil:
		return http.MethodGet
	case e.get == nil:
		return http.MethodPost
	}
	return http.MethodGet + ", " + http.MethodPost
}

func (e endpoint) handler(method string) handler {
	switch method {
	case http.MethodGet, http.MethodHead:
		return e.get
	case http.MethodPost:
		return e.post
	}
	return nil
}

// endpointOf finds the endpoint of a path below the prefix.
func endpointOf(path string) (endpoint, bool) {
	switch path {
	case "/login":
		return endpoint{get: (*Site).login}, true
	case silentPath:
		return endpoint{get: (*Site).silent}, true
	case relayPath:
		return endpoint{get: (*Site).relay}, true
	case "/bind":
		return endpoint{get: (*Site).bind}, true
	case "/me":
		return endpoint{get: (*Site).me}, true
	case "/account":
		return endpoint{get: (*Site).accountPage}, true
	case "/account/cancel":
		return endpoint{get: (*Site).cancelPage, post: (*Site).cancelAccount}, true
	case "/unbind":
		return endpoint{get: (*Site).unbindPage, post: (*Site).unbind}, true
	case "/merge":
		return endpoint{get: (*Site).mergePage, post: (*Site).mergeAccounts}, true
	case "/phone":
		return endpoint{get: (*Site).phonePage, post: (*Site).provePhone}, true
	case "/phone/code":
		return endpoint{post: (*Site).sendCode}, true
	case "/mini/login":
		return endpoint{post: (*Site).miniLogin}, true
	case "/mini/phone":
		return endpoint{post: (*Site).miniPhone}, true
	case "/mini/profile":
		return endpoint{post: (*Site).miniProfile}, true
	case "/mini/ticket":
		return endpoint{post: (*Site).miniTicket}, true
	case "/handoff":
		return endpoint{get: (*Site).handoff}, true
	case "/app/session":
		return endpoint{post: (*Site).appSession}, true
	case "/app/login":
		return endpoint{post: (*Site).mobileLogin}, true
	case "/logout":
		return endpoint{post: (*Site).logout}, true
	case "/jwks.json":
		return endpoint{get: (*Site).jwks}, true
	case "/healthz":
		return endpoint{get: (*Site).healthz}, true
	case "/readyz":
		return endpoint{get: (*Site).readyz}, true
	case logoPath:
		return endpoint{get: (*Site).logo}, true
	case scriptPath:
		return endpoint{get: (*Site).script}, true
	}
	if strings.HasPrefix(path, "/callback/") {
		return endpoint{get: (*Site).callback}, true
	}
	return endpoint{}, false
}

// Owns says whether the URL as sent names one of our endpoints, or a file that
// proves whose the domain is.
func (s *Site) Owns(v *Visit) bool {
	rest, ok := strings.CutPrefix(v.Sent.Path, s.cfg.Prefix)
	return ok && (rest == "" || rest[0] == '/') || s.proof(v) != nil
}

// ServeHTTP answers a request to one of our endpoints.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request, v *Visit) {
	if s.explains != nil { // what an endpoint does cannot be undone
		s.Identify(r, v, Public)
		v.trace.because("the path is one of the gateway's own")
		v.trace.ends(verdictEndpoint)
		return
	}
	if proof := s.proof(v); proof != nil {
		writeProof(w, r, proof)
		return
	}
	r = s.numbered(r)
	if s.shadowOf != nil && !forMachines(strings.TrimPrefix(v.Sent.Path, s.cfg.Prefix)) {
		v.level = Public
		s.foretell(r, v, outcomeEndpoint)
		s.writeProblem(w, r, newProblem(codeNotFound))
		return
	}
	if _, err := readPath(v.Sent.EscapedPath()); err != nil {
		s.Malformed(w, r)
		return
	}
	path := strings.TrimPrefix(v.Sent.Path, s.cfg.Prefix)
	e, ok := endpointOf(path)
	if !ok {
		s.writeProblem(w, r, newProblem(codeNotFound))
		return
	}
	if forBearers(path) {
		v.headerOnly()
	}
	serve := e.handler(v.Method)
	switch {
	case r.ContentLength > maxBody:
		w.Header().Set("Connection", "close") // else the server reads on before it answers
		s.writeProblem(w, r, newProblem(codeMalformed))
	case isPreflight(r):
		s.preflight(w, r, e)
	case serve == nil:
		w.Header().Set("Allow", e.methods())
		s.writeProblem(w, r, newProblem(codeMethodNotAllowed))
	case v.Method == http.MethodPost && s.crossSite(r, v):
		s.writeProblem(w, r, newProblem(codeCrossSite))
	case v.Method == http.MethodPost && !isJSON(r) && (r.ContentLength != 0 || forBearers(path)):
		s.writeProblem(w, r, newProblem(codeMalformed))
	default:
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		s.Identify(r, v, Public)
		serve(s, w, r, v)
	}
}

// crossSite refuses what another site's page makes a browser send along with
// its cookie. A session in a header no page can send, nor JSON, without being
// allowed to; and mini programs on computers say cross-site of all they send.
func (s *Site) crossSite(r *http.Request, v *Visit) bool {
	if v.viaHeader {
		return false
	}
	p := http.NewCrossOriginProtection()
	for _, origin := range append([]string{s.origin()}, s.cfg.ReturnOrigins...) {
		if err := p.AddTrustedOrigin(origin); err != nil {
			return true
		}
	}
	return p.Check(r) != nil
}

func isJSON(r *http.Request) bool {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && mt == "application/json"
}

func (s *Site) preflight(w http.ResponseWriter, r *http.Request, e endpoint) {
	h := w.Header()
	s.allowOrigin(h, r)
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", e.methods())
		h.Set("Access-Control-Allow-Headers", "Content-Type, Authorization, "+sessionHeader)
	}
	w.WriteHeader(http.StatusNoContent)
}

// me tells the visitor who he is to us.
func (s *Site) me(w http.ResponseWriter, r *http.Request, v *Visit) {
	if v.failed {
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	if v.viaHeader && v.session() == nil {
		s.writeProblem(w, r, newProblem(codeSessionExpired))
		return
	}
	s.beginJSON(w, r)
	if !v.who.known() {
		writeJSON(w, map[string]string{"kind": kindNobody})
		return
	}
	me := meAnswer{userAnswer: userOf(v.who), Identities: []meIdentity{}}
	if sess := v.session(); sess != nil && sess.OpenID != "" && !sess.Snapshot {
		me.Identities = append(me.Identities, meIdentity{AppID: sess.AppID})
		me.Profile = s.profileOf(r.Context(), v, sess)
	}
	if v.who.member() {
		if self, ok := s.self(r.Context(), v); ok { // else what is known without a database
			me.Phone, me.CanBind, me.Identities = self.Phone, s.canBind(v, self), []meIdentity{}
			for _, appID := range appsOf(self) {
				me.Identities = append(me.Identities, meIdentity{AppID: appID})
			}
		}
	}
	writeJSON(w, me)
}

// userAnswer is who a visitor is.
type userAnswer struct {
	ID            string `json:"id,omitempty"`
	Kind          string `json:"kind"`
	PhoneVerified bool   `json:"phone_verified"`
	Channel       string `json:"channel"`
}

func userOf(who identity) userAnswer {
	return userAnswer{ID: who.id, Kind: who.kind, PhoneVerified: who.phone, Channel: who.channel}
}

// meAnswer is besides what his login is tied to.
type meAnswer struct {
	userAnswer
	Phone      string       `json:"phone,omitempty"` // masked
	Identities []meIdentity `json:"identities"`
	CanBind    bool         `json:"can_bind"` // a WeChat account can be added here

	// Profile is what he has given himself, in this app.
	Profile *profileAnswer `json:"profile,omitempty"`
}

// meIdentity leaves out the openid: a page's script has no use for it.
type meIdentity struct {
	AppID string `json:"appid"`
}

// logout ends the session and makes the browser a signed-out guest, whom
// nothing recognises until he taps 'log in'.
func (s *Site) logout(w http.ResponseWriter, r *http.Request, v *Visit) {
	failed := v.failed || !s.confirm(r.Context(), v)
	old := v.session()
	if failed || old != nil && !s.endSession(r.Context(), v, old) {
		// Saying so is better than a logout that comes undone.
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	h := w.Header()
	ours(h)
	s.allowOrigin(h, r)
	if old != nil {
		s.deliverToken(w, v, s.seal(v, s.signedOut(r.Context(), v)), true)
	}
	if wantsPage(r) {
		s.redirectAfterPost(w, s.returnTo(v.Sent.Query().Get("return_to")))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Site) redirectAfterPost(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// jwks publishes the keys that assertions are signed with (RFC 7517).
func (s *Site) jwks(w http.ResponseWriter, r *http.Request, _ *Visit) {
	h := w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodHead {
		_, _ = w.Write(s.JWKS())
	}
}

// healthz says that the process answers.
func (s *Site) healthz(w http.ResponseWriter, _ *http.Request, _ *Visit) {
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte("ok\n"))
}

// readyz says whether logins would work, and what is missing. A shared Store
// that is gone is told and is no reason to send visitors elsewhere: those who
// are known do not need it, and where all instances share it there is nowhere
// else.
func (s *Site) readyz(w http.ResponseWriter, r *http.Request, _ *Visit) {
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	shared := make(chan error, 1)
	go func() { shared <- s.pingShared(ctx) }()
	said := "ready\n"
	if err := s.Accounts.Ping(ctx); err != nil {
		s.Log.WarnContext(ctx, "not ready", "store", "database", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		said = "database unavailable\n"
	}
	if <-shared != nil {
		said += "redis unavailable\n"
	}
	_, _ = io.WriteString(w, said)
}

// pingShared asks the shared Store whether it is there.
func (s *Site) pingShared(ctx context.Context) error {
	if p, ok := s.Store.(interface{ Ping(context.Context) error }); ok {
		return p.Ping(ctx)
	}
	return nil
}
