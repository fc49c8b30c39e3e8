package account

// phoneAndUnionID is table P. Where it refuses the phone, all else goes as
// without it, which is table W.
func (d *decider) phoneAndUnionID() {
	current, owner := d.currentMember(), d.phoneOwner
	switch {
	case current == nil && owner == nil: // P1
		d.bindPhone = newMember
		d.memberTakes(&user{id: newMember, kind: Member})
		return
	case current == nil && d.boundElsewhere(owner): // P4
		d.refuse(conflict{CodePhoneBoundToOtherWeChat, []string{owner.id, d.unionID}, wantsUnionID(owner.id, d.unionID)})
	case current == nil && d.idle(owner): // a phone proves no more because another WeChat comes along
		d.say(CodeSecondProofRequired)
	case current == nil: // P3
		d.member = owner
	case owner != nil && owner.id == current.id: // P2
		d.member = current
	default: // P5, P6, P7
		d.member = current
		d.attachPhone(current)
	}
	d.unionIDAlone()
}

// currentMember is the member of the unionid, or the session's member where he
// may become it. He takes the place of another member's session.
func (d *decider) currentMember() *user {
	switch {
	case d.ownerOf != nil && d.ownerOf.kind == Member:
		return d.ownerOf
	case d.member != nil && !d.boundElsewhere(d.member):
		return d.member
	}
	return nil
}
