package gate

import (
	"errors"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
)

// everybody is the Shadow of a site where nothing happens to anybody.
const everybody = 100

// Outcomes of a visit in the shadow besides those of a request: what would have
// happened beside it.
const (
	outcomeGuest    = "guest"    // he would have got a guest id
	outcomeEndpoint = "endpoint" // he has called one of our endpoints, which are not there
	outcomeLogin    = "login"    // the shop has said that it logged somebody in
	outcomeLogout   = "logout"
)

// ShadowOutcomes lists every outcome that Metrics.Shadow is told.
func ShadowOutcomes() []string {
	return append(Outcomes(), outcomeGuest, outcomeEndpoint, outcomeLogin, outcomeLogout)
}

// castShadow makes the site that visitors in the shadow meet. It differs from
// this one in that nothing it does has an effect.
func (s *Site) castShadow() error {
	switch {
	case s.cfg.Shadow < 0 || s.cfg.Shadow > everybody:
		return errors.New("shadow: a share is between 0% and 100%")
	case s.cfg.Shadow > 0:
		s.shadow = s.dry()
		s.shadow.Metrics, s.shadow.shadowOf = shadowMetrics{real: s.Metrics}, s
	}
	return nil
}

// shadows says whether nothing happens to a visitor. Of a share it is decided by
// his address and his browser. Whoever holds a session, or has begun to log in,
// stays out of the shadow: he would seem to be logged out when his address
// changes.
func (s *Site) shadows(v *Visit) bool {
	switch {
	case s.shadow == nil:
		return false
	case s.cfg.Shadow == everybody:
		return true
	case s.Owns(v), len(v.flows) > 0, v.session() != nil:
		return false
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(v.ClientIP + "\n" + v.userAgent))
	return int(h.Sum32()%everybody) < s.cfg.Shadow
}

// forMachines says whether an endpoint is there in the shadow: those by which
// servers and not visitors ask.
func forMachines(path string) bool {
	return slices.Contains([]string{"/jwks.json", "/healthz", "/readyz"}, path)
}

// foresee finds out what would become of a visit, and lets it pass as nobody's.
func (s *Site) foresee(r *http.Request, v *Visit) {
	if v.foretold {
		return
	}
	outcome := s.answer(nowhere{}, r, v)
	if outcome == outcomePass && v.trace.minted {
		outcome = outcomeGuest
	}
	s.foretell(r, v, outcome)
	v.trace.who, v.who, v.issue = v.who, identity{}, nil
}

// foretell logs and counts what would have been done. That a request passes
// needs no line.
func (s *Site) foretell(r *http.Request, v *Visit, outcome string) {
	v.foretold = true
	s.Metrics.Shadow(v.level, outcome)
	if outcome == outcomePass {
		return
	}
	s.Log.InfoContext(s.numbered(r).Context(), "shadow: nothing was done about a request", "would_be", outcome, "level", v.level.String(),
		"method", v.Method, "path", v.Sent.EscapedPath(), "why", strings.Join(v.trace.why, "; "))
}

// overhear does what heed would, in the shadow.
func (s *Site) overhear(l *listener, h http.Header, status int) {
	v, upstream := l.v, s.cfg.Upstream
	v.who = v.trace.who
	need := Guest
	if upstream.Challenge {
		need = l.demand(h, status)
	}
	reached := v.reaches(need)
	v.who = identity{}
	switch {
	case upstream.Login && len(h[wordLogout]) > 0:
		v.trace.because("the shop says that it has logged him out")
		s.foretell(l.r, v, outcomeLogout)
	case upstream.Login && len(h[wordLogin]) > 0:
		v.trace.because("the shop says that it has logged him in")
		s.foretell(l.r, v, outcomeLogin)
	case !reached:
		v.trace.because("the shop asks for a login")
		s.foretell(l.r, v, outcomeChallenge)
	}
}

// nowhere is where an answer goes that nobody gets.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

// shadowMetrics tells failures and nothing else: what is counted as done has
// been done.
type shadowMetrics struct {
	silent
	real Metrics
}

func (m shadowMetrics) Shadow(l Level, outcome string) { m.real.Shadow(l, outcome) }
func (m shadowMetrics) StoreError(store string)        { m.real.StoreError(store) }
