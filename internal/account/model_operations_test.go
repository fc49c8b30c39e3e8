package account

import "slices"

// unbind is O1. A user's credentials are his phone and his rows.
func (m *model) unbind(user string, union modelUnionID) Code {
	m.told = nil
	others := slices.DeleteFunc(m.rowsOf(user), func(at modelOpenID) bool { return m.rows[at].union == union })
	if m.users[user].phone == "" && len(others) == 0 {
		return "last_credential"
	}
	m.drop(union)
	m.tell("identity.unlinked %s", union.unionID)
	return CodeOK
}

// drop forgets a unionid.
func (m *model) drop(union modelUnionID) {
	for at, r := range m.rows {
		if r.union == union {
			delete(m.rows, at)
		}
	}
	delete(m.owners, union)
}

// cancel is O2.
func (m *model) cancel(user string) Code {
	m.told = nil
	for _, at := range m.rowsOf(user) {
		if r := m.rows[at]; r.imported() {
			delete(m.rows, at)
		} else {
			m.drop(r.union)
		}
	}
	for _, at := range m.visitorsOf(user) {
		delete(m.visitors, at)
	}
	u := m.users[user]
	u.phone, u.cancelled = "", true
	m.tell("user.cancelled %s", user)
	return CodeOK
}

// join is O3.
func (m *model) join(from, to string) (ok bool) {
	m.told = nil
	for k, owner := range m.owners {
		if m.rules.Linking != ManyUnionIDs && owner == from && m.bound(to, k) {
			return false
		}
	}
	if u := m.users[from]; u.phone != "" {
		u.phone = ""
		m.tell("phone.unbound %s", from)
	}
	m.merge(from, to)
	return true
}

// mapOpenID is O4 for one line of the map.
func (m *model) mapOpenID(from, to modelOpenID, retireOld bool) {
	row, known := m.rows[from]
	guest := m.visitors[from]
	owner := row.user
	if known && !row.imported() {
		owner = m.owners[row.union]
	}
	if m.member(owner) {
		m.rows[to] = modelRow{user: owner}
	} else if guest = max(guest, owner); guest != "" {
		m.visitors[to] = guest
	}
	if retireOld {
		m.retire(from)
	}
}

// retire removes an openid, and its unionid with the last row.
func (m *model) retire(at modelOpenID) {
	row := m.rows[at]
	delete(m.rows, at)
	delete(m.visitors, at)
	for _, r := range m.rows {
		if r.union == row.union {
			return
		}
	}
	delete(m.owners, row.union)
}

// rebind is O5: what hung on unionids of the other Open Platform account hangs
// on openids until the new ones arrive.
func (m *model) rebind(app string) {
	m.told = nil
	for at, r := range m.rows {
		if at.appID != app || r.imported() || r.standIn() {
			continue
		}
		owner := m.owners[r.union]
		m.retire(at)
		switch {
		case m.member(owner):
			m.rows[at] = modelRow{user: owner}
		case owner != "":
			m.visitors[at] = owner
		}
	}
}
