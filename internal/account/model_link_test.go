package account

import (
	"cmp"
	"slices"
)

// modelVisit is one call of the model's Link.
type modelVisit struct {
	*model
	in    Input
	at    modelOpenID
	union modelUnionID // of this call: told, stored or a stand-in; zero: unknown

	user string // of the session, as the guards leave it
	// What the codes are made of, the weightiest first.
	refused, asked, missing, stale Code

	settled bool // the openid is stored under the unionid
}

// link is the operation: the guards in their order, then the tables.
func (m *model) link(in Input) Outcome {
	m.told = nil
	moot := m.moot()
	v := &modelVisit{model: m, in: in, at: modelOpenID{in.AppID, in.OpenID}, user: in.UserID}
	if in.UserKind == Guest && in.UserID != "" && m.users[in.UserID] == nil {
		m.born[in.UserID] = in.UserBorn
	}
	if in.Snapshot { // G1
		return v.outcome(m.newGuest(), CodeSnapshot)
	}
	v.findUnion()
	v.guardUser()
	user := v.guarded()
	v.closeConflicts(moot)
	return v.outcome(user, "")
}

// findUnion takes the given unionid, else the stored one, else the stand-in.
func (v *modelVisit) findUnion() {
	row, known := v.rows[v.at]
	switch {
	case v.in.OpenID == "":
	case v.in.UnionID != "":
		v.union = modelUnionID{unionID: v.in.UnionID}
	case known && !row.imported():
		v.union = row.union
	case v.rules.StandIns[v.in.AppID]:
		v.union = modelUnionID{v.in.AppID, v.in.OpenID}
	}
}

// guardUser is G0 and G5.
func (v *modelVisit) guardUser() {
	u := v.users[v.user]
	switch {
	case v.user == "":
		return
	case u == nil: // a guest of a token, or a member without a row
		if v.in.UserKind == Member {
			v.user = ""
		}
		return
	case u.into != "":
		proof := v.union
		if proof == (modelUnionID{}) {
			proof = v.sealed()
		}
		if u.kind == Guest && v.member(u.into) && v.owners[proof] != u.into {
			v.user, v.stale = "", CodeStaleGuest
			return
		}
		v.user = u.into
	}
	if v.users[v.user].cancelled {
		v.user = ""
	}
}

// sealed is the unionid that the session was given, a stand-in where that was
// its openid.
func (v *modelVisit) sealed() modelUnionID {
	if v.in.SessionUnionID == v.in.SessionOpenID {
		return modelUnionID{v.in.SessionAppID, v.in.SessionOpenID}
	}
	return modelUnionID{unionID: v.in.SessionUnionID}
}

// guarded is G2, G3 and G6, then the tables.
func (v *modelVisit) guarded() string {
	row, known := v.rows[v.at]
	if v.in.UnionID != "" {
		if known && row.union.unionID != "" && !row.standIn() && row.union != v.union {
			v.refuse(CodeUnionIDChanged, wantRow(v.at, v.in.UnionID), v.at.appID, v.at.openID, v.in.UnionID)
			return v.quarantine()
		}
		for at, r := range v.rows {
			if at.appID == v.at.appID && at != v.at && r.union == v.union {
				v.refuse(CodeOpenIDChanged, wantRow(v.at, v.in.UnionID), v.at.appID, v.at.openID, v.in.UnionID)
				return v.quarantine()
			}
		}
	}
	imported := v.repairs()
	if v.union == (modelUnionID{}) {
		return v.unknown(imported)
	}
	if imported != "" { // G3, or G6 with a unionid
		owner := v.owners[v.union]
		if v.member(owner) && owner != imported || v.rules.Linking != ManyUnionIDs && v.bound(imported, v.union) {
			v.refuse(CodeRepairConflict, wantRow(v.at, v.union.unionID), imported, v.union.unionID)
			v.mergeFree(imported)
			return imported
		}
		v.fill(imported)
		if v.user != "" && v.member(v.user) {
			v.user = imported
		}
	}
	if v.guest() && !v.free(v.user, v.at) && v.owners[v.union] != v.user && v.user != v.ownGuest() {
		v.user, v.stale = "", CodeGuestOwnedByOther
	}
	if v.in.Phone != "" {
		return v.tableP()
	}
	return v.tableW()
}

// repairs is the member whose row has no unionid yet, or only a stand-in while
// a real one is told.
func (v *modelVisit) repairs() string {
	row, known := v.rows[v.at]
	switch {
	case !known:
		return ""
	case row.imported():
		return row.user
	case row.union != v.union && v.member(v.owners[row.union]):
		return v.owners[row.union]
	}
	return ""
}

func (v *modelVisit) guest() bool { return v.user != "" && !v.member(v.user) }

// ownGuest is the guest that stands at this openid: as its visitor, or under a
// stand-in that a real unionid replaces.
func (v *modelVisit) ownGuest() string {
	if row, known := v.rows[v.at]; known && row.standIn() && row.union != v.union {
		if owner := v.owners[row.union]; !v.member(owner) {
			return owner
		}
	}
	guest := v.visitors[v.at]
	if len(v.rowsOf(guest)) > 0 && v.owners[v.union] != guest {
		return "" // stands under another unionid: neither free nor proven
	}
	return guest
}

// refuse says so, and opens a conflict. The first refusal counts.
func (v *modelVisit) refuse(code Code, want string, parties ...string) {
	v.refused = code
	v.conflict(code, want, parties...)
}

// quarantine is G2: what table N names, without writing.
func (v *modelVisit) quarantine() string {
	if v.user != "" && v.member(v.user) {
		return v.user
	}
	return v.keptGuest(false)
}

// mergeFree takes the session's free guest and the openid's visitor along.
func (v *modelVisit) mergeFree(to string) {
	visitor := v.ownGuest()
	if len(v.rowsOf(visitor)) > 0 { // the unionid's own, and stays it
		visitor = ""
	}
	delete(v.visitors, v.at)
	if v.guest() && v.free(v.user, v.at) && v.user != visitor {
		v.merge(v.user, to)
	}
	if visitor != "" {
		v.merge(visitor, to)
	}
}

// fill gives an imported row its unionid, and the unionid its user.
func (v *modelVisit) fill(user string) {
	before := v.owners[v.union]
	v.owners[v.union] = user
	v.insert()
	v.merge(before, user)
	if v.user == before {
		v.user = "" // proven, and merged
	}
}

// insert stores the row of this openid and unionid.
func (v *modelVisit) insert() {
	row, known := v.rows[v.at]
	if known && row.union == v.union {
		return
	}
	if known && row.standIn() {
		delete(v.owners, row.union)
	}
	v.rows[v.at] = modelRow{union: v.union}
	v.tell("identity.linked %s/%s", v.at.appID, v.at.openID)
}

// settle is the last line of the operation: all rows of the unionid get the
// winner, and every replaced guest merges into him.
func (v *modelVisit) settle(winner string) string {
	v.settled = true
	guests := []string{v.ownGuest(), v.owners[v.union]}
	if v.guest() {
		guests = append(guests, v.user)
	}
	if winner != "" {
		v.store(winner)
	}
	v.owners[v.union] = winner
	v.insert()
	delete(v.visitors, v.at)
	slices.Sort(guests)
	for _, g := range slices.Compact(guests) {
		if !v.member(g) {
			v.merge(g, winner)
		}
	}
	return winner
}

// candidate is the guest that the unionid has or gets.
func (v *modelVisit) candidate() string {
	if owner := v.owners[v.union]; owner != "" {
		return owner
	}
	best := v.ownGuest()
	if v.guest() && (best == "" || v.older(best, v.user) == v.user) {
		best = v.user
	}
	if best == "" {
		best = v.newGuest()
	}
	return best
}

// tableW is a known unionid without a phone.
func (v *modelVisit) tableW() string {
	owner, user := v.owners[v.union], v.user
	if user == "" || !v.member(user) {
		return v.tableWGuest(owner)
	}
	switch {
	case v.member(owner) && owner != user: // W16
		v.refuse(CodeWeChatBoundToOtherUser, wantUnion(user, v.union), user, v.union.unionID, owner)
		v.settle(owner)
		if v.in.Outside || v.in.SessionAppID == v.at.appID && v.in.SessionOpenID == v.at.openID {
			return user
		}
		return owner
	case owner != user && v.rules.Linking != ManyUnionIDs && v.bound(user, v.union): // W18
		v.refuse(CodeUserIDBoundToOtherWeChat, wantUnion(user, v.union), user, v.union.unionID)
		if v.in.Outside {
			return user
		}
		v.user = ""
		return v.settle(v.candidate())
	}
	return v.settle(user) // W12 to W15
}

func (v *modelVisit) tableWGuest(owner string) string {
	switch {
	case v.member(owner): // W4, W10, W17
		return v.settle(owner)
	case v.in.Want == WantLogin && cmp.Or(v.rules.FirstLogin, FirstLoginWeChat) == FirstLoginWeChat: // W19
		return v.settle(v.newMember(""))
	case v.in.Want == WantLogin:
		v.asked = CodePhoneRequired
	}
	return v.settle(v.candidate())
}

// outcome puts the code together.
func (v *modelVisit) outcome(user string, code Code) Outcome {
	out := Outcome{UserID: user}
	known := CodeGuest
	switch {
	case v.member(user):
		out.Kind, known = Member, CodeOK
		if v.refused != CodeUnionIDChanged && v.refused != CodeOpenIDChanged { // G2 writes nothing
			v.users[user].seen = v.now
		}
	case user != "":
		out.Kind, out.Born = Guest, v.bornAt(user)
	}
	out.Code = cmp.Or(code, v.refused, v.asked, v.missing, v.stale, known)
	if v.settled {
		out.UnionID = v.union.unionID
	}
	return out
}
