package account

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// accounts is all that an export keeps, row by row.
func accounts(t testing.TB, db *DB) []string {
	t.Helper()
	found := linesOf(t, db, `SELECT 'user ' || id || ' ' || kind || ' ' || created || ' ' || last_seen || ' ' || coalesce(merged_into, '-')
		|| ' ' || coalesce(merged_at, 0) || ' ' || coalesce(cancelled, 0) || ' ' || coalesce(sessions_from, 0) FROM wxgate_user ORDER BY id`)
	for _, l := range linesOf(t, db, `SELECT id || ' ' || phone_sealed FROM wxgate_user WHERE phone_sealed IS NOT NULL ORDER BY id`) {
		id, sealed, _ := strings.Cut(l, " ")
		number, err := db.openPhone(id, sealed)
		must(t, err)
		p, err := db.phone(number)
		must(t, err)
		if len(linesOf(t, db, `SELECT id FROM wxgate_user WHERE id = ? AND phone_key = ?`, id, p.key)) != 1 {
			t.Errorf("the phone of %s is not found by its key", id)
		}
		found = append(found, "phone "+id+" "+string(number))
	}
	for _, query := range []string{
		`SELECT 'unionid ' || scope || ' ' || unionid || ' ' || coalesce(user_id, '-') || ' ' || apart FROM wxgate_unionid ORDER BY scope, unionid`,
		`SELECT 'identity ' || appid || ' ' || openid || ' ' || scope || ' ' || coalesce(unionid, '-') || ' ' || coalesce(user_id, '-') || ' ' || created
			FROM wxgate_identity ORDER BY appid, openid`,
		`SELECT 'visitor ' || appid || ' ' || openid || ' ' || guest_id || ' ' || created FROM wxgate_visitor ORDER BY appid, openid`,
	} {
		found = append(found, linesOf(t, db, query)...)
	}
	return found
}

// exported writes an export.
func exported(t testing.TB, db *DB, format Format, phones bool) string {
	t.Helper()
	var file bytes.Buffer
	n, err := db.Export(t.Context(), ExportConfig{Writer: &file, Format: format, Phones: phones, By: By{Operator: true, Reason: "moving"}})
	must(t, err)
	lines := strings.Count(file.String(), "\n")
	if format == CSV {
		lines--
	}
	if n != lines {
		t.Errorf("%d rows are said, %d are written", n, lines)
	}
	return file.String()
}

// restore imports an export into a database that it empties.
func restore(t testing.TB, db *DB, rules Rules, file string, format Format) {
	t.Helper()
	emptyDB(t, db)
	db.ids.cfg.Start = 5_000_000_000 // behind the ids that the other gateway gave
	report, err := db.Import(t.Context(), rules, ImportConfig{
		Source: strings.NewReader(file), Format: format,
		Problem: func(p Problem) error {
			if p.Code != WithoutUnionID {
				t.Errorf("problem %s", said(p))
			}
			return nil
		},
	})
	must(t, err)
	if !report.Complete() {
		t.Errorf("not complete: %+v", report)
	}
}

// Everything that can stand in a database, by hand.
func TestExportOfEverything(t *testing.T) {
	rules := Rules{StandIns: map[string]bool{"alone": true}}
	onEach(t, func(t *testing.T, open opener) {
		copied := open(t)
		w := newWorldOn(t, open, rules,
			"member U1", "phone U1 p1", "identity oa x X U1", "identity mp y X U1", "identity alone s s U1",
			"member U2", "imported oa z U2",
			"guest V1 1", "identity oa v1 V V1", "guest V2 2", "visitor oa v2 V2", "visitor mp v2 V2",
			"guest V3 3", "merged V3 U1", "guest V4 4", "merged V4 V1",
			"member U4", "cancelled U4", "identity oa n N -",
		)
		must(t, w.db.RevokeUser(t.Context(), "U2", By{}))
		for _, format := range []Format{CSV, NDJSON} {
			file := exported(t, w.db, format, true)
			restore(t, copied, rules, file, format)
			diff(t, "accounts from "+string(format), accounts(t, w.db), accounts(t, copied))
			diff(t, "what the copy exports", file, exported(t, copied, format, true))
		}
	})
}

// Numbers leave the database in clear only where that is asked for.
func TestExportKeepsPhonesBack(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "phone U1 p1")
	for _, format := range []Format{CSV, NDJSON} {
		number := string(phoneNumber("p1"))
		if file := exported(t, w.db, format, false); strings.Contains(file, number[4:]) {
			t.Errorf("%s without phones holds one", format)
		}
		if file := exported(t, w.db, format, true); !strings.Contains(file, number) {
			t.Errorf("%s with phones holds none", format)
		}
	}
	ops, err := w.db.Operations(t.Context(), "", Page{})
	must(t, err)
	var details []string
	for _, o := range ops {
		details = append(details, string(o.Action)+" "+o.Reason+" "+string(o.Detail))
	}
	slices.Sort(details)
	diff(t, "recorded", []string{
		`export moving {"phones":false}`, `export moving {"phones":false}`, `export moving {"phones":true}`, `export moving {"phones":true}`,
	}, details)
	_, err = w.db.Export(t.Context(), ExportConfig{Writer: &bytes.Buffer{}, Format: CSV, By: By{Operator: true}})
	if !errors.Is(err, ErrNoReason) {
		t.Errorf("without a reason: %v", err)
	}
}

// Whatever people and operators have made of a database, its export makes the
// same of an empty one, and nothing of itself.
func TestExportThenImportGivesTheSameAccounts(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db, copied := open(t), open(t)
		rapid.Check(t, func(rt *rapid.T) {
			d := draws(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) })
			rules := Rules{
				FirstLogin: FirstLogin(d.one("mode", string(FirstLoginWeChat), string(FirstLoginWeChatPhone))),
				Linking:    Linking(d.one("linking", string(OneToOne), string(ManyUnionIDs))),
				GuestsOff:  d.seldom("guests off", 4), StandIns: map[string]bool{"lone": d.seldom("stand-in", 2)},
			}
			w := newWorldIn(t, db, rules, "member U1", "member U2", "imported oa ann-oa U1", "imported mp cem-mp U2", "phone U2 p2")
			var sessions []Outcome
			for range d("visits", 20) {
				sessions = append(sessions, w.link(visitAtRandom(d, sessions)))
			}
			for range d("operations", 4) {
				operateAtRandom(d, w)
			}
			format := Format(d.one("format", string(CSV), string(NDJSON)))
			before, file := accounts(t, w.db), exported(t, w.db, format, true)
			restore(t, copied, rules, file, format)
			diff(t, "the copy", before, accounts(t, copied))
			report, err := w.db.Import(t.Context(), rules, ImportConfig{Source: strings.NewReader(file), Format: format})
			must(t, err)
			if report.Users.New+report.OpenIDs.New+report.Phones.New > 0 || !report.Complete() {
				t.Errorf("imported into itself: %+v", report)
			}
			diff(t, "the original afterwards", before, accounts(t, w.db))
		})
	})
}

// visitAtRandom is a person with a session of hers, of somebody else or none.
func visitAtRandom(d draws, sessions []Outcome) (in Input) {
	if n := len(sessions); n > 0 && !d.seldom("no session", 3) {
		out := sessions[d("session", n)]
		in.UserID, in.UserKind, in.UserBorn = out.UserID, out.Kind, out.Born
	}
	person, app := d.one("person", people()...), d.one("app", "oa", "mp", "lone", "")
	if app != "" {
		in.AppID, in.OpenID = app, person+"-"+app
	}
	if app != "" && app != "lone" && d.seldom("unionid", 2) {
		in.UnionID = person
	}
	if d.seldom("phone", 4) {
		in.Phone = phoneOf(person)
	}
	if d.seldom("login", 3) {
		in.Want = WantLogin
	}
	in.Outside = app == ""
	return in
}

// operateAtRandom cancels, merges, revokes or rebinds; a refusal is as good.
func operateAtRandom(d draws, w *world) {
	users := w.lines(`SELECT id FROM wxgate_user ORDER BY id`)
	one := func() string { return users[d("user", len(users))] }
	ctx := w.t.Context()
	switch d("operation", 4) {
	case 0:
		_, _ = w.db.Cancel(ctx, Cancelling{UserID: one()})
	case 1:
		_, _ = w.db.Merge(ctx, w.rules, Merging{From: one(), To: one()})
	case 2:
		_ = w.db.RevokeUser(ctx, one(), By{})
	case 3:
		_, _ = w.db.Rebind(ctx, Rebinding{AppID: d.one("app", "oa", "mp")})
	}
}

// Two gateways have given the same id to two people. The export of one must not
// give the openids of its people to those of the other.
func TestImportOfAnotherGatewaysExport(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "identity oa x X U1")
	file := exported(t, w.db, CSV, false)
	other := newWorld(t, Rules{}, "member U1")
	other.exec(`UPDATE wxgate_user SET created = created + 1`)
	got := other.importFile(file)
	diff(t, "said", []string{
		"user_differs: lines [2] users [U1] stored U1, without the user: he was created at another time here, so he is somebody else",
	}, got.problems)
	diff(t, "stored", []string{}, other.rawStored())
	if got.OpenIDs.LeftOut != 1 {
		t.Errorf("report %+v", got.ImportReport)
	}
}

// Who was merged into somebody who is left out must not answer to whoever has
// that id here, nor end the import where nobody has it.
func TestImportOfThoseWhoWereMergedIntoSomebodyLeftOut(t *testing.T) {
	const without = ", without the user: "
	w := newWorld(t, Rules{}, "member U1", "member U2", "merged U2 U1", "member 1000000500", "guest V1 1", "merged V1 1000000500")
	file := exported(t, w.db, NDJSON, false)
	other := newWorld(t, Rules{}, "member U1")
	other.exec(`UPDATE wxgate_user SET created = created + 1`)
	got := other.importFile(file)
	diff(t, "said", []string{
		"id_reserved: lines [1] users [1000000500]" + without + (&IDBlockError{ID: "1000000500", Start: 1000000000}).Error(),
		"user_differs: lines [2] users [U1] stored U1" + without + "he was created at another time here, so he is somebody else",
		"user_differs: lines [3] users [U2]" + without + "he is merged into a user whom the file does not have, or who is left out",
		"user_differs: lines [4] users [V1]" + without + "he is merged into a user whom the file does not have, or who is left out",
	}, got.problems)
	diff(t, "people", []string{"U1 member"}, other.people())
}

// What only an export has is read by its own names, so that no column of a
// shop's is taken for it.
func TestColumnsOfAnExport(t *testing.T) {
	const head = "user_id,wxgate_kind,wxgate_merged_into,wxgate_merged_at,wxgate_cancelled,phone,appid,openid,unionid,wxgate_scope"
	tests := map[string]struct {
		rows, problems, people []string
	}{
		"a kind that is none": {
			rows:     []string{"U1,boss,,,,,,,,"},
			problems: []string{"unreadable: lines [2] column wxgate_kind, without the row: it is none of member, guest, nobody"},
		},
		"nobody with an id": {
			rows:     []string{"U1,nobody,,,,,oa,x,X,"},
			problems: []string{"unreadable: lines [2] column user_id, without the row: it is given, and the row says that there is nobody"},
		},
		"nobody's openid without a unionid": {
			rows:     []string{",nobody,,,,,oa,x,,"},
			problems: []string{"unreadable: lines [2] column openid, without the row: it is empty, or the unionid is, and the row says nothing else"},
		},
		"merged without a time": {
			rows:     []string{"U1,member,U2,,,,,,,"},
			problems: []string{"unreadable: lines [2] column wxgate_merged_at, without the row: it comes with wxgate_merged_into"},
		},
		"merged into himself": {
			rows:     []string{"U1,member,U1,1714521600,,,,,,"},
			problems: []string{"unreadable: lines [2] column wxgate_merged_into, without the row: it is the user himself"},
		},
		"merged into nobody": {
			rows: []string{"U1,member,U2,1714521600,,,,,,"},
			problems: []string{
				"user_differs: lines [2] users [U1], without the user: he is merged into a user whom the file does not have, or who is left out",
			},
		},
		"merged in two hops": {
			rows: []string{"U1,member,U2,1714521600,,,,,,", "U2,member,U3,1970-01-01T00:00:00.001Z,,,,,,", "U3,member,,,,,,,,"},
			problems: []string{
				"user_differs: lines [2] users [U1], without the user: he is merged into a user whom the file does not have, or who is left out",
			},
			people: []string{"U2 member > U3", "U3 member"},
		},
		"merged, with an openid in the same row": {
			rows:     []string{"U1,member,U2,1714521600,,,oa,x,,", "U2,member,,,,,,,,"},
			problems: []string{"unreadable: lines [2] column openid, without the row: it, or a phone, is given, and the user is merged or cancelled"},
			people:   []string{"U2 member"},
		},
		"cancelled, with a phone in another row": {
			rows:     []string{"U1,member,,,1714521600,,,,,", "U1,member,,,,13800138000,,,,"},
			problems: []string{"user_gone: lines [2 3] users [U1], without the user"},
		},
		"a guest with a phone": {
			rows:     []string{"V1,guest,,,,13800138000,,,,"},
			problems: []string{"unreadable: lines [2] column phone, without the row: it is given, and the user is a guest"},
		},
		"a guest and a member": {
			rows:     []string{"U1,guest,,,,,,,,", "U1,member,,,,,,,,"},
			problems: []string{"user_differs: lines [2 3] users [U1], without the user"},
		},
		"a scope that is none": {
			rows:     []string{"U1,member,,,,,oa,x,x,mp"},
			problems: []string{"unreadable: lines [2] column wxgate_scope, without the row: it is not the appid of an openid that stands in for its unionid"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Rules{})
			got := w.importFile(file(append([]string{head}, tt.rows...)...))
			diff(t, "said", tt.problems, got.problems)
			diff(t, "people", tt.people, w.people())
		})
	}
}

// A guest of an export finds what was stored since; nothing of it is changed.
func TestGuestsOfAnExportMeetTheDatabase(t *testing.T) {
	const head = "user_id,wxgate_kind,created,appid,openid,unionid"
	born := "," + birthday(1).Format(time.RFC3339Nano) + ","
	tests := map[string]problemCase{
		"his unionid has another guest": {
			given:    []string{"guest V2 2", "identity oa x X V2"},
			file:     file(head, "V1,guest"+born+"oa,x,X", "V1,guest"+born+"pc,p,"),
			problems: []string{"openid_twice: lines [2] users [V1] stored V2, without the openid"},
			people:   []string{"V1 guest", "V2 guest"}, stored: []string{"oa x X V2", "visitor pc p V1"},
		},
		"his unionid has another guest in another app": {
			given:    []string{"guest V2 2", "identity mp y X V2"},
			file:     file(head, "V1,guest"+born+"oa,x,X", "V1,guest"+born+"pc,p,"),
			problems: []string{"unionid_twice: lines [2] users [V1] stored V2, without the openid"},
			people:   []string{"V1 guest", "V2 guest"}, stored: []string{"mp y X V2", "visitor pc p V1"},
		},
		"another visitor": {
			given:    []string{"guest V2 2", "visitor oa x V2"},
			file:     file(head, "V1,guest"+born+"oa,x,", "V1,guest"+born+"pc,p,"),
			problems: []string{"openid_twice: lines [2] users [V1] stored V2, without the openid"},
			people:   []string{"V1 guest", "V2 guest"}, stored: []string{"visitor oa x V2", "visitor pc p V1"},
		},
		"another visitor, and his unionid is known": {
			given:    []string{"guest V2 2", "visitor oa x V2"},
			file:     file(head, "V1,guest"+born+"oa,x,X", "V1,guest"+born+"pc,p,"),
			problems: []string{"openid_twice: lines [2] users [V1] stored V2, without the openid"},
			people:   []string{"V1 guest", "V2 guest"}, stored: []string{"visitor oa x V2", "visitor pc p V1"},
		},
		"himself": {
			given:  []string{"guest V1 1", "visitor oa x V1"},
			file:   file(head, "V1,guest"+born+"oa,x,", "V1,guest"+born+"mp,y,"),
			people: []string{"V1 guest"}, stored: []string{"visitor mp y V1", "visitor oa x V1"},
		},
		"nobody's unionid has somebody by now": {
			given:    []string{"guest V2 2", "identity oa x X V2"},
			file:     file(head, ",nobody,,oa,x,X"),
			problems: []string{"openid_twice: lines [2] stored V2, without the openid"},
			people:   []string{"V2 guest"}, stored: []string{"oa x X V2"},
		},
		"nobody's unionid in another app": {
			file:   file(head, ",nobody,,oa,x,X", ",nobody,,mp,y,X"),
			stored: []string{"mp y X -", "oa x X -"},
		},
	}
	runEach(t, tests)
}
