package account

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// problemCase is a file, what was stored before it, what is said of it, and
// what is stored afterwards.
type problemCase struct {
	given    []string
	rules    Rules
	file     string
	problems []string
	people   []string
	stored   []string
}

// runEach runs cases on each kind of database.
func runEach(t *testing.T, cases map[string]problemCase) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for name, tt := range cases {
			t.Run(name, func(t *testing.T) { tt.run(t, db) })
		}
	})
}

func (tt problemCase) run(t *testing.T, db *DB) {
	w := newWorldIn(t, db, tt.rules, tt.given...)
	before := w.everything()
	dry := w.importFile(tt.file, func(c *ImportConfig) { c.DryRun = true })
	diff(t, "what a dry run says", tt.problems, dry.problems)
	diff(t, "what a dry run has changed", before, w.everything())

	got := w.importFile(tt.file)
	diff(t, "said", tt.problems, got.problems)
	diff(t, "the report of a dry run", got.ImportReport, dry.ImportReport)
	diff(t, "people", tt.people, w.people())
	diff(t, "stored", tt.stored, w.rawStored())

	after := w.everything()
	again := w.importFile(tt.file)
	diff(t, "changed by importing again", after, w.everything())
	if n := again.Users.New + again.OpenIDs.New + again.Phones.New; n > 0 {
		t.Errorf("again %d things are new", n)
	}
}

// Rows of one file that cannot all be true: nobody can tell which is, so all of
// them are left out and named.
func TestRowsThatContradictEachOther(t *testing.T) {
	const head = "user_id,phone,appid,openid,unionid"
	tests := map[string]problemCase{
		"one phone, several users": {
			file:     file(head, "U1,13800138000,oa,x,X", "U2,+8613800138000,oa,y,Y", "U3,13800138001,,,", "U4,138 0013 8000,,,"),
			problems: []string{"phone_twice: lines [2 3 5] users [U1 U2 U4], without the phone"},
			people:   []string{"U1 member", "U2 member", "U3 member +8613800138001", "U4 member"},
			stored:   []string{"oa x X U1", "oa y Y U2"},
		},
		"one phone, one user, twice": {
			file:   file(head, "U1,13800138000,oa,x,X", "U1,86 13800138000,mp,y,X"),
			people: []string{"U1 member +8613800138000"},
			stored: []string{"mp y X U1", "oa x X U1"},
		},
		"one user, several phones": {
			file:     file(head, "U1,13800138000,oa,x,X", "U1,13800138001,,,"),
			problems: []string{"user_two_phones: lines [2 3] users [U1], without the phone"},
			people:   []string{"U1 member"},
			stored:   []string{"oa x X U1"},
		},
		"one unionid, several users": {
			file:     file(head, "U1,,oa,x,X", "U2,,mp,y,X", "U2,13800138000,oa,z,"),
			problems: []string{"unionid_twice: lines [2 3] users [U1 U2], without the openid", "without_unionid: lines [4] users [U2]"},
			people:   []string{"U1 member", "U2 member +8613800138000"},
			stored:   []string{"oa z - U2"},
		},
		"one openid, several users": {
			file:     file(head, "U1,,oa,x,X", "U2,,oa,x,", "U2,,mp,x,Y"),
			problems: []string{"openid_twice: lines [2 3] users [U1 U2], without the openid"},
			people:   []string{"U1 member", "U2 member"},
			stored:   []string{"mp x Y U2"},
		},
		"one openid, several unionids": {
			rules:    Rules{Linking: ManyUnionIDs},
			file:     file(head, "U1,,oa,x,X", "U1,,oa,x,Y"),
			problems: []string{"openid_two_unionids: lines [2 3] users [U1], without the openid"},
			people:   []string{"U1 member"},
			stored:   []string{},
		},
		"an openid with its unionid and again without": {
			file:   file(head, "U1,,oa,x,", "U1,,oa,x,X", "U1,,oa,x,"),
			people: []string{"U1 member"},
			stored: []string{"oa x X U1"},
		},
		"one unionid, several openids of an app": {
			file:     file(head, "U1,,oa,x,X", "U1,,oa,y,X", "U1,,mp,y,X"),
			problems: []string{"unionid_two_openids: lines [2 3] users [U1], without the openid"},
			people:   []string{"U1 member"},
			stored:   []string{"mp y X U1"},
		},
		"one user, several unionids": {
			file:     file(head, "U1,,oa,x,X", "U1,,oa,y,Y"),
			problems: []string{"user_two_unionids: lines [2 3] users [U1], without the openid"},
			people:   []string{"U1 member"},
			stored:   []string{},
		},
		"one user, several unionids, and that is wanted": {
			rules:  Rules{Linking: ManyUnionIDs},
			file:   file(head, "U1,,oa,x,X", "U1,,oa,y,Y"),
			people: []string{"U1 member"},
			stored: []string{"oa x X U1", "oa y Y U1"},
		},
		"an openid in the place of its unionid": {
			file:     file(head, "U1,,oa,x,x"),
			problems: []string{"without_unionid: lines [2] users [U1]"},
			people:   []string{"U1 member"},
			stored:   []string{"oa x - U1"},
		},
		"a unionid without an openid": {
			file:     file(head, "U1,,oa,,X", "U2,,mp,x,X"),
			problems: []string{"unionid_alone: lines [2] users [U1], without the unionid"},
			people:   []string{"U1 member", "U2 member"},
			stored:   []string{"mp x X U2"},
		},
		"many rows": {
			file:     file(slices.Concat([]string{head}, rowsOfOnePhone(100))...),
			problems: []string{"phone_twice: lines [2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21] of 100 users [U00 U01 U02 U03 U04], without the phone"},
			people:   usersWithoutPhone(100),
			stored:   []string{},
		},
	}
	runEach(t, tests)
}

func rowsOfOnePhone(n int) (rows []string) {
	for i := range n {
		rows = append(rows, fmt.Sprintf("U%02d,13800138000,,,", i))
	}
	return rows
}

func usersWithoutPhone(n int) (users []string) {
	for i := range n {
		users = append(users, fmt.Sprintf("U%02d member", i))
	}
	return users
}

// An id of the shop's must not be one that the gateway gives to somebody else.
func TestIDsThatTheGatewayGives(t *testing.T) {
	w := newWorld(t, Rules{})
	own := takeID(t, w.db)
	var problems []string
	_, err := w.db.Import(t.Context(), w.rules, ImportConfig{
		Format: CSV, AppID: "oa", Problem: func(p Problem) error { problems = append(problems, said(p)); return nil },
		Source: strings.NewReader(file("user_id,openid", "999999999,a", "1000001000,b", "1000001000,c", own+",", "01000000000,", "1000000000000000000000,")),
	})
	must(t, err)
	diff(t, "said", []string{
		"id_reserved: lines [5] users [1000000000], without the user: " + (&IDBlockError{ID: own, Given: true}).Error(),
		"id_reserved: lines [3] users [1000001000], without the user: " + (&IDBlockError{ID: "1000001000", Start: 1000000000}).Error(),
		"without_unionid: lines [2] users [999999999]",
	}, problems)
	diff(t, "people", []string{"01000000000 member", "1000000000000000000000 member", "999999999 member"}, w.people())
	diff(t, "stored", []string{"oa a - 999999999"}, w.rawStored())
}

// Rows that cannot be true beside what is stored are left out: what is stored
// stays.
func TestRowsThatContradictTheDatabase(t *testing.T) {
	const head = "user_id,phone,appid,openid,unionid"
	tests := map[string]problemCase{
		"a phone of somebody else": {
			given:    []string{"member U2", "phone U2 p1"},
			file:     file(head, "U1,"+string(phoneNumber("p1"))+",oa,x,X"),
			problems: []string{"phone_twice: lines [2] users [U1] stored U2, without the phone"},
			people:   []string{"U1 member", "U2 member " + string(phoneNumber("p1"))},
			stored:   []string{"oa x X U1"},
		},
		"another phone": {
			given:    []string{"member U1", "phone U1 p2"},
			file:     file(head, "U1,"+string(phoneNumber("p1"))+",oa,x,X"),
			problems: []string{"user_two_phones: lines [2] users [U1] stored U1, without the phone"},
			people:   []string{"U1 member " + string(phoneNumber("p2"))},
			stored:   []string{"oa x X U1"},
		},
		"a phone where none was": {
			given:  []string{"member U1", "identity oa x X U1"},
			file:   file(head, "U1,"+string(phoneNumber("p1"))+",,,"),
			people: []string{"U1 member " + string(phoneNumber("p1"))},
			stored: []string{"oa x X U1"},
		},
		"a guest's id": {
			given:    []string{"guest U1 1", "visitor oa v U1"},
			file:     file(head, "U1,,oa,x,X"),
			problems: []string{"user_differs: lines [2] users [U1] stored U1, without the user: his id is a guest's here"},
			people:   []string{"U1 guest"},
			stored:   []string{"visitor oa v U1"},
		},
		"a cancelled user": {
			given:    []string{"member U1", "cancelled U1"},
			file:     file(head, "U1,13800138000,oa,x,X", "U1,,mp,y,X"),
			problems: []string{"user_gone: lines [2] users [U1] stored U1, without the user: he is merged or cancelled here"},
			people:   []string{"U1 member cancelled"},
			stored:   []string{},
		},
		"a merged user": {
			given:    []string{"member U1", "member U2", "merged U1 U2"},
			file:     file(head, "U1,,oa,x,X"),
			problems: []string{"user_gone: lines [2] users [U1] stored U1, without the user: he is merged or cancelled here"},
			people:   []string{"U1 member > U2", "U2 member"},
			stored:   []string{},
		},
		"an openid of another member": {
			given:    []string{"member U2", "identity oa x X U2"},
			file:     file(head, "U1,,oa,x,"),
			problems: []string{"openid_twice: lines [2] users [U1] stored U2, without the openid"},
			people:   []string{"U1 member", "U2 member"},
			stored:   []string{"oa x X U2"},
		},
		"an openid that waits for another member's unionid": {
			given:    []string{"member U2", "imported oa x U2"},
			file:     file(head, "U1,,oa,x,X"),
			problems: []string{"openid_twice: lines [2] users [U1] stored U2, without the openid"},
			people:   []string{"U1 member", "U2 member"},
			stored:   []string{"oa x - U2"},
		},
		"another unionid of the openid": {
			given:    []string{"member U1", "identity oa x X U1"},
			file:     file(head, "U1,,oa,x,Y"),
			problems: []string{"openid_two_unionids: lines [2] users [U1] stored U1, without the openid"},
			people:   []string{"U1 member"},
			stored:   []string{"oa x X U1"},
		},
		"a unionid of another member": {
			given:    []string{"member U2", "identity mp y X U2"},
			file:     file(head, "U1,,oa,x,X"),
			problems: []string{"unionid_twice: lines [2] users [U1] stored U2, without the openid"},
			people:   []string{"U1 member", "U2 member"},
			stored:   []string{"mp y X U2"},
		},
		"another openid of the unionid": {
			given:    []string{"member U1", "identity oa y X U1"},
			file:     file(head, "U1,,oa,x,X"),
			problems: []string{"unionid_two_openids: lines [2] users [U1] stored U1, without the openid"},
			people:   []string{"U1 member"},
			stored:   []string{"oa y X U1"},
		},
		"a second unionid": {
			given:    []string{"member U1", "identity mp y Y U1"},
			file:     file(head, "U1,,oa,x,X"),
			problems: []string{"user_two_unionids: lines [2] users [U1] stored U1, without the openid"},
			people:   []string{"U1 member"},
			stored:   []string{"mp y Y U1"},
		},
		"a second unionid, and that is wanted": {
			rules:  Rules{Linking: ManyUnionIDs},
			given:  []string{"member U1", "identity mp y Y U1"},
			file:   file(head, "U1,,oa,x,X"),
			people: []string{"U1 member"},
			stored: []string{"mp y Y U1", "oa x X U1"},
		},
		"a second unionid for a row that waits": {
			given:    []string{"member U1", "identity mp y Y U1", "imported oa x U1"},
			file:     file(head, "U1,,oa,x,X"),
			problems: []string{"user_two_unionids: lines [2] users [U1] stored U1, without the openid"},
			people:   []string{"U1 member"},
			stored:   []string{"mp y Y U1", "oa x - U1"},
		},
		"a second unionid for a guest's openid": {
			given:    []string{"member U1", "identity mp y Y U1", "guest V1 1", "identity oa x X V1"},
			file:     file(head, "U1,,oa,x,"),
			problems: []string{"user_two_unionids: lines [2] users [U1] stored U1, without the openid"},
			people:   []string{"U1 member", "V1 guest"},
			stored:   []string{"mp y Y U1", "oa x X V1"},
		},
		"what is known": {
			given:  []string{"member U1", "identity oa x X U1", "identity mp y X U1", "phone U1 p1"},
			file:   file(head, "U1,"+string(phoneNumber("p1"))+",oa,x,X", "U1,,mp,y,"),
			people: []string{"U1 member " + string(phoneNumber("p1"))},
			stored: []string{"mp y X U1", "oa x X U1"},
		},
	}
	runEach(t, tests)
}

// A visitor may be faster than the import. Then the rules of Link say what
// becomes of his guest.
func TestImportMeetsVisitors(t *testing.T) {
	const head = "user_id,phone,appid,openid,unionid"
	merged := []string{"U1 member", "V1 guest > U1"}
	tests := map[string]problemCase{
		"his unionid is a guest's": {
			given:  []string{"guest V1 1", "identity oa x X V1"},
			file:   file(head, "U1,,oa,x,X"),
			people: merged, stored: []string{"oa x X U1"},
		},
		"his unionid is a guest's, and the file does not know it": {
			given:  []string{"guest V1 1", "identity oa x X V1"},
			file:   file(head, "U1,,oa,x,"),
			people: merged, stored: []string{"oa x X U1"},
		},
		"his unionid is a guest's in another app": {
			given:  []string{"guest V1 1", "identity mp y X V1"},
			file:   file(head, "U1,,oa,x,X"),
			people: merged, stored: []string{"mp y X U1", "oa x X U1"},
		},
		"his unionid is nobody's": {
			given:  []string{"identity oa x X -"},
			file:   file(head, "U1,,oa,x,X"),
			people: []string{"U1 member"}, stored: []string{"oa x X U1"},
		},
		"his openid is a visitor's": {
			given:  []string{"guest V1 1", "visitor oa x V1"},
			file:   file(head, "U1,,oa,x,X"),
			people: merged, stored: []string{"oa x X U1"},
		},
		"his openid is a visitor's, and nobody knows his unionid": {
			given:    []string{"guest V1 1", "visitor oa x V1"},
			file:     file(head, "U1,,oa,x,"),
			problems: []string{"without_unionid: lines [2] users [U1]"},
			people:   []string{"U1 member", "V1 guest"}, stored: []string{"oa x - U1", "visitor oa x V1"}, // merges at his visit
		},
		"his row waits for its unionid": {
			given:  []string{"member U1", "imported oa x U1", "guest V1 1", "identity mp y X V1"},
			file:   file(head, "U1,,oa,x,X"),
			people: merged, stored: []string{"mp y X U1", "oa x X U1"},
		},
	}
	runEach(t, tests)
}
