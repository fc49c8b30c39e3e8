package account

import "cmp"

// unknown is table N: nobody knows the unionid. Imported is the member of this
// openid's imported row, if it has one.
func (v *modelVisit) unknown(imported string) string {
	person := imported
	if person == "" && v.user != "" && v.member(v.user) {
		person = v.user
	}
	if v.at.openID != "" && person != "" {
		v.missing = CodeUnionIDMissing
	}
	if v.in.Phone != "" {
		if user, done := v.tableN5(person); done {
			return user
		}
	}
	switch {
	case imported != "": // G6
		v.mergeFree(imported)
		return imported
	case person != "": // N4
		return person
	case v.in.Want == WantLogin: // N6
		v.asked = CodePhoneRequired
		if v.in.InBrowser && !v.in.Consented {
			v.asked = CodeAuthRequired
		}
	}
	return v.keptGuest(true)
}

// keptGuest is N1 to N3c, and the row of guests that are not free.
func (v *modelVisit) keptGuest(write bool) string {
	v0 := v.visitors[v.at]
	if !write {
		v0 = cmp.Or(v0, v.ownGuest())
	}
	kept := v0
	switch {
	case v.user == "" || v.user == v0:
	case !v.free(v.user, v.at):
		if v.ownsSession() { // N3c
			return v.user
		}
		v.user, v.stale = "", CodeGuestOwnedByOther
	case v0 == "":
		kept = v.user
	case v.ownGuest() != v0: // linked already
	default: // N3
		kept = v.older(v.user, v0)
	}
	if kept == "" {
		kept = v.newGuest()
	}
	if kept == "" || v.at.openID == "" || !write {
		return kept
	}
	v.store(kept)
	v.visitors[v.at] = kept
	if v.guest() && v.user != kept {
		v.merge(v.user, kept)
	}
	if v0 != "" && v0 != kept {
		v.merge(v0, kept)
	}
	return kept
}

// ownsSession says that the session was created under its guest's own openid.
func (v *modelVisit) ownsSession() bool {
	at := modelOpenID{v.in.SessionAppID, v.in.SessionOpenID}
	if v.visitors[at] == v.user {
		return true
	}
	row, known := v.rows[at]
	return known && !row.imported() && v.owners[row.union] == v.user
}

// tableN5 is a phone without a unionid. Done is false where all goes on as
// without the phone.
func (v *modelVisit) tableN5(person string) (user string, done bool) {
	owner := v.phoneOwner(v.in.Phone)
	switch {
	case person == "" && owner == "":
		person = v.newMember(v.in.Phone)
	case person == "":
		if v.idle(owner) {
			v.refused = CodeSecondProofRequired
			return "", false
		}
		person = owner
	case owner == person:
	case owner != "":
		v.refuse(CodePhoneOwnedByOtherUser, wantPhone(person, v.in.Phone), person, owner, v.in.Phone.String())
		return "", false
	case v.users[person].phone == "":
		v.bindPhone(person, v.in.Phone)
	default:
		v.refused = CodePhoneChangeNeedsFlow
		return "", false
	}
	if v.at.openID != "" {
		v.missing = CodeUnionIDMissing
	}
	if v.guest() && !v.free(v.user, v.at) {
		v.stale = CodeGuestOwnedByOther
	}
	v.mergeFree(person)
	return person, true
}

// idle says that a member who has a WeChat was away for too long.
func (v *modelVisit) idle(id string) bool {
	return len(v.rowsOf(id)) > 0 && v.now.Sub(v.users[id].seen) > v.rules.PhoneIdle
}

// tableP is a known unionid and a phone.
func (v *modelVisit) tableP() string {
	owner, current := v.phoneOwner(v.in.Phone), v.owners[v.union]
	session := v.user != "" && v.member(v.user)
	many := v.rules.Linking == ManyUnionIDs
	if !v.member(current) {
		current = ""
		if session && (many || !v.bound(v.user, v.union)) {
			current = v.user
		}
	}
	kept := v.user // the session's member, if it is replaced
	if session {
		v.user = ""
	}
	switch {
	case current == "" && owner == "": // P1
		return v.settle(v.newMember(v.in.Phone))
	case current == "" && !many && v.bound(owner, v.union): // P4
		v.refuse(CodePhoneBoundToOtherWeChat, wantUnion(owner, v.union), owner, v.union.unionID)
		if session && v.in.Outside {
			return kept
		}
		return v.settle(v.candidate())
	case current == "" && v.idle(owner):
		v.user = kept
		user := v.tableW()
		v.refused = CodeSecondProofRequired
		return user
	case current == "": // P3
		return v.settle(owner)
	case owner == current: // P2
	case owner != "": // P7
		v.refuse(CodePhoneOwnedByOtherUser, wantPhone(current, v.in.Phone), current, owner, v.in.Phone.String())
	case v.users[current].phone == "": // P5
		v.bindPhone(current, v.in.Phone)
	default: // P6
		v.refused = CodePhoneChangeNeedsFlow
	}
	return v.settle(current)
}
