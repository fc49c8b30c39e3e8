package account

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// facts are what a Link would read, if the model were the database.
func (m *model) facts(in Input) *facts {
	f := &facts{now: m.now, in: in, rules: m.rules}
	if in.Phone != "" {
		f.phone = phone{number: in.Phone, key: string(in.Phone)}
	}
	at := modelOpenID{in.AppID, in.OpenID}
	switch {
	case in.UnionID != "":
		f.unionIDKey = unionIDKey{"", in.UnionID}
	case m.rules.StandIns[in.AppID]:
		f.unionIDKey = unionIDKey{in.AppID, in.OpenID}
	}
	var n names
	if r, known := m.rows[at]; known {
		f.own = &row{unionIDKey: unionIDKey(r.union), userID: r.user}
		if !r.imported() {
			f.own.userID = m.owners[r.union]
		}
	}
	for other, r := range m.rows {
		if other.appID == at.appID && other != at && in.UnionID != "" && r.union.unionID == in.UnionID {
			f.other = other.openID
		}
	}
	f.owner = m.ownerFact(modelUnionID(f.unionIDKey))
	sealed := modelUnionID{"", in.SessionUnionID}
	if in.SessionUnionID == in.SessionOpenID {
		sealed.scope = in.SessionAppID
	}
	f.sealed = m.ownerFact(sealed)
	n.visitor, n.phone = m.visitors[at], m.phoneOwner(in.Phone)
	session := modelOpenID{in.SessionAppID, in.SessionOpenID}
	f.sessionUser = m.visitors[session]
	if r, known := m.rows[session]; known && !r.imported() && m.owners[r.union] != "" {
		f.sessionUser = m.owners[r.union]
	}
	f.placeOwn(&n)
	m.factUsers(f, n)
	return f
}

func (m *model) ownerFact(union modelUnionID) *owner {
	if id, known := m.owners[union]; known {
		return &owner{id}
	}
	return nil
}

func (m *model) factUsers(f *facts, n names) {
	users := map[string]*user{}
	for _, id := range []string{f.in.UserID, n.owner, n.holder, n.visitor, n.phone} {
		if users[id] == nil {
			users[id] = m.factUser(id)
		}
	}
	f.ownerOf, f.phoneOwner, f.visitor, f.came = users[n.owner], users[n.phone], users[n.visitor], users[f.in.UserID]
	switch holder := users[n.holder]; {
	case holder == nil:
	case holder.kind == Member:
		f.imported = holder
	default:
		f.visitor = holder
	}
	if f.came == nil && f.in.UserID != "" && f.in.UserKind == Guest {
		f.came = &user{id: f.in.UserID, kind: Guest, created: birth(f.in.UserBorn)}
	}
	if f.came != nil && f.came.mergedInto != "" {
		f.target = m.factUser(f.came.mergedInto)
	}
}

func (m *model) factUser(id string) *user {
	u := m.users[id]
	if u == nil {
		return nil
	}
	fact := &user{id: id, kind: u.kind, created: u.born, lastSeen: u.seen, mergedInto: u.into, cancelled: u.cancelled, phoneKey: string(u.phone), stored: true}
	for union, owner := range m.owners {
		if owner == id {
			fact.unionIDs = append(fact.unionIDs, unionIDKey(union))
		}
	}
	for _, at := range m.visitorsOf(id) {
		fact.visits = append(fact.visits, openID(at))
	}
	fact.imported = slices.ContainsFunc(m.rowsOf(id), func(at modelOpenID) bool { return m.rows[at].imported() })
	return fact
}

// decided does what the code decides, in the model's maps.
func (m *model) decided(in Input) Outcome {
	m.told = nil
	moot, f := m.moot(), m.facts(in)
	p := decide(f)
	at, union := modelOpenID{in.AppID, in.OpenID}, modelUnionID(f.unionIDKey)
	if p.serve == newGuest || p.serve == newMember {
		id, placeholder := m.mint(p.kind), p.serve
		for _, s := range []*string{&p.serve, &p.into.id, p.fill, &p.bindPhone, &p.setVisitor} {
			if s != nil && *s == placeholder {
				*s = id
			}
		}
		m.born[id] = m.now
		if p.kind == Member {
			m.users[id] = &modelUser{kind: Member, seen: m.now}
			m.tell("user.created %s", id)
		}
	}
	if in.UserKind == Guest && m.users[in.UserID] == nil {
		m.born[in.UserID] = in.UserBorn
	}
	if p.fill != nil {
		if m.owners[union] = *p.fill; *p.fill != "" {
			m.store(*p.fill)
		}
	}
	if p.linkRow {
		if f.replaced != (unionIDKey{}) {
			delete(m.owners, modelUnionID(f.replaced))
		}
		m.rows[at] = modelRow{union: union}
		m.tell("identity.linked %s/%s", at.appID, at.openID)
	}
	if p.dropVisit {
		delete(m.visitors, at)
	}
	if p.setVisitor != "" {
		m.store(p.setVisitor)
		m.visitors[at] = p.setVisitor
	}
	if p.bindPhone != "" {
		m.bindPhone(p.bindPhone, in.Phone)
	}
	for _, from := range p.merges {
		m.merge(from.id, p.into.id)
	}
	if c := p.conflict; c != nil {
		m.conflict(c.code, strings.ReplaceAll(c.wants, "\n", " "), c.parties...)
	}
	if p.seen != nil {
		m.users[p.seen.id].seen = m.now
	}
	m.closeConflicts(moot)
	return f.outcome(&p)
}

// differ says how two models and their answers differ; empty: not at all.
func differ(want Outcome, m *model, got Outcome, code *model) string {
	out := func(o Outcome) string {
		return fmt.Sprintf("%s %q %s %d unionid %q", o.Code, o.UserID, o.Kind, o.Born.Unix(), o.UnionID)
	}
	tables, decided := []string{out(want)}, []string{out(got)}
	if !maps.Equal(m.rows, code.rows) || !maps.Equal(m.owners, code.owners) || !maps.Equal(m.visitors, code.visitors) ||
		!maps.EqualFunc(m.users, code.users, func(a, b *modelUser) bool { return *a == *b }) {
		tables, decided = append(tables, m.stored()...), append(decided, code.stored()...)
	}
	tables, decided = append(tables, sorted(m.told)...), append(decided, sorted(code.told)...)
	if slices.Equal(tables, decided) {
		return ""
	}
	return cmp.Diff(tables, decided)
}

// agree compares what the code decides with what the tables say.
func agree(m *model, in Input) error {
	tables, code := m.clone(), m.clone()
	want, got := tables.link(in), code.decided(in)
	if d := differ(want, tables, got, code); d != "" {
		return fmt.Errorf("the tables (-) and the code (+) differ:\n%s%s\nin %+v\nwith\n%s", d, describe(in), m.rules, strings.Join(m.stored(), "\n"))
	}
	return nil
}

func describe(in Input) string {
	return strings.ReplaceAll(fmt.Sprintf("%+v", in), in.Phone.String(), string(in.Phone))
}
