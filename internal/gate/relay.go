package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/session"
)

// WeChat lets an app name two domains for callbacks. A site on a third one asks
// by a callback host, which is another site of ours: the site sends the browser
// there, the callback host sends it on to WeChat and exchanges the code, and the
// browser comes back with a ticket. The state of the site and that of the
// callback host are each bound to a cookie of the same browser, and the ticket
// to the state of the site.

const (
	relayPath = "/relay"

	ticketLife = time.Minute
)

// relay is what a callback host keeps of the site that it asks for.
type relay struct {
	State    string `json:"s"` // of the site
	Callback string `json:"c"` // its URL there
}

func ticketKey(state, ticket string) string { return "ticket:" + state + ":" + ticket }

// relay sends a browser on to WeChat for a site that names this one as its
// callback host. Whoever comes without such a site's state gets no further.
func (s *Site) relay(w http.ResponseWriter, r *http.Request, v *Visit) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	state := v.Sent.Query().Get("state")
	if !stateSyntax.MatchString(state) {
		s.writeProblem(w, r, newProblem(codeInvalid))
		return
	}
	p, found, err := s.pendingOf(ctx, state)
	switch {
	case isNavigation(r) && s.toExternal(w, r, v):
	case err != nil:
		s.storeFailed(ctx, v, "session", "reading an OAuth state", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
	case isPrefetch(r), !found, p.Via != s.origin(), p.Prefix != s.cfg.Prefix, p.AppID != s.app(p.Scope).AppID:
		s.writeProblem(w, r, newProblem(codeInvalid))
	case !slices.Contains(s.cfg.ReturnOrigins, p.Site):
		s.Log.ErrorContext(ctx, "a site that return_origins does not list names this one as its callback_host", "site", p.Site)
		s.writeProblem(w, r, newProblem(codeInvalid))
	case v.now.Unix() >= p.Late:
		s.redirect(w, p.page())
	default:
		f, _ := s.readFlow(v)
		a := authorization{flow: f, scope: p.Scope, returnTo: p.page(), relay: &relay{State: state, Callback: p.callback()}}
		if !s.authorize(ctx, w, v, a) {
			s.writeProblem(w, r, newProblem(codeUnavailable))
		}
	}
}

// page is where the visitor of a site goes on when nothing comes of it, for a
// browser that is elsewhere.
func (p pending) page() string {
	if strings.HasPrefix(p.ReturnTo, "/") {
		return p.Site + p.ReturnTo
	}
	return p.Site + "/"
}

// relayBack is the end of an authorization at the callback host: the site is
// told by a ticket what WeChat has said, and never the code.
func (s *Site) relayBack(ctx context.Context, in callbackInput, p pending) result {
	ticket := rand.Text()
	err := s.logins.Put(ctx, ticketKey(p.Relay.State, ticket), s.sealRecord(session.TypeTicket, s.spend(ctx, in.code, p)), ticketLife)
	if err != nil {
		s.Metrics.StoreError("session")
		s.Log.ErrorContext(ctx, "keeping a ticket", "store", "session", "error", err)
		return result{ReturnTo: p.ReturnTo}
	}
	return result{ReturnTo: p.ReturnTo, Ticket: p.Relay.Callback + "?ticket=" + ticket + "&state=" + p.Relay.State}
}

// takeTicket finds what WeChat has told the callback host, once.
func (s *Site) takeTicket(ctx context.Context, in callbackInput) (t told) {
	if !stateSyntax.MatchString(in.ticket) {
		return told{Failed: codeInvalid}
	}
	sealed, found, err := s.logins.Take(ctx, ticketKey(in.state, in.ticket))
	if err != nil {
		s.Metrics.StoreError("session")
		s.Log.ErrorContext(ctx, "reading a ticket", "store", "session", "error", err)
		return told{Failed: codeWeChatBusy}
	}
	if !found || !s.openRecord(session.TypeTicket, sealed, &t) {
		return told{Failed: codeInvalid}
	}
	return t
}

// burnTicket ends a ticket that came with the wrong browser: a planted link has
// made this one ask for the state of another, which must not learn who it is.
func (s *Site) burnTicket(ctx context.Context, in callbackInput) {
	if stateSyntax.MatchString(in.ticket) {
		_, _, _ = s.logins.Take(ctx, ticketKey(in.state, in.ticket)) // else it expires
	}
}

// CheckCallbackHost finds out whether one of the sites relays for this one, as
// its callback_host says.
func (s *Site) CheckCallbackHost(sites []*Site) error {
	if s.cfg.CallbackHost == "" {
		return nil
	}
	i := slices.IndexFunc(sites, func(o *Site) bool { return o.origin() == s.cfg.CallbackHost })
	if i < 0 {
		return fmt.Errorf("callback_host %s: no site of this configuration has that external_url", s.cfg.CallbackHost)
	}
	switch host := sites[i]; {
	case host.cfg.CallbackHost != "":
		return fmt.Errorf("callback_host %s: that site has a callback_host itself", s.cfg.CallbackHost)
	case !slices.Contains(host.cfg.ReturnOrigins, s.origin()):
		return fmt.Errorf("callback_host %s: that site does not list %s in return_origins", s.cfg.CallbackHost, s.origin())
	case host.cfg.Prefix != s.cfg.Prefix:
		return fmt.Errorf("callback_host %s: that site has another prefix", s.cfg.CallbackHost)
	case host.cfg.OfficialAccount != s.cfg.OfficialAccount, host.cfg.Website != s.cfg.Website:
		return fmt.Errorf("callback_host %s: that site has another official_account or website", s.cfg.CallbackHost)
	}
	return nil
}

// parseCallbackHost brings the origin of a callback host into the form that
// browsers send; empty stays empty.
func (s *Site) parseCallbackHost(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	u, err := parseExternalURL(raw)
	if err != nil {
		return "", fmt.Errorf("callback_host: %q is not an origin like https://login.example.com", raw)
	}
	host := u.Scheme + "://" + u.Host
	switch {
	case host == s.origin():
		return "", errors.New("callback_host: it is this site itself")
	case s.external.Scheme == "https" && u.Scheme != "https":
		return "", fmt.Errorf("callback_host: %s is not on https, and this site is", raw)
	}
	return host, nil
}
