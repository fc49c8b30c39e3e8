package gate

import (
	"context"
	"errors"
	"net/http"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// Two accounts of one person: one has his phone, the other his WeChat. He
// proves both anew, sees what each is, and merges them himself or leaves it.

func mergeKey(sess *session.Session) string { return "mergeproof:" + sess.Line() }

func (s *Site) mergeURL(returnTo, code string) string { return s.ownURL("/merge", returnTo, code) }

// canMerge says whether both can be proved here.
func (s *Site) canMerge(v *Visit) bool { return s.SMS != nil && (s.canConsent(v) || s.canScan(v)) }

// mergeProofs returns what the visitor has proved for a merge so far, as the
// member whom he is.
func (s *Site) mergeProofs(ctx context.Context, v *Visit) (p proofOfSelf, err error) {
	sealed, found, err := s.Store.Get(ctx, mergeKey(v.session()))
	if err != nil || !found {
		return p, err
	}
	if !s.openRecord(session.TypeProof, sealed, &p) || p.UserID != v.who.id {
		return proofOfSelf{}, nil
	}
	if v.now.Unix() >= p.PhoneUntil {
		p.Phone = "" // the number may be another's by now
	}
	if v.now.Unix() >= p.WeChatUntil {
		p.AppID, p.OpenID, p.UnionID = "", "", ""
	}
	return p, nil
}

// proveForMerge adds to what the visitor has proved.
func (s *Site) proveForMerge(ctx context.Context, v *Visit, add func(*proofOfSelf)) bool {
	p, err := s.mergeProofs(ctx, v)
	if err == nil {
		p.UserID = v.who.id
		add(&p)
		err = s.putProof(ctx, mergeKey(v.session()), p)
	}
	if err != nil {
		s.storeFailed(ctx, v, "session", "keeping a proof", err)
	}
	return err == nil
}

// phoneForMerge keeps that a phone was proved for a merge.
func (s *Site) phoneForMerge(ctx context.Context, v *Visit, phone account.Phone) bool {
	return s.proveForMerge(ctx, v, func(p *proofOfSelf) {
		p.Phone, p.PhoneUntil = string(phone), v.now.Add(proofLife).Unix()
	})
}

// weChatForMerge keeps what WeChat has said for a merge.
func (s *Site) weChatForMerge(ctx context.Context, v *Visit, p pending, g told) result {
	if !s.proveForMerge(ctx, v, func(all *proofOfSelf) {
		all.AppID, all.OpenID, all.UnionID, all.WeChatUntil = p.AppID, g.OpenID, g.UnionID, v.now.Add(proofLife).Unix()
	}) {
		return s.unfinished(ctx, v, p, codeUnavailable)
	}
	return result{ReturnTo: s.mergeURL(p.ReturnTo, "")}
}

// merging is the merge of what was proved.
func (p proofOfSelf) merging() account.Merging {
	return account.Merging{Proofs: account.Proofs{
		Phone: account.Phone(p.Phone), AppID: p.AppID, OpenID: p.OpenID, UnionID: p.UnionID, UserID: p.UserID,
	}}
}

// mergePage asks for what is not proved yet, and then shows both accounts.
func (s *Site) mergePage(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	back := s.returnTo(q.Get("return_to"))
	here := s.mergeURL(back, "")
	if s.forMember(w, r, v, here) {
		return
	}
	if s.SMS == nil {
		s.writeProblem(w, r, newProblem(codeNotFound))
		return
	}
	if v.handedOver() {
		s.writePage(w, r, handedOverPage(back))
		return
	}
	if scope, ok := s.asked(r, v); ok {
		s.askConsent(w, r, v, authorization{scope: scope, returnTo: back, member: v.who.id, prove: proveMerge})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*storeTimeout)
	defer cancel()
	proofs, err := s.mergeProofs(ctx, v)
	switch {
	case err != nil:
		s.storeFailed(ctx, v, "session", "reading a proof", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
	case q.Get("code") == "done":
		s.writePage(w, r, donePage("merged", back))
	case proofs.OpenID == "" && !s.canMerge(v): // said before a code is spent
		s.writePage(w, r, page{Status: http.StatusOK, Key: "merge_elsewhere", Detail: s.absolute(here), Actions: []action{{Key: "leave_it", Href: back}}})
	case proofs.Phone == "":
		s.writePage(w, r, page{Status: http.StatusOK, Key: "merge_phone", Actions: []action{{Key: "leave_it", Href: back}}, Form: &form{
			Submit: "confirm", AskPhone: true, Next: here, Refused: here + "&code=", Purpose: purposeMerge,
		}})
	case proofs.OpenID == "":
		s.writePage(w, r, s.mergeWeChatPage(v, back, q.Get("code")))
	default:
		s.writePage(w, r, s.twoAccountsPage(ctx, v, proofs, back))
	}
}

// mergeWeChatPage asks for the WeChat account of the other of two accounts.
func (s *Site) mergeWeChatPage(v *Visit, back, rawCode string) page {
	p := page{Status: http.StatusOK, Key: "merge_wechat", Code: loginCode(rawCode)}
	prove := action{Key: "prove_scan", Href: s.mergeURL(back, "") + "&go=scan", Primary: true}
	if s.canConsent(v) {
		prove = action{Key: "prove_wechat", Href: s.mergeURL(back, "") + "&go=wechat", Primary: true}
	}
	p.Actions = append(p.Actions, prove)
	p.Actions = append(p.Actions, action{Key: "leave_it", Href: back})
	return p
}

// twoAccountsPage shows who would be merged into whom.
func (s *Site) twoAccountsPage(ctx context.Context, v *Visit, proofs proofOfSelf, back string) page {
	preview, p := s.previewMerge(ctx, v, proofs)
	if p.Code != "" {
		return *p.page(action{Key: "go_on", Href: back, Primary: true})
	}
	pg := page{Status: http.StatusOK, Key: "merge", Facts: append(s.factsOf(preview.To), append([]fact{{"goes", ""}}, s.factsOf(preview.From)...)...)}
	pg.Facts = append([]fact{{"stays", ""}}, pg.Facts...)
	pg.Actions = []action{{Key: "merge_accounts", Href: s.mergeURL(back, ""), Post: true}, {Key: "leave_it", Href: back, Primary: true}}
	return pg
}

// previewMerge reads the two accounts. Whoever has proved two others than his
// own gets nothing to see of them.
func (s *Site) previewMerge(ctx context.Context, v *Visit, proofs proofOfSelf) (account.MergePreview, problem) {
	preview, err := s.Accounts.PreviewMerge(ctx, s.cfg.Account, proofs.merging())
	switch {
	case errors.Is(err, account.ErrUnknownUser), errors.Is(err, account.ErrUserCancelled), errors.Is(err, account.ErrNotMember):
		return preview, newProblem(codeOneAccount)
	case err != nil:
		s.storeFailed(ctx, v, "database", "previewing a merge", err)
		return preview, newProblem(codeUnavailable)
	case preview.From.ID == preview.To.ID, preview.From.ID != v.who.id && preview.To.ID != v.who.id:
		return preview, newProblem(codeOneAccount)
	case preview.Code != account.CodeOK:
		return preview, mergeRefused(preview.Code)
	}
	return preview, problem{}
}

// mergeRefused says why two accounts stay two.
func mergeRefused(c account.Code) problem {
	if c == account.CodeSecondProofRequired {
		return newProblem(code(c))
	}
	return newProblem(codeTwoWeChats)
}

// mergeAccounts merges the two accounts that the visitor has proved (O3).
func (s *Site) mergeAccounts(w http.ResponseWriter, r *http.Request, v *Visit) {
	back := s.returnTo(v.Sent.Query().Get("return_to"))
	if s.forMember(w, r, v, back) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 3*storeTimeout)
	defer cancel()
	proofs, err := s.mergeProofs(ctx, v)
	if err != nil {
		s.storeFailed(ctx, v, "session", "reading a proof", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	if _, p := s.previewMerge(ctx, v, proofs); p.Code != "" {
		s.writeProblem(w, r, p)
		return
	}
	out, err := s.Accounts.Merge(ctx, s.cfg.Account, proofs.merging())
	switch {
	case err != nil:
		s.storeFailed(ctx, v, "database", "merging two accounts", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	case out.Code != account.CodeOK:
		s.writeProblem(w, r, mergeRefused(out.Code))
		return
	}
	_, _, _ = s.Store.Take(ctx, mergeKey(v.session())) // what was proved is spent, and else expires
	ours(w.Header())
	s.allowOrigin(w.Header(), r)
	if wantsPage(r) {
		s.redirectAfterPost(w, s.mergeURL(back, "done"))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
