package account

import (
	"cmp"
	"os"
	"testing"
	"time"
)

// The exhaustive walk: every combination of what the tables distinguish. UO
// has X, UI is imported here, US has the stand-in here, UU is the session's, UM
// somebody else. Guest VO has X, V0 is the visitor here, VS has the stand-in
// here, VY has Y, VE is a visitor elsewhere; V1 and V9 stand nowhere and were
// born before and after all others.
const (
	here     = "oa"
	hereOpen = "p-oa"
	there    = "mp"

	phoneOwner    Phone = "+8613800000001" // of UO
	phoneImported Phone = "+8613800000002" // of UI
	phoneSession  Phone = "+8613800000003" // of UU
	phoneAlone    Phone = "+8613800000004" // of UP, who has no WeChat
	phoneBound    Phone = "+8613800000005" // of UB, who has B
	phoneIdle     Phone = "+8613800000006" // of UL, who has L and was away for long
	phoneStandIn  Phone = "+8613800000007" // of UT, who has a stand-in here
	phoneFree     Phone = "+8613800000009"
)

func (m *model) givenMember(id string, phone Phone) {
	if m.users[id] == nil {
		m.users[id] = &modelUser{kind: Member, seen: m.now}
	}
	m.users[id].phone = max(phone, m.users[id].phone)
}

func (m *model) givenGuest(id string, born int) {
	m.born[id] = birthday(born)
	m.store(id)
}

func (m *model) givenRow(app, openid string, union modelUnionID, user string) {
	m.rows[modelOpenID{app, openid}], m.owners[union] = modelRow{union: union}, user
}

func (m *model) givenMerged(id, into string) {
	m.givenGuest(id, 4)
	m.users[id].into = into
}

func real(unionid string) modelUnionID { return modelUnionID{unionID: unionid} }

func atHere() modelOpenID       { return modelOpenID{here, hereOpen} }
func standInHere() modelUnionID { return modelUnionID{here, hereOpen} }

func bystanders(rules Rules) *model {
	m := newModel(rules)
	m.now = birthday(1000)
	m.mint = func(k Kind) string { return map[Kind]string{Guest: "Vnew", Member: "Unew"}[k] }
	for id, phone := range map[string]Phone{"UM": "", "UP": phoneAlone, "UB": phoneBound, "UL": phoneIdle, "UT": phoneStandIn} {
		m.givenMember(id, phone)
	}
	m.givenRow(there, "b-mp", real("B"), "UB")
	m.givenRow(there, "l-mp", real("L"), "UL")
	m.givenRow(there, "m-mp", real("M"), "UM")
	m.givenRow(here, "t-oa", modelUnionID{here, "t-oa"}, "UT")
	m.users["UL"].seen = m.now.Add(-DefaultPhoneIdle - time.Hour)
	return m
}

// rowsOfX are what is stored for the unionid.
func rowsOfX() []func(*model) {
	x := real("X")
	member := func(phone Phone) func(*model) {
		return func(m *model) {
			m.givenMember("UO", phone)
			m.givenRow(there, "p-mp", x, "UO")
		}
	}
	return []func(*model){
		func(*model) {}, // S0
		func(m *model) { m.givenRow(there, "p-mp", x, "") }, // S1
		func(m *model) { // S2
			m.givenGuest("VO", 6)
			m.givenRow(there, "p-mp", x, "VO")
		},
		member(""), // S3
		member(phoneOwner),
		func(m *model) { // G2: in this app, under another openid
			m.givenMember("UO", "")
			m.givenRow(here, "q-oa", x, "UO")
		},
	}
}

// rowsHere are what is stored for the openid.
func rowsHere() []func(*model) {
	imported := func(m *model) {
		m.givenMember("UI", "")
		m.rows[atHere()] = modelRow{user: "UI"}
	}
	visitor := func(m *model) {
		m.givenGuest("V0", 5)
		m.visitors[atHere()] = "V0"
	}
	owners := func(m *model) { // an openid map has made the unionid's guest a visitor here
		if m.users["VO"] != nil {
			m.visitors[atHere()] = "VO"
		}
	}
	standIn := func(m *model) {
		m.givenMember("US", "")
		m.givenRow(here, hereOpen, standInHere(), "US")
	}
	with := func(all ...func(*model)) func(*model) {
		return func(m *model) {
			for _, f := range all {
				f(m)
			}
		}
	}
	return []func(*model){
		func(*model) {},
		visitor,
		with(visitor, func(m *model) { m.visitors[modelOpenID{there, "v-mp"}] = "V0" }),
		with(visitor, func(m *model) { m.givenRow(there, "v-mp", real("V"), "V0") }),
		imported,
		with(imported, func(m *model) { m.givenMember("UI", phoneImported) }),
		with(imported, func(m *model) { m.givenRow(there, "i-mp", real("I"), "UI") }),
		with(imported, func(m *model) { m.givenRow(here, "i-oa", modelUnionID{here, "i-oa"}, "UI") }),
		with(imported, visitor),
		owners,
		with(imported, owners),
		func(m *model) { // a row of the member who has X, imported
			m.givenMember("UO", "")
			m.rows[atHere()] = modelRow{user: "UO"}
		},
		func(m *model) { m.rows[atHere()] = modelRow{union: real("X")}; m.owners[real("X")] += "" },
		func(m *model) {
			m.givenMember("UZ", "")
			m.givenRow(here, hereOpen, real("Z"), "UZ")
		},
		func(m *model) {
			m.givenGuest("VZ", 5)
			m.givenRow(here, hereOpen, real("Z"), "VZ")
		},
		func(m *model) { m.givenRow(here, hereOpen, standInHere(), "") },
		func(m *model) {
			m.givenGuest("VS", 5)
			m.givenRow(here, hereOpen, standInHere(), "VS")
		},
		standIn,
		with(standIn, func(m *model) { m.givenRow(there, "s-mp", real("S"), "US") }),
	}
}

// sessions are who comes. They may store more.
func sessions() []func(*model, *Input) {
	guest := func(id string, born int, store func(*model)) func(*model, *Input) {
		return func(m *model, in *Input) {
			m.born[id] = birthday(born)
			in.UserID, in.UserKind, in.UserBorn = id, Guest, m.born[id]
			if store != nil {
				store(m)
			}
		}
	}
	member := func(id string, store func(*model)) func(*model, *Input) {
		return func(m *model, in *Input) {
			in.UserID, in.UserKind = id, Member
			if store != nil {
				store(m)
			}
		}
	}
	uu := func(phone Phone, rows ...modelUnionID) func(*model) {
		return func(m *model) {
			m.givenMember("UU", phone)
			for _, union := range rows {
				m.givenRow(cmp.Or(union.scope, there), "u-"+cmp.Or(union.scope, there), union, "UU")
			}
		}
	}
	y := func(m *model) {
		m.givenGuest("VY", 7)
		m.givenRow(there, "y-mp", real("Y"), "VY")
	}
	return []func(*model, *Input){
		func(*model, *Input) {},
		guest("V1", 1, nil),
		guest("V9", 9, nil),
		guest("V0", 5, nil),
		guest("VS", 5, nil),
		guest("VO", 6, nil),
		guest("VZ", 5, nil),
		guest("VY", 7, y),
		func(m *model, in *Input) { // handed over
			guest("VY", 7, y)(m, in)
			in.SessionAppID, in.SessionOpenID = there, "y-mp"
		},
		guest("VE", 8, func(m *model) {
			m.givenGuest("VE", 8)
			m.visitors[modelOpenID{there, "e-mp"}] = "VE"
		}),
		guest("VM", 4, func(m *model) { // merged into a guest
			m.givenGuest("VE", 8)
			m.visitors[modelOpenID{there, "e-mp"}] = "VE"
			m.givenMerged("VM", "VE")
		}),
		guest("VM", 4, func(m *model) { // merged into this openid's visitor, if there is one
			m.givenGuest("V0", 5)
			m.givenMerged("VM", "V0")
		}),
		guest("VM", 4, func(m *model) { // merged into the member who has X, or no WeChat
			m.givenMember("UO", "")
			m.givenMerged("VM", "UO")
		}),
		guest("VM", 4, func(m *model) { m.givenMerged("VM", "UM") }),
		func(m *model, in *Input) { // the same, proved by its session
			guest("VM", 4, func(m *model) { m.givenMerged("VM", "UM") })(m, in)
			in.SessionUnionID, in.SessionAppID, in.SessionOpenID = "M", there, "m-mp"
		},
		member("UU", uu("")),
		member("UU", uu(phoneSession)),
		member("UU", uu("", real("U"))),
		member("UU", uu(phoneSession, real("U"))),
		member("UU", uu("", modelUnionID{here, "u-oa"})),
		member("UU", uu("", modelUnionID{"lone", "u-lone"})),
		member("UI", func(m *model) { m.givenMember("UI", "") }),
		member("UO", func(m *model) { m.givenMember("UO", "") }),
		member("UC", func(m *model) { m.users["UC"] = &modelUser{kind: Member, cancelled: true} }),
		member("UN", nil), // has no row
		member("UJ", func(m *model) { // merged into UU
			uu("")(m)
			m.users["UJ"] = &modelUser{kind: Member, into: "UU"}
		}),
	}
}

// TestEveryCombination compares what the code decides with what the tables say,
// for everything that the tables distinguish. What a call wants, where it comes
// from and two of the rules are taken in turn, unless WXGATE_TEST_ALL asks for
// every one of them with all the rest.
func TestEveryCombination(t *testing.T) {
	turns := 1
	if os.Getenv("WXGATE_TEST_ALL") != "" {
		turns = circumstances
	}
	n := 0
	eachCombination(turns, func(m *model, in Input) {
		n++
		if err := agree(m, in); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d combinations", n)
	if n < 100_000 {
		t.Errorf("only %d combinations", n)
	}
}

// TestSomeCombinations does one of many combinations in each kind of database.
func TestSomeCombinations(t *testing.T) {
	every := 601
	if os.Getenv("WXGATE_TEST_ALL") != "" {
		every = 61
	}
	onEach(t, func(t *testing.T, open opener) {
		db, n := open(t), 0
		eachCombination(1, func(m *model, in Input) {
			if n++; n%every != 0 {
				return
			}
			emptyDB(t, db)
			if _, err := newTwin(t, db, m.clone()).link(in); err != nil {
				t.Fatal(err)
			}
		})
	})
}

const circumstances = 2 * 2 * 2 * 4 * 2

// circumstance gives a call the rest of its input and rules.
func circumstance(m *model, in Input, n int) Input {
	m.rules.GuestsOff = n&1 != 0
	m.rules.FirstLogin = []FirstLogin{FirstLoginWeChat, FirstLoginWeChatPhone}[n>>1&1]
	if n>>2&1 != 0 {
		in.Want = WantLogin
	}
	switch n >> 3 & 3 {
	case 0:
		in.InBrowser = true
	case 1:
		in.InBrowser, in.Consented = true, true
	case 2:
		in.Outside = true
	}
	if n>>5&1 != 0 && in.SessionOpenID == "" {
		in.SessionAppID, in.SessionOpenID = in.AppID, in.OpenID
	}
	return in
}

// eachCombination makes what is stored and the heart of an input, in every way
// that the constraints allow, each in the next few of the circumstances.
func eachCombination(turns int, do func(*model, Input)) {
	turn := 0
	for _, linking := range []Linking{OneToOne, ManyUnionIDs} {
		for _, standIn := range []bool{false, true} {
			rules := Rules{Linking: linking, StandIns: map[string]bool{here: standIn, "lone": true}}
			eachGiven(rules, func(m *model, in Input) {
				eachProof(in, func(in Input) {
					for range turns {
						turn = (turn + 1) % circumstances
						do(m, circumstance(m, in, turn))
					}
				})
			})
		}
	}
}

func eachGiven(rules Rules, do func(*model, Input)) {
	for _, x := range rowsOfX() {
		for _, own := range rowsHere() {
			for _, session := range sessions() {
				m := bystanders(rules)
				x(m)
				own(m)
				in := Input{AppID: here, OpenID: hereOpen}
				session(m, &in)
				if len(m.broken()) == 0 {
					do(m, in)
				}
			}
		}
	}
}

func eachProof(in Input, do func(Input)) {
	for _, phone := range []Phone{"", phoneFree, phoneOwner, phoneImported, phoneSession, phoneAlone, phoneBound, phoneIdle, phoneStandIn} {
		in.Phone = phone
		for _, unionID := range []string{"", "X"} {
			in.UnionID = unionID
			do(in)
		}
	}
	in.AppID, in.OpenID, in.UnionID, in.Outside = "", "", "", true
	for _, phone := range []Phone{"", phoneFree, phoneSession, phoneAlone, phoneBound, phoneIdle} {
		in.Phone = phone
		do(in)
	}
}
