package account

import "slices"

// guardIncoming is G0 and G5: whom the session's user id stands for.
func (d *decider) guardIncoming() {
	who := d.came
	switch {
	case who == nil:
		return
	case d.ended(who), who.kind != d.in.UserKind: // G0
		// A guest's token must never be a key to a member, not even where the
		// two have one id.
		return
	case d.target != nil: // G5
		if who.kind == Guest && d.target.kind == Member && !d.proves(d.target) {
			d.say(CodeStaleGuest)
			return
		}
		if who = d.target; d.ended(who) { // G0
			return
		}
	}
	if who.kind == Member {
		d.member = who
	} else {
		d.guest = who
	}
}

// ended says whether nobody is a user any more by the session that came. An
// instance may not have heard yet that it was ended, and must make no other of
// it.
func (d *decider) ended(u *user) bool {
	return u.cancelled || !d.in.UserIssued.IsZero() && u.dead(d.in.UserIssued)
}

// proves says whether this request's unionid owns the member, or, where it has
// none, the one sealed into the session.
func (d *decider) proves(member *user) bool {
	if d.unionID != "" {
		return d.owner != nil && d.owner.userID == member.id
	}
	return d.sealed != nil && d.sealed.userID == member.id
}

// quarantine is G2: what WeChat says contradicts what is stored. Nothing but
// the conflict is written; guests go on as table N would name them.
func (d *decider) quarantine(code Code) {
	d.refuse(conflict{code, []string{d.in.AppID, d.in.OpenID, d.in.UnionID}, wantsRow(d.in.AppID, d.in.OpenID, d.in.UnionID)})
	if d.member != nil {
		d.serveUser(d.member)
		return
	}
	d.guestOfN()
	d.setVisitor, d.merges = "", nil
}

// importedRow is G3 and G6: an openid that is known to be a member's, while
// its unionid is not, or only the stand-in for it. He takes the place of
// another member's session.
func (d *decider) importedRow() {
	d.member = d.imported
	switch {
	case d.unionID == "": // G6
		d.joinGuests(survivor{d.member.id, Member, "imported"})
		d.unknownUnionID()
	case d.ownedByOther(d.member), d.boundElsewhere(d.member): // G3
		d.joinGuests(survivor{d.member.id, Member, "imported"})
		d.serveUser(d.member)
		d.refuse(conflict{CodeRepairConflict, []string{d.member.id, d.unionID}, wantsRow(d.in.AppID, d.in.OpenID, d.unionID)})
	default: // G6
		d.into.reason = "repair"
		d.knownUnionID()
	}
}

// ownedByOther says whether another member than u owns the unionid.
func (d *decider) ownedByOther(u *user) bool {
	return d.ownerOf != nil && d.ownerOf.kind == Member && d.ownerOf.id != u.id
}

// boundElsewhere says whether one_to_one keeps u from the unionid, because he
// is bound to another one of its scope.
func (d *decider) boundElsewhere(u *user) bool {
	return d.rules.Linking != ManyUnionIDs && d.bindsOther(u)
}

// dropForeignGuest drops an incoming guest that is neither free nor proven. A
// proven one is the unionid's, and comes along with it.
func (d *decider) dropForeignGuest() {
	if d.guest == nil || d.free(d.guest) {
		return
	}
	if !d.proven(d.guest) {
		d.say(CodeGuestOwnedByOther)
	}
	d.guest = nil
}

// free says whether a guest stands in no identity and in no visitor row but
// this openid's. The guest of a visitor row that goes is as free, and so is
// that of a stand-in which its unionid replaces. One that was handed over is not,
// though no row may name him: whoever handed him over has him too.
func (d *decider) free(u *user) bool {
	for _, id := range u.unionIDs {
		if id != d.replaced {
			return false
		}
	}
	if d.visitor != nil && u.id == d.visitor.id {
		return true
	}
	if d.in.HandedOver && d.guest != nil && u.id == d.guest.id {
		return false
	}
	return !slices.ContainsFunc(u.visits, func(v openID) bool { return v != openID{d.in.AppID, d.in.OpenID} })
}

// proven says whether this call's unionid is the guest's.
func (d *decider) proven(u *user) bool {
	return d.owner != nil && d.owner.userID == u.id
}

// known is the guest of the visitor row, if he may be moved with it. He is left
// alone where an openid map has put him there beside the unionid he has.
func (d *decider) known() *user {
	if d.visitor == nil || !d.free(d.visitor) {
		return nil
	}
	return d.visitor
}
