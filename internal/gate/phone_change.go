package gate

import (
	"context"
	"net/http"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// proofOfSelf is what a member has proved besides a new phone, for a few
// minutes.
type proofOfSelf struct {
	UserID string `json:"u"`
	Phone  string `json:"p,omitempty"`

	AppID   string `json:"a,omitempty"`
	OpenID  string `json:"o,omitempty"`
	UnionID string `json:"n,omitempty"`

	// Each of two proofs for a merge has its own end, in Unix seconds: one must
	// not keep the other alive.
	PhoneUntil  int64 `json:"q,omitempty"`
	WeChatUntil int64 `json:"w,omitempty"`
}

// proofLife is how long a member who has proved himself has to prove his new
// phone: a code that comes late included.
const proofLife = 2 * codeLife

func proofKey(sess *session.Session) string { return "phoneproof:" + sess.Line() }

// changePhone goes on where Link has stopped: a member who proves the phone he
// has may give another one, and whoever has proved himself gets it changed (P6).
func (s *Site) changePhone(ctx context.Context, v *Visit, slot codeSlot, out account.Outcome) (account.Outcome, bool) {
	switch {
	case out.UserID != v.who.id:
		return out, true // the change was somebody else's
	case !refuses(out.Code):
		return out, s.keepProof(ctx, v, proofOfSelf{UserID: out.UserID, Phone: string(slot.phone)})
	case out.Code != account.CodePhoneChangeNeedsFlow:
		return out, true
	}
	proof, found, err := s.changeProof(ctx, v)
	if err != nil {
		s.storeFailed(ctx, v, "session", "reading a proof", err)
		return out, false
	}
	if !found {
		return out, true
	}
	changed, err := s.Accounts.ChangePhone(ctx, account.PhoneChange{UserID: out.UserID, To: slot.phone, Proof: account.PhoneProof{
		Phone: account.Phone(proof.Phone), AppID: proof.AppID, OpenID: proof.OpenID, UnionID: proof.UnionID,
	}})
	if err != nil {
		s.storeFailed(ctx, v, "database", "changing a phone", err)
		return out, false
	}
	if changed.Code == account.CodeOK {
		_, _, _ = s.Store.Take(ctx, proofKey(v.session())) // what was proved is spent, and else expires
	}
	changed.UnionID = out.UnionID
	return changed, true
}

func (s *Site) keepProof(ctx context.Context, v *Visit, p proofOfSelf) bool {
	err := s.putProof(ctx, proofKey(v.session()), p)
	if err != nil {
		s.storeFailed(ctx, v, "session", "keeping a proof", err)
	}
	return err == nil
}

func (s *Site) putProof(ctx context.Context, key string, p proofOfSelf) error {
	return s.Store.Put(ctx, key, s.sealRecord(session.TypeProof, p), proofLife)
}

// changeProof returns what the visitor has proved of himself.
func (s *Site) changeProof(ctx context.Context, v *Visit) (p proofOfSelf, found bool, err error) {
	sealed, found, err := s.Store.Get(ctx, proofKey(v.session()))
	if err != nil || !found {
		return p, false, err
	}
	return p, s.openRecord(session.TypeProof, sealed, &p) && p.UserID == v.who.id, nil
}

// changeURL is the page where a phone is changed.
func (s *Site) changeURL(returnTo, code string) string {
	return s.phoneURL(returnTo, code) + "&change=1"
}

// changePage lets a member prove himself first, with the phone he has or with
// his WeChat, and then asks for the new phone.
func (s *Site) changePage(w http.ResponseWriter, r *http.Request, v *Visit, back string) {
	if scope, ok := s.asked(r, v); ok {
		s.askConsent(w, r, v, authorization{scope: scope, returnTo: back, member: v.who.id, prove: proveChange})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	_, proven, err := s.changeProof(ctx, v)
	if err != nil {
		s.storeFailed(ctx, v, "session", "reading a proof", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	phone, p := s.phoneOf(ctx, v)
	switch {
	case p.Code == codePhoneInvalid: // he has none
		s.redirect(w, s.phoneURL(back, ""))
	case p.Code != "":
		s.writeProblem(w, r, p)
	case proven:
		s.writePage(w, r, s.newPhonePage(back, phone))
	default:
		s.writePage(w, r, s.oldPhonePage(v, back, phone))
	}
}

// oldPhonePage asks a member to prove himself.
func (s *Site) oldPhonePage(v *Visit, back string, phone account.Phone) page {
	here := s.changeURL(back, "")
	p := page{
		Status: http.StatusOK, Key: "phone_change", Detail: phone.String(), Code: loginCode(v.Sent.Query().Get("code")),
		Form: &form{Submit: "confirm", Next: here, Refused: s.phoneURL(back, "") + "&code=", Purpose: purposeChange},
	}
	switch {
	case s.canConsent(v):
		p.Actions = append(p.Actions, action{Key: "prove_wechat", Href: here + "&go=wechat"})
	case s.canScan(v):
		p.Actions = append(p.Actions, action{Key: "prove_scan", Href: here + "&go=scan"})
	default:
		p.Key, p.Contact = "phone_change_elsewhere", true
	}
	p.Actions = append(p.Actions, action{Key: "keep_phone", Href: back})
	return p
}

// newPhonePage asks a member who has proved himself for his new phone.
func (s *Site) newPhonePage(back string, old account.Phone) page {
	return page{
		Status: http.StatusOK, Key: "phone_new", Detail: old.String(), Actions: []action{{Key: "keep_phone", Href: back}},
		Form: &form{Submit: "confirm", AskPhone: true, Next: back, Refused: s.phoneURL(back, "") + "&code=", Purpose: purposeChange},
	}
}

// weChatProved keeps what WeChat has said of a member who wants to change his
// phone. It counts only if the WeChat account is his, which the change itself
// looks at.
func (s *Site) weChatProved(ctx context.Context, v *Visit, p pending, g told) result {
	proof := proofOfSelf{UserID: v.who.id, AppID: p.AppID, OpenID: g.OpenID, UnionID: g.UnionID}
	if !s.keepProof(ctx, v, proof) {
		return s.unfinished(ctx, v, p, codeUnavailable)
	}
	return result{ReturnTo: s.changeURL(p.ReturnTo, "")}
}
