package gate

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/wxgate/wxgate/internal/account"
)

// phoneRequest is what a visitor says of a phone, read and checked.
type phoneRequest struct {
	slot codeSlot
	code string
}

// readPhoneRequest reads who asks and what he says. The problem's code is empty
// if all is well.
func (s *Site) readPhoneRequest(r *http.Request, v *Visit) (a phoneRequest, p problem) {
	if p := s.mayProve(r.Context(), v); p.Code != "" {
		return a, p
	}
	var in struct{ Phone, Code, Purpose string }
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &in) != nil {
		return a, newProblem(codeMalformed)
	}
	a.code, a.slot = readCode(in.Code), codeSlot{line: v.session().Line(), purpose: purposeLogin}
	switch in.Purpose {
	case "", purposeLogin:
	case purposeChange:
		if !v.who.member() {
			return a, s.loginNeeded(v)
		}
		a.slot.purpose = purposeChange
		if in.Phone == "" { // the one he has
			a.slot.phone, p = s.phoneOf(r.Context(), v)
			return a, p
		}
	case purposeMerge:
		if !v.who.member() {
			return a, s.loginNeeded(v)
		}
		a.slot.purpose = purposeMerge
	default:
		return a, newProblem(codeMalformed)
	}
	if a.slot.phone, err = account.ParsePhone(in.Phone); err != nil {
		return a, newProblem(codePhoneInvalid)
	}
	return a, problem{}
}

// mayProve says who may prove a phone: a visitor with a session, which counts
// what he asks for and ties the code to his browser.
func (s *Site) mayProve(ctx context.Context, v *Visit) problem {
	sess := v.session()
	switch {
	case s.SMS == nil:
		return newProblem(codeNotFound)
	case v.failed:
		return newProblem(codeUnavailable)
	case sess == nil:
		return s.sessionEnded(v)
	case sess.Snapshot:
		return newProblem(code(account.CodeSnapshot))
	case v.handedOver():
		return newProblem(codeHandedOver)
	case sess.UserID == "" && !s.live(ctx, v):
		if v.failed {
			return newProblem(codeUnavailable)
		}
		return s.loginNeeded(v)
	}
	return problem{}
}

// sessionEnded is told to who came with a session that is none any more.
func (s *Site) sessionEnded(v *Visit) problem {
	if v.viaHeader {
		return newProblem(codeSessionExpired)
	}
	return s.loginNeeded(v)
}

func (s *Site) loginNeeded(v *Visit) problem {
	p := newProblem(codeLoginRequired)
	p.Need, p.LoginURL = s.need(v), s.loginURL("/", "")
	return p
}

// phoneOf reads the phone of the visitor, who is a member.
func (s *Site) phoneOf(ctx context.Context, v *Visit) (account.Phone, problem) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	phone, err := s.Accounts.PhoneOf(ctx, v.who.id)
	switch {
	case errors.Is(err, account.ErrUnknownUser), errors.Is(err, account.ErrUserCancelled):
		return "", s.loginNeeded(v)
	case err != nil:
		s.storeFailed(ctx, v, "database", "reading a phone", err)
		return "", newProblem(codeUnavailable)
	case phone == "":
		return "", newProblem(codePhoneInvalid)
	}
	return phone, problem{}
}

// proved is what a code has brought.
type proved struct {
	Token   string     `json:"t,omitempty"` // of the session from now on; empty: it stays as it is
	User    userAnswer `json:"u"`
	problem problem    // not kept: what is refused takes another code
}

// provePhone checks a code and links the phone.
func (s *Site) provePhone(w http.ResponseWriter, r *http.Request, v *Visit) {
	a, p := s.readPhoneRequest(r, v)
	if p.Code != "" {
		s.writeProblem(w, r, p)
		return
	}
	// Two taps come at once: one of them uses the code up, also when the first
	// has hung up.
	shared, _, _ := s.flights.Do("phone "+a.slot.key()+" "+a.code, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 3*storeTimeout+s.shopTime())
		defer cancel()
		return s.prove(ctx, v, a), nil
	})
	done := shared.(proved)
	if done.Token != "" {
		s.deliverToken(w, v, done.Token, true)
	}
	if done.problem.Code != "" {
		s.writeProblem(w, r, done.problem)
		return
	}
	s.beginJSON(w, r)
	answer := provedAnswer{User: done.User}
	if v.viaHeader {
		answer.Session = done.Token
	}
	writeJSON(w, answer)
}

type provedAnswer struct {
	User    userAnswer `json:"user"`
	Session string     `json:"session,omitempty"` // for clients without cookies
}

// prove uses the code up and does what it was sent for.
func (s *Site) prove(ctx context.Context, v *Visit, a phoneRequest) proved {
	c, p := s.useCode(ctx, v, a.slot, a.code)
	if p.Code != "" {
		return proved{problem: p}
	}
	if c.Done != nil {
		return *c.Done
	}
	done := s.phoneProved(ctx, v, a.slot, amrSMS)
	switch done.problem.Code {
	case "":
		c.Done, c.Expires = &done, v.now.Add(resultLife).Unix()
	case codeUnavailable:
		c.ID = rand.Text() // he may try again with the code that he has, as often as if he had not
	default:
		return done
	}
	if err := s.putBack(ctx, v, a.slot, c); err != nil {
		s.Metrics.StoreError("session")
		s.Log.ErrorContext(ctx, "keeping the result of a code", "store", "session", "error", err)
	}
	return done
}

// phoneProved links a phone that has just been verified, in the way of amr.
func (s *Site) phoneProved(ctx context.Context, v *Visit, slot codeSlot, amr string) proved {
	switch {
	case !s.confirm(ctx, v):
		return proved{problem: newProblem(codeUnavailable)}
	case v.session() == nil:
		return proved{problem: s.sessionEnded(v)}
	}
	if slot.purpose == purposeMerge {
		if !s.phoneForMerge(ctx, v, slot.phone) {
			return proved{problem: newProblem(codeUnavailable)}
		}
		return proved{User: userOf(v.who)}
	}
	in := account.Input{Phone: slot.phone, Want: account.WantLogin, InBrowser: v.inBrowser()}
	if sess := v.session(); s.provedHere(sess) {
		in.AppID, in.OpenID, in.UnionID = sess.AppID, sess.OpenID, sess.UnionID
	}
	in.Outside = in.OpenID == ""
	out, ok := s.link(ctx, v, in)
	if !ok {
		return proved{problem: newProblem(codeUnavailable)}
	}
	if slot.purpose == purposeChange {
		if out, ok = s.changePhone(ctx, v, slot, out); !ok {
			return proved{problem: newProblem(codeUnavailable)}
		}
	}
	if out.Code == account.CodePhoneOwnedByOtherUser {
		s.phoneForMerge(ctx, v, slot.phone) // it is an extra: he can prove it once more
	}
	return s.proofEarned(ctx, v, earned{Outcome: out, proved: in, channel: v.channel(), amr: amr})
}

// proofEarned makes the session that a verified phone has earned. A refusal
// throws nobody out: the session changes only if it was another user's.
func (s *Site) proofEarned(ctx context.Context, v *Visit, e earned) proved {
	old := v.session()
	refused := refuses(e.Code)
	e.risen = !refused
	if refused {
		e.amr = amrWeChat // what is left of the proof, if anything
		s.Metrics.Login(e.channel, string(e.Code))
	} else {
		s.Metrics.Login(e.channel, "ok")
	}
	var done proved
	if !refused || e.UserID != old.UserID || string(e.Kind) != old.Kind {
		next := s.succeed(ctx, v, e)
		if next == nil {
			return proved{problem: newProblem(codeUnavailable)}
		}
		done.Token = s.tokenOf(next)
		done.User = userOf(identity{id: e.UserID, kind: string(e.Kind), phone: true, channel: next.Channel})
	}
	if refused {
		done.problem = newProblem(code(e.Code))
	}
	return done
}

const amrSMS = "sms"

// refuses says whether an outcome is not what the visitor has asked for. The
// others are a login, whatever else is said with it.
func refuses(c account.Code) bool {
	switch c {
	case account.CodeOK, account.CodeGuest, account.CodeUnionIDMissing, account.CodeStaleGuest, account.CodeGuestOwnedByOther:
		return false
	}
	return true
}
