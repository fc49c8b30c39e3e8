package account

import "fmt"

// broken are the invariants that do not hold, in words.
func (m *model) broken() (what []string) {
	say := func(format string, args ...any) { what = append(what, fmt.Sprintf(format, args...)) }
	live := func(id string, kinds ...Kind) bool {
		u := m.users[id]
		return u != nil && u.into == "" && !u.cancelled && (len(kinds) == 0 || u.kind == kinds[0])
	}
	apps, scopes := map[modelOpenID]int{}, map[modelUnionID]int{}
	used := map[modelUnionID]bool{}
	for at, r := range m.rows {
		if r.imported() {
			if !live(r.user, Member) {
				say("%v has no unionid and is of %q", at, r.user)
			}
			continue
		}
		used[r.union] = true
		if _, known := m.owners[r.union]; !known || r.user != "" {
			say("%v is of %q and of the unknown %v", at, r.user, r.union)
		}
		if apps[modelOpenID{at.appID, r.union.unionID}]++; apps[modelOpenID{at.appID, r.union.unionID}] > 1 {
			say("%s has %v twice", at.appID, r.union)
		}
		if m.visitors[at] != "" {
			say("%v is an identity and a visitor", at)
		}
	}
	for union, owner := range m.owners {
		if !used[union] {
			say("%v has no identity", union)
		}
		if owner == "" {
			continue
		}
		if !live(owner) {
			say("%v is of %s", union, owner)
		}
		of := modelUnionID{union.scope, owner}
		if scopes[of]++; scopes[of] > 1 && m.rules.Linking != ManyUnionIDs {
			say("%s has two unionids of scope %q", owner, union.scope)
		}
	}
	for at, guest := range m.visitors {
		if !live(guest, Guest) {
			say("%s is the visitor of %v", guest, at)
		}
	}
	return append(what, m.brokenUsers()...)
}

func (m *model) brokenUsers() (what []string) {
	say := func(format string, args ...any) { what = append(what, fmt.Sprintf(format, args...)) }
	phones := map[Phone]string{}
	for id, u := range m.users {
		if u.phone != "" {
			if phones[u.phone] != "" || u.into != "" || u.cancelled || u.kind != Member {
				say("%s has a phone", id)
			}
			phones[u.phone] = id
		}
		switch {
		case u.into != "":
			if to := m.users[u.into]; to == nil || to.into != "" {
				say("%s does not reach its survivor in one hop", id)
			} else if u.kind == Member && to.kind != Member {
				say("member %s was merged into guest %s", id, u.into)
			}
		case u.kind == Guest && !u.cancelled && len(m.rowsOf(id)) == 0 && len(m.visitorsOf(id)) == 0:
			say("guest %s is orphaned", id)
		}
	}
	return what
}
