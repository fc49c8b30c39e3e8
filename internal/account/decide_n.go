package account

import (
	"cmp"
	"time"
)

// unknownUnionID is table N.
func (d *decider) unknownUnionID() {
	if d.phone.key != "" && d.phoneAlone() { // N5
		return
	}
	if d.member != nil { // N4
		if d.named != nil {
			d.joinGuests(survivor{d.member.id, Member, "login"})
		}
		d.serveUser(d.member)
		d.missUnionID()
		return
	}
	d.guestOfN()
	if d.in.Want == WantLogin { // N6
		d.say(d.loginStep())
	}
}

// missUnionID says that WeChat has told an openid and no unionid.
func (d *decider) missUnionID() {
	if d.in.OpenID != "" {
		d.say(CodeUnionIDMissing)
	}
}

// loginStep is what N6 asks for.
func (d *decider) loginStep() Code {
	if d.in.InBrowser && !d.in.Outside && !d.in.Consented {
		return CodeAuthRequired
	}
	return CodePhoneRequired
}

// guestOfN finds the guest of a visitor whose unionid is unknown.
func (d *decider) guestOfN() {
	known := d.visitor
	if d.guest != nil && !d.free(d.guest) && d.guest.id == d.sessionUser { // N3c
		d.serveUser(d.guest)
		return
	}
	if known == nil || d.guest == nil || d.guest.id != known.id {
		d.dropForeignGuest()
	}
	came := d.guest
	switch {
	case came == nil && known == nil: // N1
		d.serveNewGuest()
		d.visits(d.serve)
	case came == nil, known != nil && came.id == known.id: // N2
		d.serveUser(known)
	case known == nil: // N3b
		d.serveUser(came)
		d.visits(came.id)
	default: // N3
		older := oldest(came, known)
		if !d.free(known) { // linked already
			older = known
		}
		d.mergeInto(survivor{older.id, Guest, "visitor"}, came, known)
		d.serveUser(older)
		if older.id != known.id {
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

// phoneAlone is N5: a phone was verified where no unionid is known. It changes
// nobody's WeChat links, and nobody's phone but by giving a first one. False
// means that it changes nothing, and all goes on as without it.
func (d *decider) phoneAlone() bool {
	person, owner := d.member, d.phoneOwner
	switch {
	case person == nil && owner == nil:
		d.serve, d.kind, d.bindPhone = newMember, Member, newMember
	case person == nil && d.idle(owner):
		d.say(CodeSecondProofRequired)
		return false
	case person == nil, owner != nil && owner.id == person.id: // a login
		d.serveUser(owner)
	case d.attachPhone(person):
		d.serveUser(person)
	default:
		return false
	}
	d.joinGuests(survivor{d.serve, Member, "login"})
	d.missUnionID()
	return true
}

// idle says whether a member who has a WeChat was away for so long that the
// carrier may have given his number to somebody else.
func (d *decider) idle(u *user) bool {
	return u.hasWeChat() && d.rules.idle(u, d.now)
}

// idle says whether a member was away for phone_idle.
func (r Rules) idle(u *user, now time.Time) bool {
	return now.Sub(u.lastSeen) >= cmp.Or(r.PhoneIdle, DefaultPhoneIdle)
}

// attachPhone gives the verified phone to u, or says why it cannot.
func (d *decider) attachPhone(u *user) bool {
	switch {
	case d.phoneOwner != nil: // N5, P7
		d.refuse(conflict{CodePhoneOwnedByOtherUser, []string{u.id, d.phoneOwner.id, d.phone.number.String()}, wantsPhone(u.id, d.phone.key)})
		return false
	case u.phoneKey != "": // N5, P6
		d.say(CodePhoneChangeNeedsFlow)
		return false
	}
	d.bindPhone = u.id // N5, P5
	return true
}

// joinGuests merges the session's guest, if he is free, and the visitor row's,
// and the row goes.
func (d *decider) joinGuests(to survivor) {
	d.dropForeignGuest()
	d.mergeInto(to, d.guest, d.known())
	d.dropVisit = d.visitor != nil
}
