package account

import (
	"cmp"
	"slices"
	"time"
)

// decide says what docs/linking.md asks for. It is pure: the same facts give
// the same plan. The guards are in decide_g.go, the tables in decide_n.go,
// decide_w.go and decide_p.go, and the comments there name their rows.
func decide(f *facts) plan {
	if f.in.Waiting && f.imported == nil {
		return plan{}
	}
	d := &decider{facts: f}
	d.guardIncoming() // G0, G5
	d.shopLogin()
	switch {
	case f.own != nil && f.own.unionID != "" && f.own.scope == "" && f.in.UnionID != "" && f.own.unionID != f.in.UnionID:
		d.quarantine(CodeUnionIDChanged) // G2
	case f.other != "":
		d.quarantine(CodeOpenIDChanged) // G2
	case f.imported != nil:
		d.importedRow() // G3, G6
	case f.unionID == "":
		d.unknownUnionID() // N
	default:
		d.knownUnionID() // P, W
	}
	d.finish()
	return d.plan
}

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

	merges []*user  // guests that are replaced
	into   survivor // by him

	linkRow    bool    // insert or repair the identity row
	fill       *string // set the unionid's user; nil: leave it, "" inserts an empty one
	bindPhone  string  // who gets the phone; empty: nobody
	setVisitor string  // guest of the visitor row; empty: leave it
	dropVisit  bool    // the visitor row goes
	seen       *user   // was here, for the first time in a while

	linked   bool      // the openid is stored under the unionid afterwards
	conflict *conflict // what is refused
}

// writes says whether there is anything to store. A new guest alone is not: he
// is stored nowhere until he is linked or gets a visitor row.
func (p *plan) writes() bool {
	return p.conflict != nil || len(p.merges) > 0 || p.linkRow || p.fill != nil || p.bindPhone != "" || p.setVisitor != "" || p.dropVisit || p.seen != nil
}

// decider carries a decision through the guards and tables.
type decider struct {
	*facts
	plan
	member *user // the session's, or who takes his place; nil: none
	guest  *user // the session's; nil: none
}

// say notes a code. Of several, the weightiest counts; of two that weigh the
// same, the first.
func (d *decider) say(c Code) {
	if weight(c) > weight(d.code) {
		d.code = c
	}
}

func weight(c Code) int {
	switch c {
	case "":
		return 0
	case CodeStaleGuest, CodeGuestOwnedByOther:
		return 1
	case CodeUnionIDMissing:
		return 2
	case CodeAuthRequired, CodePhoneRequired:
		return 3
	}
	return 4 // refusals, and what else becomes of a phone
}

// refuse says so, and opens a conflict.
func (d *decider) refuse(c conflict) {
	d.say(c.code)
	if d.conflict == nil {
		d.conflict = &c
	}
}

// serveUser makes u the one who is served.
func (d *decider) serveUser(u *user) { d.serve, d.kind = u.id, u.kind }

// serveNewGuest does so with a new guest, or with nobody if guests are off.
func (d *decider) serveNewGuest() {
	d.serve, d.kind = newGuest, Guest
	if d.rules.GuestsOff {
		d.serve, d.kind = "", Nobody
	}
}

// mergeInto replaces guests by who is served; nil ones and he himself are left
// out. The reason given first counts.
func (d *decider) mergeInto(to survivor, guests ...*user) {
	to.reason = cmp.Or(d.into.reason, to.reason)
	d.into = to
	for _, g := range guests {
		if g != nil && g.id != to.id && !slices.ContainsFunc(d.merges, func(m *user) bool { return m.id == g.id }) {
			d.merges = append(d.merges, g)
		}
	}
}

// seenInterval is how exact a member's last_seen is, so that the visit of a
// known one seldom writes.
const seenInterval = 24 * time.Hour

// finish gives the plan what follows from its rows.
func (d *decider) finish() {
	switch {
	case d.code != "":
	case d.kind == Member:
		d.code = CodeOK
	default:
		d.code = CodeGuest
	}
	// A guest's visit is not kept. G2 writes nothing but its conflict.
	quarantined := d.code == CodeUnionIDChanged || d.code == CodeOpenIDChanged
	if d.kind == Member && !quarantined && !d.in.Unattended {
		if u := d.find(d.serve); u != nil && d.now.Sub(u.lastSeen) >= seenInterval {
			d.seen = u
		}
	}
}
