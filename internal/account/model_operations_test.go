package account

import (
	"slices"
	"strings"
)

// unbind is O1. A user's credentials are his phone and his rows.
func (m *model) unbind(user string, union modelUnionID) Code {
	m.told = nil
	others := slices.DeleteFunc(m.rowsOf(user), func(at modelOpenID) bool { return m.rows[at].union == union })
	if m.users[user].phone == "" && len(others) == 0 {
		return "last_credential"
	}
	for _, r := range m.rows {
		if r.union == union {
			m.tell("identity.unlinked %s", union.unionID)
		}
	}
	m.drop(union)
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
	m.closeConflictsOf(user)
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
	if seen := m.users[from].seen; seen.After(m.users[to].seen) {
		m.users[to].seen = seen
	}
	m.merge(from, to)
	m.closeConflictsOf(from, to)
	return true
}

// closeConflictsOf ends those that name all of some users.
func (m *model) closeConflictsOf(users ...string) {
	for c := range m.conflicts {
		if !slices.ContainsFunc(users, func(id string) bool { return !slices.Contains(strings.Fields(c.parties), id) }) {
			delete(m.conflicts, c)
			m.tell("conflict.closed %s", c.code)
		}
	}
}

// mapOpenID is O4 for one line of the map. A line whose new openid is somebody
// else's changes nothing.
func (m *model) mapOpenID(from, to modelOpenID, retireOld bool) {
	owner, user := m.standsAt(from), m.standsAt(to)
	_, old := m.rows[from]
	_, taken := m.rows[to]
	switch {
	case owner == "" && !old && user == "", owner != user && owner != "" && taken:
		return
	case owner == "" || owner == user:
	case m.member(owner):
		m.rows[to] = modelRow{user: owner}
	case user == "":
		m.visitors[to] = owner
	case len(m.rowsOf(owner)) > 0 && len(m.rowsOf(user)) > 0:
		return
	case len(m.rowsOf(user)) > 0 || len(m.rowsOf(owner)) == 0 && m.older(owner, user) == user:
		m.merge(owner, user)
	default:
		m.merge(user, owner)
	}
	if retireOld {
		m.retire(from)
	}
}

// standsAt is the user of an openid.
func (m *model) standsAt(at modelOpenID) string {
	switch row, known := m.rows[at]; {
	case !known:
		return m.visitors[at]
	case row.imported():
		return row.user
	default:
		return m.owners[row.union]
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
