package account

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

// broken are the invariants that do not hold, in words.
func (m *model) broken() (what []string) {
	say := func(format string, args ...any) { what = append(what, fmt.Sprintf(format, args...)) }
	apps, scopes, used := map[modelOpenID]bool{}, map[modelUnionID]bool{}, map[modelUnionID]bool{}
	for at, r := range m.rows {
		if m.visitors[at] != "" && !r.imported() {
			say("%v is an identity and a visitor", at)
		}
		if r.imported() {
			if !m.live(r.user) || !m.member(r.user) {
				say("%v has no unionid and is of %q", at, r.user)
			}
			continue
		}
		if _, known := m.owners[r.union]; !known || r.user != "" {
			say("%v is of %q and of %v", at, r.user, r.union)
		}
		twice := modelOpenID{at.appID, r.union.unionID}
		if apps[twice] {
			say("%s has %v twice", at.appID, r.union)
		}
		apps[twice], used[r.union] = true, true
	}
	for union, owner := range m.owners {
		if !used[union] {
			say("%v has no identity", union)
		}
		if owner == "" {
			continue
		}
		if !m.live(owner) {
			say("%v is of %s", union, owner)
		}
		of := modelUnionID{union.scope, owner}
		if scopes[of] && m.rules.Linking != ManyUnionIDs && !m.many {
			say("%s has two unionids of scope %q", owner, union.scope)
		}
		scopes[of] = true
	}
	for at, guest := range m.visitors {
		if !m.live(guest) || m.member(guest) {
			say("%s is the visitor of %v", guest, at)
		}
	}
	return append(what, m.brokenUsers()...)
}

func (m *model) live(id string) bool {
	u := m.users[id]
	return u != nil && u.into == "" && !u.cancelled
}

func (m *model) brokenUsers() (what []string) {
	say := func(format string, args ...any) { what = append(what, fmt.Sprintf(format, args...)) }
	phones := map[Phone]bool{}
	for id, u := range m.users {
		if u.phone != "" && (phones[u.phone] || !m.live(id) || u.kind != Member) {
			say("%s has a phone", id)
		}
		phones[u.phone] = true
		to := m.users[u.into]
		switch {
		case u.into != "" && (to == nil || to.into != ""):
			say("%s does not reach its survivor in one hop", id)
		case u.into != "" && u.kind == Member && to.kind != Member:
			say("member %s was merged into guest %s", id, u.into)
		case u.into == "" && u.kind == Guest && !u.cancelled && len(m.rowsOf(id)) == 0 && len(m.visitorsOf(id)) == 0:
			say("guest %s is orphaned", id)
		}
	}
	return what
}

// readUntold says what the events of a database do not tell of its accounts, or
// tell wrongly. Who was merged at time 1 was so from the beginning.
func readUntold(t testing.TB, db querier) (what []string) {
	say := func(format string, args ...any) { what = append(what, fmt.Sprintf(format, args...)) }
	merged, created, opened := map[string][]Merged{}, map[string]int{}, map[string]int{}
	aliases := map[string][]string{} // in the last one
	eachRow(t, db, `SELECT type, subject, data FROM wxgate_event ORDER BY written`, func(scan func(...any)) {
		var typ EventType
		var subject, data string
		scan(&typ, &subject, &data)
		switch typ {
		case EventUserMerged:
			var m Merged
			must(t, json.Unmarshal([]byte(data), &m))
			merged[m.From], aliases[m.To] = append(merged[m.From], m), m.Aliases
		case EventUserCreated:
			created[subject]++
		case EventConflictOpened:
			opened[subject]++
		}
	})
	eachRow(t, db, `SELECT id, kind, merged_into, merged_at FROM wxgate_user`, func(scan func(...any)) {
		var id, into sql.NullString
		var kind Kind
		var at sql.NullInt64
		scan(&id, &kind, &into, &at)
		if into.Valid && at.Int64 > 1 {
			told := merged[id.String]
			if len(told) != 1 {
				say("%d events of the merge of %s", len(told), id.String)
			}
			if kind == Member && (len(told) == 0 || !slices.Contains([]string{"operator", "proved"}, told[0].Reason)) {
				say("member %s was merged by a Link", id.String)
			}
			if !slices.Contains(aliases[into.String], id.String) {
				say("the aliases of %s do not name %s", into.String, id.String)
			}
		}
		if kind == Member && id.String[0] <= '9' && created[id.String] != 1 {
			say("%d events of the creation of %s", created[id.String], id.String)
		}
	})
	eachRow(t, db, `SELECT id FROM wxgate_conflict`, func(scan func(...any)) {
		var id string
		if scan(&id); opened[id] != 1 {
			say("%d events of conflict %s", opened[id], id)
		}
	})
	return what
}

// readUntrue says which identities have another user copied than their unionid's.
func readUntrue(t testing.TB, db querier) (what []string) {
	eachRow(t, db, `SELECT i.appid, i.openid, coalesce(i.owner_id, ''), coalesce(n.user_id, '') FROM wxgate_identity i
		LEFT JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid
		WHERE coalesce(i.owner_id, '') <> coalesce(n.user_id, '')`, func(scan func(...any)) {
		var at modelOpenID
		var copied, owner string
		scan(&at.appID, &at.openID, &copied, &owner)
		what = append(what, fmt.Sprintf("%v has a copy of %q and is of %q", at, copied, owner))
	})
	return what
}

// checkInvariants holds after every change, whatever came before.
func checkInvariants(t testing.TB, db *DB) {
	t.Helper()
	m, untold := loadModel(t, db)
	for _, what := range append(m.broken(), untold...) {
		t.Error(what)
	}
}
