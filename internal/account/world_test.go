package account

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newDB(t testing.TB) *DB {
	t.Helper()
	db, err := Open(context.Background(), Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "accounts.db")})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.Unlock(context.Background(), secrets{"first"}))
	return db
}

// phoneNumber is the number that a test calls p1, p2, ... or pA; empty for "".
func phoneNumber(name string) Phone {
	if name == "" {
		return ""
	}
	return Phone(fmt.Sprintf("+861380013%04d", name[1]))
}

func givePhone(t testing.TB, db *DB, userID string, number Phone) {
	t.Helper()
	if number == "" {
		return
	}
	p, err := db.phone(number)
	must(t, err)
	_, err = db.write.Exec(`UPDATE wxgate_user SET phone_key = ?, phone_sealed = ? WHERE id = ?`, p.key, p.sealed(userID), userID)
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a database with the people a test is about.
type world struct {
	t     testing.TB
	db    *DB
	rules Rules
	names map[string]string // id made by a Link -> V+1, U+1, ... in order
	made  map[Kind]int
}

func newWorld(t testing.TB, rules Rules, given ...string) *world {
	return newWorldIn(t, newDB(t), rules, given...)
}

// newWorldIn begins anew in a database, whoever was there before.
func newWorldIn(t testing.TB, db *DB, rules Rules, given ...string) *world {
	t.Helper()
	w := &world{t: t, db: db, rules: rules, names: map[string]string{}, made: map[Kind]int{}}
	emptyDB(t, db)
	for _, line := range given {
		w.given(line)
	}
	return w
}

var epoch = time.Unix(1_700_000_000, 0)

// birthday is when the guest of that number was born.
func birthday(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

// given stores one fact, in words:
//
//	member U1            guest V1 7 (born on day 7)       cancelled U1
//	merged V1 U1         identity oa x X U1 (or X -)      imported oa x U1
//	visitor oa x V1      phone U1 p1                      idle U1 (not seen for phone_idle)
//	one_to_one (the policy from now on)
//
// An openid that is its own unionid stands in for one.
func (w *world) given(line string) {
	w.t.Helper()
	f := strings.Fields(line)
	switch f[0] {
	case "member":
		w.exec(`INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES (?, 'member', ?, ?)`, f[1], millis(epoch), millis(time.Now()))
	case "guest":
		n, err := strconv.Atoi(f[2])
		must(w.t, err)
		w.exec(`INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES (?, 'guest', ?, 0)`, f[1], millis(birthday(n)))
	case "cancelled":
		w.exec(`UPDATE wxgate_user SET cancelled = 1 WHERE id = ?`, f[1])
	case "merged":
		w.exec(`UPDATE wxgate_user SET merged_into = ?, merged_at = 1 WHERE id = ?`, f[2], f[1])
		w.exec(`INSERT INTO wxgate_event (id, type, subject, time, data) VALUES (?, 'user.merged', ?, 1, ?)`,
			"given "+f[1], f[2], fmt.Sprintf(`{"from":%q,"reason":"operator","aliases":[%q]}`, f[1], f[1]))
	case "identity":
		scope := ""
		if f[3] == f[2] {
			scope = f[1]
		}
		owner := sql.NullString{String: f[4], Valid: f[4] != "-"}
		if len(w.lines(`SELECT unionid FROM wxgate_unionid WHERE scope = ? AND unionid = ?`, scope, f[3])) == 0 {
			w.exec(`INSERT INTO wxgate_unionid (scope, unionid, user_id, apart) VALUES (?, ?, ?, ?)`, scope, f[3], owner, w.rules.apart(f[3]))
		}
		w.exec(`INSERT INTO wxgate_identity (appid, openid, scope, unionid, owner_id, created) VALUES (?, ?, ?, ?, ?, 0)`, f[1], f[2], scope, f[3], owner)
	case "one_to_one":
		w.rules.Linking = ""
	case "phone":
		givePhone(w.t, w.db, f[1], phoneNumber(f[2]))
	case "idle":
		w.exec(`UPDATE wxgate_user SET last_seen = ? WHERE id = ?`, millis(time.Now().Add(-DefaultPhoneIdle)), f[1])
	case "imported":
		w.exec(`INSERT INTO wxgate_identity (appid, openid, user_id, created) VALUES (?, ?, ?, 0)`, f[1], f[2], f[3])
	case "visitor":
		w.exec(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created) VALUES (?, ?, ?, 0)`, f[1], f[2], f[3])
	default:
		w.t.Fatalf("what is %q?", line)
	}
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	_, err := w.db.write.Exec(query, args...)
	must(w.t, err)
}

func (w *world) link(in Input) Outcome {
	w.t.Helper()
	w.checkKnown(in)
	out, err := w.db.Link(w.t.Context(), w.rules, in)
	must(w.t, err)
	checkInvariants(w.t, w.db)
	return out
}

// checkKnown compares what is decided about a visitor who comes back as who he
// was with what is decided when everything is read.
func (w *world) checkKnown(in Input) {
	w.t.Helper()
	number, err := w.db.phone(in.Phone)
	must(w.t, err)
	c := call{rules: w.rules, in: in, phone: number}
	known, err := w.db.readKnown(w.t.Context(), c)
	must(w.t, err)
	if known == nil {
		return
	}
	all, err := readFacts(w.t.Context(), w.db.read, c)
	must(w.t, err)
	all.now = known.now
	p, q := decide(known), decide(all)
	diff(w.t, "decided about who comes back", fmt.Sprintf("%+v", all.outcome(&q)), fmt.Sprintf("%+v", known.outcome(&p)))
	if p.writes() != q.writes() {
		w.t.Errorf("what is written about who comes back: %t, want %t", p.writes(), q.writes())
	}
}

// name gives ids that a Link has made their names in the order they turn up.
func (w *world) name(id string, kind Kind) string {
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return id
	}
	if w.names[id] == "" {
		if kind == Nobody {
			kind = Guest
			if len(w.lines(`SELECT id FROM wxgate_user WHERE id = ? AND kind = 'member'`, id)) > 0 {
				kind = Member
			}
		}
		w.made[kind]++
		prefix := "V"
		if kind == Member {
			prefix = "U"
		}
		w.names[id] = fmt.Sprintf("%s+%d", prefix, w.made[kind])
	}
	return w.names[id]
}

// said is an outcome in one line: user, code, events.
func (w *world) said(out Outcome) string {
	who := "nobody"
	if out.UserID != "" {
		who = w.name(out.UserID, out.Kind)
	}
	said := []string{who, string(out.Code)}
	for _, e := range out.Events {
		switch d := e.Data.(type) {
		case Merged:
			said = append(said, fmt.Sprintf("merged %s>%s", w.name(d.From, d.FromKind), w.name(d.To, d.ToKind)))
		case Linked:
			said = append(said, fmt.Sprintf("%s %s/%s", strings.TrimPrefix(string(e.Type), "identity."), d.AppID, d.OpenID))
		case Conflict:
			said = append(said, strings.TrimPrefix(string(e.Type), "conflict."))
		case Bound:
			said = append(said, fmt.Sprintf("%s %s", e.Type, w.name(e.Subject, Nobody)))
		default:
			said = append(said, fmt.Sprintf("%s %s", strings.TrimPrefix(string(e.Type), "user."), w.name(e.Subject, Nobody)))
		}
	}
	slices.Sort(said[2:])
	return strings.Join(said, ", ")
}

// stored is all that stands in identities and visitors.
func (w *world) stored() []string {
	w.t.Helper()
	found := []string{}
	for _, l := range append(
		w.lines(`SELECT i.appid || ' ' || i.openid || ' ' || coalesce(i.unionid, '-') || ' ' || coalesce(i.user_id, u.user_id, '-')
			FROM wxgate_identity i LEFT JOIN wxgate_unionid u ON u.scope = i.scope AND u.unionid = i.unionid`),
		w.lines(`SELECT 'visitor ' || appid || ' ' || openid || ' ' || guest_id FROM wxgate_visitor`)...) {
		at := strings.LastIndexByte(l, ' ') + 1
		found = append(found, l[:at]+w.name(l[at:], Nobody))
	}
	slices.Sort(found)
	return found
}

func (w *world) lines(query string, args ...any) []string {
	w.t.Helper()
	return linesOf(w.t, w.db, query, args...)
}

// linesOf returns the first column of each row of a query.
func linesOf(t testing.TB, db *DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.read.Query(query, args...)
	must(t, err)
	defer rows.Close()
	var found []string
	for rows.Next() {
		var l string
		must(t, rows.Scan(&l))
		found = append(found, l)
	}
	must(t, rows.Err())
	return found
}

// everything is the whole database but its log and conflicts, to show that
// nothing was written.
func (w *world) everything() []string {
	w.t.Helper()
	return append(w.stored(), w.lines(`SELECT id || ' ' || kind || ' ' || last_seen || ' ' || coalesce(merged_into, '-') FROM wxgate_user ORDER BY id`)...)
}

func diff(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
