package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

// A web-view of a mini program has cookies of its own, and a mini program cannot
// reach them. So it asks for a ticket, opens the page with it, and the browser in
// the web-view goes on as the visitor of the mini program: in a session that is
// marked as handed over, since nothing was proved in that browser.
//
// A ticket is a URL, and URLs get into other hands: whoever opens somebody else's
// becomes him. That must never give the other one anything. So a ticket works
// once, for a minute, in a web-view of its mini program alone, and never in place
// of somebody whom WeChat or a phone has proved to be another; and what the
// browser's own guest has left is not his who handed the page over until the
// browser has proved itself who it is.

// handover is what the Store keeps under a ticket, sealed.
type handover struct {
	Site     string          `json:"o"` // the origin that it is for
	Session  session.Session `json:"s"` // of the mini program
	ReturnTo string          `json:"r"`
}

// ticketsPerLine bounds how many tickets one session is given: each takes a place
// in the Store.
func ticketsPerLine() limit.Limit { return limit.Limit{Events: 30, Window: time.Minute} }

var handoffTicket = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func (s *Site) handoffKey(ticket string) string { return "handoff:" + s.Accounts.Hide(ticket) }

// miniTicket gives a mini program the URL of a page for its web-view, with a
// ticket in it.
func (s *Site) miniTicket(w http.ResponseWriter, r *http.Request, v *Visit) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	if _, p := s.inMiniProgram(ctx, v); p.Code != "" {
		s.writeProblem(w, r, p)
		return
	}
	var in struct {
		ReturnTo string `json:"return_to"`
	}
	if !readJSON(r, &in) {
		s.writeProblem(w, r, newProblem(codeMalformed))
		return
	}
	ok, wait, err := s.Limiter.Allow(ctx, "ticket:"+v.session().Line(), ticketsPerLine())
	if err == nil && !ok {
		s.writeProblem(w, r, newProblem(codeRateLimited).after(wait))
		return
	}
	h := handover{Site: s.origin(), Session: *v.session(), ReturnTo: s.returnTo(in.ReturnTo)}
	ticket := rand.Text()
	if err == nil {
		err = s.Store.Put(ctx, s.handoffKey(ticket), s.sealRecord(session.TypeHandoff, h), ticketLife)
	}
	if err != nil {
		s.storeFailed(ctx, v, "session", "keeping a ticket", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	s.beginJSON(w, r)
	writeJSON(w, map[string]string{
		"url": s.origin() + s.cfg.Prefix + "/handoff?ticket=" + ticket + "&return_to=" + url.QueryEscape(h.ReturnTo),
	})
}

// handoff lets the browser in a web-view go on as the visitor of the mini
// program. Whatever becomes of the ticket, he gets to his page.
func (s *Site) handoff(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	switch {
	case isPrefetch(r), v.Method == http.MethodHead, !wantsPage(r): // a picture on a page, say, opens nothing
		s.writeProblem(w, r, newProblem(codeLoginRequired))
		return
	case isNavigation(r) && s.toExternal(w, r, v):
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*storeTimeout)
	defer cancel()
	h, found := handover{}, false
	if !v.failed {
		h, found = s.handoverOf(ctx, v, q.Get("ticket"))
	}
	back := s.returnTo(q.Get("return_to"))
	if found {
		back = h.ReturnTo
		s.Metrics.Login(channelMini, s.takeOver(ctx, v, h, q.Get("ticket")))
	}
	if v.failed {
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	s.deliver(w, v)
	s.redirect(w, back)
}

// handoverOf reads what a ticket stands for.
func (s *Site) handoverOf(ctx context.Context, v *Visit, ticket string) (h handover, found bool) {
	if !handoffTicket.MatchString(ticket) {
		return h, false
	}
	sealed, found, err := s.Store.Get(ctx, s.handoffKey(ticket))
	if err != nil {
		s.storeFailed(ctx, v, "session", "reading a ticket", err)
		return h, false
	}
	return h, found && s.openRecord(session.TypeHandoff, sealed, &h) && h.Site == s.origin()
}

// Outcomes of a ticket, for the metrics.
const (
	outcomeHandedOver = "handed_over"
	outcomeBurnt      = "ticket_burnt"
)

// takeOver uses a ticket up and makes the visitor who he is in the mini program,
// if this browser may become him. While a store fails the ticket is kept.
func (s *Site) takeOver(ctx context.Context, v *Visit, h handover, ticket string) (outcome string) {
	if !s.confirm(ctx, v) {
		return string(codeUnavailable)
	}
	may := s.mayBecome(v, h.Session)
	next := h.Session
	if may {
		res, err := s.current(ctx, &h.Session)
		switch {
		case errors.Is(err, account.ErrSessionDead):
			may = false
		case err != nil:
			s.storeFailed(ctx, v, "database", "resolving a session", err)
			return string(codeUnavailable)
		case h.Session.UserID != "":
			next.UserID, next.Kind = res.UserID, string(res.Kind)
			if res.Kind == account.Member && h.Session.Kind != kindMember {
				next.Born, next.AMR = 0, amrWeChat // as in refresh
			}
		}
	}
	_, found, err := s.Store.Take(ctx, s.handoffKey(ticket))
	switch {
	case err != nil:
		s.storeFailed(ctx, v, "session", "taking a ticket", err)
		return string(codeUnavailable)
	case !found || !may:
		return outcomeBurnt
	}
	s.leave(v.session(), &next)
	if !s.rotate(ctx, v, &next) {
		return string(codeUnavailable)
	}
	// Not the line of the browser's session before, of which codes may be under way.
	next.Root, next.HandedOver = "", true
	s.give(v, &next)
	return outcomeHandedOver
}

// mayBecome says whether this browser may become who is handed over: in a
// web-view of his mini program, and unless it is known to be somebody else's.
func (s *Site) mayBecome(v *Visit, handed session.Session) bool {
	appID, ok := webView(v.userAgent)
	if !ok || v.viaHeader || appID != "" && appID != handed.AppID {
		return false
	}
	sess := v.session()
	switch {
	case sess == nil:
		return true
	case v.grace, sess.Snapshot:
		return false
	case sess.OpenID == "": // a browser's guest, of whom nothing is known
		return !v.who.member()
	}
	sameWeChat := handed.UnionID != "" && sess.UnionID == handed.UnionID
	return sameWeChat || sess.AppID == handed.AppID && sess.OpenID == handed.OpenID
}

// handedOver says whether the visitor is a member because a mini program has
// handed him over. Nothing is added to his account then: what is proved here may
// be somebody else's, who has opened his ticket.
func (v *Visit) handedOver() bool {
	sess := v.session()
	return sess != nil && sess.HandedOver && v.who.member()
}

// handedOverPage says where a member adds to his account.
func handedOverPage(back string) page {
	return *newProblem(codeHandedOver).page(action{Key: "go_on", Href: back, Primary: true})
}

// standIn is who stands in a Link for the visitor, by his session: of one that
// was handed over its guest alone, who is not merged with anybody unless WeChat
// proves that he is his; and its member only where WeChat has just proved him.
func standIn(in account.Input, sess *session.Session) account.Input {
	in.UserID, in.UserKind, in.UserBorn = sess.UserID, account.Kind(sess.Kind), time.Unix(sess.Born, 0)
	in.UserIssued = time.Unix(sess.IssuedAt, 0)
	in.SessionAppID, in.SessionOpenID, in.SessionUnionID = sess.AppID, sess.OpenID, sess.UnionID
	if sess.HandedOver {
		in.SessionUnionID = ""
		in.HandedOver = in.UnionID == "" || in.UnionID != sess.UnionID
		if sess.Kind == kindMember && in.HandedOver {
			in.UserID, in.UserKind, in.UserBorn = "", account.Nobody, time.Time{}
		}
	}
	return in
}

// leave notes the guest that this browser was in the session that takes his
// place.
func (s *Site) leave(was, next *session.Session) {
	switch {
	case was == nil:
	case was.Left != "":
		next.Left, next.LeftBorn = was.Left, was.LeftBorn
	case was.OpenID == "" && was.Kind == kindGuest && was.UserID != next.UserID:
		next.Left, next.LeftBorn = was.UserID, was.Born
	}
}

// fetchLeft links the guest that this browser was before it was handed over:
// what has proved who the visitor is has proved it of him too. Where that fails
// so does the whole, which the visitor may try again: the session that he would
// get knows nothing of that guest.
func (s *Site) fetchLeft(ctx context.Context, v *Visit, in account.Input, out account.Outcome) error {
	sess := v.session()
	if sess == nil || sess.Left == "" || in.OpenID == "" && in.Phone == "" && in.ShopUserID == "" ||
		refuses(out.Code) && (out.Code != account.CodePhoneRequired || out.UnionID == "") {
		return nil
	}
	in.UserID, in.UserKind, in.UserBorn, in.UserIssued = sess.Left, account.Guest, time.Unix(sess.LeftBorn, 0), time.Time{}
	in.SessionAppID, in.SessionOpenID, in.SessionUnionID, in.HandedOver = "", "", "", false
	_, err := s.Accounts.Link(ctx, s.cfg.Account, in)
	return err
}

// inWebView finds the mini program in the User-Agent of its web-view.
var inWebView = regexp.MustCompile(`(?i)\bminiprogram/([0-9a-z]+)`)

// webView says whether a User-Agent names the web-view of a mini program, and of
// which one; appID is empty where it does not say.
func webView(userAgent string) (appID string, ok bool) {
	if !classify(userAgent).wechat || !strings.Contains(strings.ToLower(userAgent), "miniprogram") {
		return "", false
	}
	if m := inWebView.FindStringSubmatch(userAgent); m != nil {
		appID = m[1]
	}
	return appID, true
}
