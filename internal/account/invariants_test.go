package account

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// broken are the queries that find what must never be stored.
func broken() map[string]string {
	return map[string]string{
		"a replaced id that takes two hops": `SELECT a.id FROM wxgate_user a JOIN wxgate_user b ON b.id = a.merged_into WHERE b.merged_into IS NOT NULL`,
		"a unionid of a replaced user":      `SELECT n.unionid FROM wxgate_unionid n JOIN wxgate_user u ON u.id = n.user_id WHERE u.merged_into IS NOT NULL`,
		"a visitor of a replaced guest":     `SELECT v.openid FROM wxgate_visitor v JOIN wxgate_user u ON u.id = v.guest_id WHERE u.merged_into IS NOT NULL`,
		"a visitor who is a member":         `SELECT v.openid FROM wxgate_visitor v JOIN wxgate_user u ON u.id = v.guest_id WHERE u.kind = 'member'`,
		"a phone of who is gone":            `SELECT id FROM wxgate_user WHERE phone_key IS NOT NULL AND (merged_into IS NOT NULL OR cancelled IS NOT NULL)`,
		"a phone that is half there":        `SELECT id FROM wxgate_user WHERE (phone_key IS NULL) <> (phone_sealed IS NULL)`,
		"a row of who is gone": `SELECT u.id FROM wxgate_user u WHERE (merged_into IS NOT NULL OR cancelled > 1) AND EXISTS (
			SELECT 1 FROM wxgate_unionid WHERE user_id = u.id UNION ALL SELECT 1 FROM wxgate_visitor WHERE guest_id = u.id)`,
		"an orphaned guest": `SELECT id FROM wxgate_user u WHERE kind = 'guest' AND merged_into IS NULL AND cancelled IS NULL
			AND NOT EXISTS (SELECT 1 FROM wxgate_unionid WHERE user_id = u.id) AND NOT EXISTS (SELECT 1 FROM wxgate_visitor WHERE guest_id = u.id)`,
		"a unionid without an identity": `SELECT unionid FROM wxgate_unionid n
			WHERE NOT EXISTS (SELECT 1 FROM wxgate_identity i WHERE i.scope = n.scope AND i.unionid = n.unionid)`,
		"an identity that is also a visitor": `SELECT v.openid FROM wxgate_visitor v JOIN wxgate_identity i ON i.appid = v.appid AND i.openid = v.openid
			WHERE i.unionid IS NOT NULL`,
		"an open conflict told twice or never": `SELECT id FROM wxgate_conflict c WHERE
			1 <> (SELECT count(*) FROM wxgate_event e WHERE e.type = 'conflict.opened' AND e.subject = c.id)`,
	}
}

// checkInvariants holds after every Link, whatever came before.
func checkInvariants(t testing.TB, db *DB) {
	t.Helper()
	for what, query := range broken() {
		if found := linesOf(t, db, query); len(found) > 0 {
			t.Errorf("%s: %v", what, found)
		}
	}
	checkMergesAreTold(t, db)
}

// checkMergesAreTold compares users with events: every merge has its event, and
// the last one of a survivor names all who answer to him.
func checkMergesAreTold(t testing.TB, db *DB) {
	t.Helper()
	told, aliases, created := map[string][]Merged{}, map[string][]string{}, map[string]int{}
	for _, line := range linesOf(t, db, `SELECT type || ' ' || subject || ' ' || data FROM wxgate_event
		WHERE type IN ('user.merged', 'user.created') ORDER BY written`) {
		f := strings.SplitN(line, " ", 3)
		if f[0] == string(EventUserCreated) {
			created[f[1]]++
			continue
		}
		var m Merged
		must(t, json.Unmarshal([]byte(f[2]), &m))
		told[m.From], aliases[f[1]] = append(told[m.From], m), m.Aliases
	}
	for _, line := range linesOf(t, db, `SELECT id || ' ' || kind || ' ' || coalesce(merged_into, '-') || ' ' || coalesce(merged_at, 0) FROM wxgate_user`) {
		var id, into string
		var kind Kind
		var at int64
		_, err := fmt.Sscan(line, &id, &kind, &into, &at)
		must(t, err)
		if kind == Member && strings.Trim(id, "0123456789") == "" && created[id] != 1 {
			t.Errorf("%d user.created tell of member %s", created[id], id)
		}
		if at <= 1 { // not merged, or given so
			continue
		}
		switch {
		case len(told[id]) != 1:
			t.Errorf("%d user.merged tell of %s", len(told[id]), id)
		case kind == Member && told[id][0].Reason != "operator" && told[id][0].Reason != "proved":
			t.Errorf("member %s was merged by a Link", id)
		}
		if !slices.Contains(aliases[into], id) {
			t.Errorf("the last user.merged into %s names %v, and not %s", into, aliases[into], id)
		}
	}
}
