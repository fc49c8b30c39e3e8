package account

// knownUnionID decides where a unionid is known.
func (d *decider) knownUnionID() {
	d.dropForeignGuest() // W11
	if d.phone.key != "" {
		d.phoneAndUnionID() // P
		return
	}
	d.unionIDAlone() // W
}

// unionIDAlone is table W.
func (d *decider) unionIDAlone() {
	switch {
	case d.member != nil:
		d.memberMeetsUnionID()
	case d.ownerOf != nil && d.ownerOf.kind == Member: // W4, W10, W17
		d.memberTakes(d.ownerOf)
	case d.in.Want == WantLogin && d.rules.FirstLogin != FirstLoginWeChatPhone && d.conflict == nil: // W19
		d.memberTakes(&user{id: newMember, kind: Member})
	default:
		d.guestTakes()
		if d.in.Want == WantLogin { // W19
			d.say(CodePhoneRequired)
		}
	}
}

// memberMeetsUnionID is W12 to W18: a member's session where a unionid is
// known.
func (d *decider) memberMeetsUnionID() {
	u := d.member
	switch {
	case d.ownedByOther(u): // W16
		d.refuse(conflict{CodeWeChatBoundToOtherUser, []string{u.id, d.unionID, d.ownerOf.id}, wantsUnionID(u.id, d.unionID)})
		d.memberTakes(d.ownerOf)
		if d.in.Outside || d.createdHere() {
			d.serveUser(u)
		}
	case d.proven(u): // W15
		d.memberTakes(u)
	case d.boundElsewhere(u): // W18
		d.refuse(conflict{CodeUserIDBoundToOtherWeChat, []string{u.id, d.unionID}, wantsUnionID(u.id, d.unionID)})
		if d.in.Outside {
			d.serveUser(u)
			return
		}
		d.guestTakes()
	default: // W12, W13, W14
		d.memberTakes(u)
	}
}

// createdHere says whether the session was created under this very openid.
func (d *decider) createdHere() bool {
	return d.in.SessionAppID == d.in.AppID && d.in.SessionOpenID == d.in.OpenID
}

// memberTakes serves a member as the unionid's: its rows become his, and every
// guest there is merges into him.
func (d *decider) memberTakes(u *user) {
	d.takes(u.id)
	d.serveUser(u)
	d.mergeInto(survivor{u.id, Member, "login"}, d.ownerGuest(), d.guest, d.known())
}

// guestTakes leaves the unionid to a guest: the one it has, else the oldest of
// the others, else a new one. The rest merges into him.
func (d *decider) guestTakes() {
	winner := d.ownerGuest() // W3, W8, W9, W11
	if winner == nil {
		winner = oldest(d.guest, d.known()) // W5, W6, W7
	}
	if winner == nil { // W1, W2, W11
		d.serveNewGuest()
		d.takes(d.serve)
		return
	}
	d.takes(winner.id)
	d.serveUser(winner)
	d.mergeInto(survivor{winner.id, Guest, "visitor"}, d.guest, d.known())
}

// takes gives the unionid to a user, unless it is his already, stores this
// row, and the visitor row goes.
func (d *decider) takes(id string) {
	if d.owner == nil || d.owner.userID != id {
		d.fill = &id
	}
	d.linkRow = d.own == nil || d.own.unionIDKey != d.unionIDKey
	d.dropVisit = d.visitor != nil
	d.linked = true
}

// ownerGuest is the guest whom the unionid has, S2.
func (d *decider) ownerGuest() *user {
	if d.ownerOf != nil && d.ownerOf.kind == Guest {
		return d.ownerOf
	}
	return nil
}

// oldest returns the older of guests; nil ones are left out.
func oldest(guests ...*user) *user {
	var oldest *user
	for _, g := range guests {
		if g != nil && (oldest == nil || g.olderThan(oldest)) {
			oldest = g
		}
	}
	return oldest
}
