package account

import (
	"slices"
	"time"
)

// plan is what a decision changes. It names users that do not exist yet by
// these placeholders, so that deciding costs no id.
const (
	newGuest  = "\x00guest"
	newMember = "\x00member"
)

type plan struct {
	serve string // user id; empty: nobody
	kind  Kind
	code  Code

	merges  []*user // guests that are replaced by mergeTo
	mergeTo string
	reason  string
	unionID string // what the openid is stored under afterwards

	linkRow    bool       // insert or repair the identity row
	fill       *string    // set the unionid's user; nil: leave it, "" inserts an empty one
	setVisitor string     // guest of the visitor row; empty: leave it
	dropVisit  bool       // the visitor row goes
	seen       *user      // was here, for the first time in a while
	conflict   []string   // parties of what is refused
	open       bool       // which is an open conflict already
	over       []Conflict // what was refused before and has succeeded now
}

// writes says whether there is anything to store. A new guest alone is not: he
// is stored nowhere until he is linked or gets a visitor row.
func (p *plan) writes() bool {
	return len(p.merges) > 0 || p.linkRow || p.fill != nil || p.setVisitor != "" || p.dropVisit || p.seen != nil ||
		p.conflict != nil && !p.open || len(p.over) > 0
}

// seenInterval is how exact a member's last_seen is, so that the visit of a
// known one seldom writes.
const seenInterval = 24 * time.Hour

// decider carries a decision through the guards and tables of the linking
// rules. Rows are named in the comments.
type decider struct {
	*facts
	plan
	who  *user // the incoming user after the guards; nil: none
	note Code  // stale_guest or guest_owned_by_other, if nothing weightier comes
}

// decide is pure: the same facts give the same plan.
func decide(f *facts) plan {
	d := &decider{facts: f, who: f.came}
	d.guardIncoming()
	switch {
	case f.in.UnionID != "" && f.own != nil && f.own.unionID != "" && f.own.unionID != f.in.UnionID:
		d.quarantine(CodeUnionIDChanged) // G2
	case f.other != "":
		d.quarantine(CodeOpenIDChanged) // G2
	case f.imported != nil && !f.imported.cancelled:
		d.importedRow()
	case f.unionID == "":
		d.unknownUnionID()
	default:
		d.knownUnionID()
	}
	if d.code == CodeGuest || d.code == CodeOK {
		if d.note != "" {
			d.code = d.note
		}
		d.settle()
	}
	d.see()
	d.open = slices.ContainsFunc(d.openConflicts, func(c Conflict) bool {
		return c.Code == d.code && slices.Equal(c.Parties, d.conflict)
	})
	return d.plan
}

// see notes that a member was here. A guest's visit is not kept, and neither
// is a refused one, which writes nothing but its conflict.
func (d *decider) see() {
	if d.kind != Member || d.conflict != nil {
		return
	}
	for _, u := range []*user{d.came, d.target, d.ownerOf, d.imported} {
		if u != nil && u.id == d.serve && d.now.Sub(u.lastSeen) >= seenInterval {
			d.seen = u
		}
	}
}

// settle finds the open conflicts whose refused link is made now: a unionid for
// this openid, or this member for the unionid, through whichever openid.
func (d *decider) settle() {
	for _, c := range d.openConflicts {
		var made bool
		switch c.Code {
		case CodeUnionIDChanged, CodeOpenIDChanged:
			made = c.Parties[2] == d.plan.unionID
		case CodeRepairConflict:
			made = c.Parties[1] == d.plan.unionID
		case CodeUserIDBoundToOtherWeChat, CodeWeChatBoundToOtherUser:
			made = c.Parties[0] == d.serve && c.Parties[1] == d.plan.unionID
		}
		if made {
			d.over = append(d.over, c)
		}
	}
}

// guardIncoming is G0 and G5: whom the session's user id stands for.
func (d *decider) guardIncoming() {
	switch {
	case d.who == nil:
		return
	case d.who.cancelled, d.who.kind != d.in.UserKind, d.target != nil && d.target.cancelled:
		// A guest's token must never be a key to a member, not even where the
		// two have one id.
		d.who = nil
		return
	case d.target == nil:
		return
	}
	follow := d.who.kind == Member || d.target.kind == Guest
	if !follow {
		proof := d.session
		if d.facts.unionID != "" {
			proof = d.owner
		}
		follow = proof != nil && proof.userID == d.target.id
	}
	if !follow {
		d.who, d.note = nil, CodeStaleGuest
		return
	}
	d.who = d.target
}

func (d *decider) outcome(serve string, kind Kind, code Code) {
	d.serve, d.kind, d.code = serve, kind, code
}

func (d *decider) serveUser(u *user, code Code) { d.outcome(u.id, u.kind, code) }

// incomingGuest returns the session's guest if it may be moved: free, or proven
// by this call's unionid.
func (d *decider) incomingGuest() *user {
	if d.who == nil || d.who.kind != Guest {
		return nil
	}
	proven := d.facts.unionID != "" && d.owner != nil && d.owner.userID == d.who.id
	if d.cameOwned && !proven {
		d.note = CodeGuestOwnedByOther
		d.who = nil
	}
	return d.who
}

func (d *decider) member() bool { return d.who != nil && d.who.kind == Member }

// quarantine is G2: what WeChat says contradicts what is stored. Nothing but
// the conflict is written; guests go on as table N would name them.
func (d *decider) quarantine(code Code) {
	d.conflict = []string{d.in.AppID, d.in.OpenID, d.in.UnionID}
	if d.member() {
		d.serveUser(d.who, code)
		return
	}
	d.guestOfN(code)
	d.setVisitor, d.merges, d.note = "", nil, ""
}

// importedRow is G3 and G6: an openid that an import has given to a member,
// while its unionid was unknown.
func (d *decider) importedRow() {
	u := d.imported
	guest := d.incomingGuest()
	if d.cameOwned { // proven, so the unionid's and not to be moved without it
		guest = nil
	}
	d.mergeInto(u.id, "imported", guest, d.visitor)
	d.dropVisit = d.visitor != nil
	contradiction := d.facts.unionID != "" &&
		(d.ownerOf != nil && d.ownerOf.kind == Member && d.ownerOf.id != u.id || d.importedUnionID != "")
	switch {
	case contradiction: // G3
		d.conflict = []string{u.id, d.facts.unionID}
		d.serveUser(u, CodeRepairConflict)
	case d.facts.unionID == "": // G6
		d.serveUser(u, CodeUnionIDMissing)
	default: // G6
		d.mergeInto(u.id, "repair", d.ownerGuest())
		d.linkRow, d.plan.unionID = true, d.facts.unionID
		d.giveTo(u.id)
		d.serveUser(u, CodeOK)
	}
}

// ownerGuest is the guest whom the unionid has, S2.
func (d *decider) ownerGuest() *user {
	if d.ownerOf != nil && d.ownerOf.kind == Guest {
		return d.ownerOf
	}
	return nil
}

// giveTo gives the unionid to a user, unless it is his already.
func (d *decider) giveTo(id string) {
	if d.owner == nil || d.owner.userID != id {
		d.fill = &id
	}
}

// mergeInto replaces guests by id; nil ones and id itself are left out.
func (d *decider) mergeInto(id, reason string, guests ...*user) {
	d.mergeTo = id
	if d.reason == "" {
		d.reason = reason
	}
	for _, g := range guests {
		if g != nil && g.id != id && !slices.ContainsFunc(d.merges, func(m *user) bool { return m.id == g.id }) {
			d.merges = append(d.merges, g)
		}
	}
}

// unknownUnionID is table N.
func (d *decider) unknownUnionID() {
	if d.member() { // N4
		d.serveUser(d.who, CodeUnionIDMissing)
		if d.in.OpenID == "" {
			d.code = CodeOK
		}
		return
	}
	d.guestOfN(CodeGuest)
	if d.in.Want == WantLogin { // N6
		d.code, d.note = CodePhoneRequired, ""
		if d.in.InBrowser && !d.in.Outside && !d.in.Consented {
			d.code = CodeAuthRequired
		}
	}
}

// guestOfN finds the guest of a visitor whose unionid is unknown.
func (d *decider) guestOfN(code Code) {
	if d.who != nil && d.cameOwned && d.cameIsSessions { // N3c
		d.serveUser(d.who, code)
		return
	}
	guest := d.incomingGuest()
	switch {
	case guest == nil && d.visitor == nil: // N1
		if d.rules.GuestsOff {
			d.outcome("", Nobody, code)
			return
		}
		d.outcome(newGuest, Guest, code)
		d.visits(newGuest)
	case guest == nil, d.visitor != nil && guest.id == d.visitor.id: // N2
		d.serveUser(d.visitor, code)
	case d.visitor == nil: // N3b
		d.serveUser(guest, code)
		d.visits(guest.id)
	default: // N3
		older, younger := guest, d.visitor
		if younger.olderThan(older) {
			older, younger = younger, older
		}
		d.mergeInto(older.id, "visitor", younger)
		d.serveUser(older, code)
		if older.id != d.visitor.id {
			d.visits(older.id)
		}
	}
}

// visits gives the openid a visitor row; outside WeChat there is no openid.
func (d *decider) visits(id string) {
	if d.in.OpenID != "" {
		d.setVisitor = id
	}
}

// knownUnionID is table W.
func (d *decider) knownUnionID() {
	d.linkRow, d.plan.unionID = d.facts.own == nil, d.facts.unionID
	d.dropVisit = d.visitor != nil
	if d.member() {
		d.memberMeetsUnionID()
		return
	}
	guest := d.incomingGuest()
	if d.ownerOf != nil && d.ownerOf.kind == Member { // W4, W10, W17
		d.mergeInto(d.ownerOf.id, "login", guest, d.visitor)
		d.serveUser(d.ownerOf, CodeOK)
		return
	}
	guests := slices.DeleteFunc([]*user{d.ownerGuest(), guest, d.visitor}, func(u *user) bool { return u == nil })
	if d.in.Want == WantLogin && d.rules.FirstLogin != FirstLoginWeChatPhone { // W19
		d.mergeInto(newMember, "login", guests...)
		d.giveTo(newMember)
		d.outcome(newMember, Member, CodeOK)
		return
	}
	d.guestOwns(guests)
	if d.in.Want == WantLogin { // W19
		d.code, d.note = CodePhoneRequired, ""
	}
}

// guestOwns leaves the unionid to a guest: the one it has, else the oldest of
// the others, else a new one. The rest merges into him.
func (d *decider) guestOwns(guests []*user) {
	winner := d.ownerGuest() // W3, W8, W9, W11
	if winner == nil {       // W1, W2, W5, W6, W7
		for _, g := range guests {
			if winner == nil || g.olderThan(winner) {
				winner = g
			}
		}
	}
	switch {
	case winner != nil:
		d.mergeInto(winner.id, "visitor", guests...)
		d.serveUser(winner, CodeGuest)
		d.giveTo(winner.id)
	case d.rules.GuestsOff:
		d.outcome("", Nobody, CodeGuest)
		if d.owner == nil {
			d.giveTo("")
		}
	default:
		d.outcome(newGuest, Guest, CodeGuest)
		d.giveTo(newGuest)
	}
}

// memberMeetsUnionID is W12 to W18: a member's session where WeChat tells a
// unionid.
func (d *decider) memberMeetsUnionID() {
	u := d.who
	switch {
	case d.ownerOf != nil && d.ownerOf.kind == Member && d.ownerOf.id != u.id: // W16
		d.conflict = []string{u.id, d.facts.unionID, d.ownerOf.id}
		d.mergeInto(d.ownerOf.id, "login", d.visitor)
		d.serveUser(d.ownerOf, CodeWeChatBoundToOtherUser)
		same := d.in.SessionAppID == d.in.AppID && d.in.SessionOpenID == d.in.OpenID && d.in.OpenID != ""
		if d.in.Outside || same {
			d.serveUser(u, CodeWeChatBoundToOtherUser)
		}
	case d.ownerOf != nil && d.ownerOf.id == u.id: // W15
		d.mergeInto(u.id, "login", d.visitor)
		d.serveUser(u, CodeOK)
	case d.boundElsewhere: // W18
		d.conflict = []string{u.id, d.facts.unionID}
		if d.in.Outside {
			d.linkRow, d.dropVisit, d.plan.unionID = false, false, ""
			d.serveUser(u, CodeUserIDBoundToOtherWeChat)
			return
		}
		d.guestOwns(slices.DeleteFunc([]*user{d.ownerGuest(), d.visitor}, func(u *user) bool { return u == nil }))
		d.code = CodeUserIDBoundToOtherWeChat
	default: // W12, W13, W14
		d.mergeInto(u.id, "login", d.ownerGuest(), d.visitor)
		d.giveTo(u.id)
		d.serveUser(u, CodeOK)
	}
}
