package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"testing"
)

// loadModel reads all accounts of a database, as they are at one moment, into a
// model, and what their events do not tell and their copies tell wrongly. Of
// phones only those are known by their number that are given.
func loadModel(t testing.TB, db *DB, phones ...Phone) (m *model, untold []string) {
	t.Helper()
	tx, err := db.read.BeginTx(context.Background(), &db.reads)
	must(t, err)
	defer func() { must(t, tx.Rollback()) }()
	m = loadAccounts(t, tx, phoneNumbers(t, db, phones))
	return m, append(readUntold(t, tx), readUntrue(t, tx)...)
}

// phoneNumbers are numbers by their keys.
func phoneNumbers(t testing.TB, db *DB, phones []Phone) map[string]Phone {
	numbers := map[string]Phone{}
	for _, p := range phones {
		kept, err := db.phone(p)
		must(t, err)
		numbers[kept.key] = p
	}
	return numbers
}

func loadAccounts(t testing.TB, db querier, numbers map[string]Phone) *model {
	t.Helper()
	m := newModel(Rules{})
	eachRow(t, db, `SELECT id, kind, created, last_seen, merged_into, cancelled, phone_key, phone_sealed FROM wxgate_user`, func(scan func(...any)) {
		var id, kind string
		var created, seen int64
		var into, phone, sealed sql.NullString
		var cancelled sql.NullInt64
		scan(&id, &kind, &created, &seen, &into, &cancelled, &phone, &sealed)
		if phone.Valid != sealed.Valid {
			t.Errorf("half a phone of %s", id)
		}
		u := &modelUser{kind: Kind(kind), born: fromMillis(created), seen: fromMillis(seen), into: into.String, cancelled: cancelled.Valid}
		if u.phone = numbers[phone.String]; phone.Valid && u.phone == "" {
			u.phone = Phone(phone.String)
		}
		m.users[id] = u
	})
	eachRow(t, db, `SELECT scope, unionid, user_id, apart FROM wxgate_unionid`, func(scan func(...any)) {
		var union modelUnionID
		var user sql.NullString
		var apart string
		scan(&union.scope, &union.unionID, &user, &apart)
		if m.owners[union] = user.String; user.Valid && apart != "" {
			m.rules.Linking = ManyUnionIDs
		}
	})
	eachRow(t, db, `SELECT appid, openid, scope, unionid, user_id FROM wxgate_identity`, func(scan func(...any)) {
		var at modelOpenID
		var scope string
		var unionID, user sql.NullString
		scan(&at.appID, &at.openID, &scope, &unionID, &user)
		m.rows[at] = modelRow{modelUnionID{scope, unionID.String}, user.String}
	})
	eachRow(t, db, `SELECT appid, openid, guest_id FROM wxgate_visitor`, func(scan func(...any)) {
		var at modelOpenID
		var guest string
		scan(&at.appID, &at.openID, &guest)
		m.visitors[at] = guest
	})
	eachRow(t, db, `SELECT code, parties FROM wxgate_conflict WHERE closed IS NULL`, func(scan func(...any)) {
		var c modelConflict
		scan(&c.code, &c.parties)
		c.parties = strings.ReplaceAll(c.parties, "\n", " ")
		m.conflicts[c] = true
	})
	return m
}

func eachRow(t testing.TB, db querier, query string, do func(scan func(...any))) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		do(func(into ...any) { must(t, rows.Scan(into...)) })
	}
	must(t, rows.Err())
}

// storeModel puts all accounts of a model into an empty database.
func storeModel(t testing.TB, db *DB, m *model) {
	t.Helper()
	tx, err := db.write.Begin()
	must(t, err)
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := tx.Exec(query, args...)
		must(t, err)
	}
	text := func(s string) any { return sql.NullString{String: s, Valid: s != ""} }
	for _, replaced := range []bool{false, true} { // survivors first
		for id, u := range m.users {
			if (u.into != "") != replaced {
				continue
			}
			exec(`INSERT INTO wxgate_user (id, kind, created, last_seen, merged_into, merged_at, cancelled) VALUES (?, ?, ?, ?, ?, ?, ?)`,
				id, string(u.kind), millis(u.born), millis(u.seen), text(u.into), sql.NullInt64{Int64: 1, Valid: replaced}, sql.NullInt64{Int64: 1, Valid: u.cancelled})
			if replaced {
				told, err := json.Marshal(Merged{From: id, To: u.into, Reason: "proved", Aliases: m.aliases(u.into)})
				must(t, err)
				exec(`INSERT INTO wxgate_event (id, type, subject, time, data) VALUES (?, ?, ?, 1, ?)`, "given "+id, string(EventUserMerged), u.into, string(told))
			}
		}
	}
	for union, owner := range m.owners {
		exec(`INSERT INTO wxgate_unionid (scope, unionid, user_id, apart) VALUES (?, ?, ?, ?)`, union.scope, union.unionID, text(owner), m.rules.apart(union.unionID))
	}
	for at, r := range m.rows {
		exec(`INSERT INTO wxgate_identity (appid, openid, scope, unionid, owner_id, user_id, created) VALUES (?, ?, ?, ?, ?, ?, 0)`,
			at.appID, at.openID, r.union.scope, text(r.union.unionID), text(m.owners[r.union]), text(r.user))
	}
	for at, guest := range m.visitors {
		exec(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created) VALUES (?, ?, ?, 0)`, at.appID, at.openID, guest)
	}
	must(t, tx.Commit())
	for id, u := range m.users {
		givePhone(t, db, id, u.phone)
	}
}

// emptyDB forgets everybody, so that a database can be used again.
func emptyDB(t testing.TB, db *DB) {
	t.Helper()
	must(t, db.inTx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE wxgate_user SET merged_into = NULL, merged_at = NULL WHERE merged_into IS NOT NULL`)
		for _, table := range []string{
			"visitor", "identity", "unionid", "user", "event", "conflict", "revocation", "invalidation", "newcomer", "operation",
		} {
			if err == nil {
				_, err = tx.Exec(`DELETE FROM wxgate_` + table)
			}
		}
		return err
	}))
}
