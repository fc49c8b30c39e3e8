package account

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// model is the accounts as the tables of the linking rules say, in maps. It was
// written from the rules alone, to be compared with what the database does.
type model struct {
	users     map[string]*modelUser
	owners    map[modelUnionID]string // user id; empty: nobody yet
	rows      map[modelOpenID]modelRow
	visitors  map[modelOpenID]string
	conflicts map[modelConflict]bool // open ones

	rules Rules
	many  bool // the policy was many_unionids for a while
	now   time.Time
	mint  func(Kind) string // id of a new user
	told  []string          // events of this call
	born  map[string]time.Time
}

type (
	modelOpenID  struct{ appID, openID string }
	modelUnionID struct{ scope, unionID string } // scope: the app of a stand-in
	modelUser    struct {
		kind       Kind
		born, seen time.Time
		into       string // merged into
		cancelled  bool
		phone      Phone
	}
	// modelRow is an identity: of a unionid, or imported, of a user.
	modelRow struct {
		union modelUnionID
		user  string
	}
)

func newModel(rules Rules) *model {
	if rules.PhoneIdle == 0 {
		rules.PhoneIdle = DefaultPhoneIdle
	}
	return &model{
		users: map[string]*modelUser{}, owners: map[modelUnionID]string{}, rows: map[modelOpenID]modelRow{},
		visitors: map[modelOpenID]string{}, conflicts: map[modelConflict]bool{}, born: map[string]time.Time{}, rules: rules,
	}
}

func (r modelRow) imported() bool { return r.union == modelUnionID{} }
func (r modelRow) standIn() bool  { return r.union.scope != "" }

func (m *model) tell(format string, args ...any) {
	m.told = append(m.told, fmt.Sprintf(format, args...))
}

func (m *model) member(id string) bool { return m.users[id] != nil && m.users[id].kind == Member }

func (m *model) phoneOwner(phone Phone) string {
	for id, u := range m.users {
		if phone != "" && u.phone == phone {
			return id
		}
	}
	return ""
}

// bound says whether a user has a unionid of a scope besides one.
func (m *model) bound(id string, besides modelUnionID) bool {
	for k, owner := range m.owners {
		if owner == id && k.scope == besides.scope && k != besides {
			return true
		}
	}
	return false
}

// rowsOf are the identity rows of a user.
func (m *model) rowsOf(id string) (all []modelOpenID) {
	if id == "" {
		return nil
	}
	for at, r := range m.rows {
		if r.user == id || !r.imported() && m.owners[r.union] == id {
			all = append(all, at)
		}
	}
	return all
}

// visitorsOf are the openids whose visitor is a guest.
func (m *model) visitorsOf(id string) (all []modelOpenID) {
	for at, guest := range m.visitors {
		if guest == id {
			all = append(all, at)
		}
	}
	return all
}

// free says that a guest stands nowhere but at this openid's visitor row.
func (m *model) free(guest string, here modelOpenID) bool {
	elsewhere := slices.DeleteFunc(m.visitorsOf(guest), func(at modelOpenID) bool { return at == here })
	return len(m.rowsOf(guest)) == 0 && len(elsewhere) == 0
}

// older is, of two guests who are not linked to the unionid, the one who
// survives. Of two numbers the one with fewer digits is the smaller.
func (m *model) older(a, b string) string {
	numbers := a[0] <= '9' && b[0] <= '9'
	switch {
	case m.bornAt(a).Before(m.bornAt(b)):
		return a
	case m.bornAt(b).Before(m.bornAt(a)):
		return b
	case numbers && len(a) < len(b):
		return a
	case numbers && len(b) < len(a):
		return b
	}
	return min(a, b)
}

func (m *model) bornAt(guest string) time.Time {
	if u := m.users[guest]; u != nil {
		return u.born
	}
	return m.born[guest]
}

// store gives a guest of a token its row.
func (m *model) store(guest string) {
	if m.users[guest] == nil {
		m.users[guest] = &modelUser{kind: Guest, born: m.born[guest]}
	}
}

func (m *model) newMember(phone Phone) string {
	id := m.mint(Member)
	m.users[id] = &modelUser{kind: Member, seen: m.now}
	m.tell("user.created %s", id)
	m.bindPhone(id, phone)
	return id
}

func (m *model) bindPhone(id string, phone Phone) {
	if phone != "" {
		m.users[id].phone = phone
		m.tell("phone.bound %s", id)
	}
}

func (m *model) newGuest() string {
	if m.rules.GuestsOff {
		return ""
	}
	id := m.mint(Guest)
	if m.born[id].IsZero() {
		m.born[id] = m.now
	}
	return id
}

// merge makes everything of one user answer to another.
func (m *model) merge(from, to string) {
	if from == "" || from == to {
		return
	}
	m.store(from)
	m.store(to)
	m.users[from].into = to
	for _, u := range m.users {
		if u.into == from {
			u.into = to
		}
	}
	for k, owner := range m.owners {
		if owner == from {
			m.owners[k] = to
		}
	}
	for at, r := range m.rows {
		if r.user == from {
			m.rows[at] = modelRow{user: to}
		}
	}
	for _, at := range m.visitorsOf(from) {
		if m.visitors[at] = to; m.member(to) {
			delete(m.visitors, at)
		}
	}
	m.tell("user.merged %s->%s", from, to)
}

// aliases are the ids that answer to a user now.
func (m *model) aliases(to string) (ids []string) {
	for id, u := range m.users {
		if u.into == to {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// stored is all that is kept, one line each, in order.
func (m *model) stored() []string {
	lines := []string{}
	for at, r := range m.rows {
		if r.imported() {
			lines = append(lines, fmt.Sprintf("imported %s %s %s", at.appID, at.openID, r.user))
		} else {
			lines = append(lines, fmt.Sprintf("identity %s %s [%s]%s %s", at.appID, at.openID, r.union.scope, r.union.unionID, m.owners[r.union]))
		}
	}
	for at, guest := range m.visitors {
		lines = append(lines, fmt.Sprintf("visitor %s %s %s", at.appID, at.openID, guest))
	}
	for id, u := range m.users {
		lines = append(lines, fmt.Sprintf("%s %s into=%s cancelled=%t phone=%s", u.kind, id, u.into, u.cancelled, string(u.phone)))
	}
	slices.Sort(lines)
	return lines
}

// clone is a model that goes its own way.
func (m *model) clone() *model {
	c := *m
	c.owners, c.rows, c.visitors = maps.Clone(m.owners), maps.Clone(m.rows), maps.Clone(m.visitors)
	c.conflicts, c.born, c.told = maps.Clone(m.conflicts), maps.Clone(m.born), slices.Clone(m.told)
	c.users = map[string]*modelUser{}
	for id, u := range m.users {
		u := *u
		c.users[id] = &u
	}
	return &c
}

// modelConflict is what was refused: to whom, and what was wanted.
type modelConflict struct {
	code          Code
	parties, want string
}

// Wants are facts; once a Link makes one true, its conflicts are over.

func wantRow(at modelOpenID, unionid string) string {
	return fmt.Sprintf("row %s %s %s", at.appID, at.openID, unionid)
}

func wantUnion(user string, union modelUnionID) string {
	return fmt.Sprintf("unionid %s %s", user, union.unionID)
}

func wantPhone(user string, phone Phone) string {
	return fmt.Sprintf("phone %s %s", user, string(phone))
}

func (m *model) true(want string) bool {
	for at, r := range m.rows {
		if !r.imported() && (want == wantRow(at, r.union.unionID) || want == wantUnion(m.owners[r.union], r.union)) {
			return true
		}
	}
	for id, u := range m.users {
		if u.phone != "" && want == wantPhone(id, u.phone) {
			return true
		}
	}
	return false
}

// conflict opens one, once: the same refusal of the same parties is the same,
// whatever was wanted.
func (m *model) conflict(code Code, want string, parties ...string) {
	c := modelConflict{code, strings.Join(parties, " "), want}
	for open := range m.conflicts {
		if open.code == c.code && open.parties == c.parties {
			return
		}
	}
	m.conflicts[c] = true
	m.tell("conflict.opened %s", code)
}

// moot are the conflicts whose want an operation has made true: it ends only
// those that name both of whom it merges.
func (m *model) moot() map[modelConflict]bool {
	moot := maps.Clone(m.conflicts)
	maps.DeleteFunc(moot, func(c modelConflict, _ bool) bool { return !m.true(c.want) })
	return moot
}

// closeConflicts ends those whose want has come true, but for those that were
// moot before.
func (m *model) closeConflicts(moot map[modelConflict]bool) {
	for c := range m.conflicts {
		if m.true(c.want) && !moot[c] {
			delete(m.conflicts, c)
			m.tell("conflict.closed %s", c.code)
		}
	}
}
