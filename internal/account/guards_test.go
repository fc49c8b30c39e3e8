package account

import (
	"testing"
)

// row is one row of a decision table at work.
type tableRow struct {
	name  string
	rules Rules
	given []string
	in    Input
	said  string   // user, code, events
	ends  []string // identities and visitors; nil: as given
}

func runRows(t *testing.T, rows []tableRow) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				w := newWorldIn(t, db, r.rules, r.given...)
				before := w.stored()
				out := w.link(r.in)
				diff(t, "outcome", r.said, w.said(out))
				if r.ends == nil {
					r.ends = before
				}
				diff(t, "stored", sorted(r.ends), w.stored())
			})
		}
	})
}

// Inputs read better as sentences.

func at(app, open string) Input { return Input{AppID: app, OpenID: open, InBrowser: true} }
func proved(app, open, un string) Input {
	return Input{AppID: app, OpenID: open, UnionID: un, InBrowser: true}
}

func (in Input) as(id string) Input { // session of V... or U...
	in.UserID, in.UserKind = id, Member
	if id[0] == 'V' {
		in.UserKind, in.UserBorn = Guest, birthday(int(id[1]-'0'))
	}
	return in
}
func (in Input) from(app, open string) Input {
	in.SessionAppID, in.SessionOpenID = app, open
	return in
}
func (in Input) sealed(unionID string) Input { in.SessionUnionID = unionID; return in }
func (in Input) login() Input                { in.Want = WantLogin; return in }
func (in Input) handedOver() Input           { in.HandedOver = true; return in }
func (in Input) outside() Input              { in.Outside, in.InBrowser = true, false; return in }

func (in Input) asGuest() Input          { in.UserKind, in.UserBorn = Guest, birthday(1); return in }
func (in Input) with(phone string) Input { in.Phone = phoneNumber(phone); return in }

func phoneMode() Rules { return Rules{FirstLogin: FirstLoginWeChatPhone} }
func off() Rules       { return Rules{FirstLogin: FirstLoginWeChatPhone, GuestsOff: true} }

func many() Rules { return Rules{FirstLogin: FirstLoginWeChatPhone, Linking: ManyUnionIDs} }

// all puts given facts together.
func all(lists ...[]string) (together []string) {
	for _, l := range lists {
		together = append(together, l...)
	}
	return together
}

func TestGuardsOnTheIncomingUser(t *testing.T) {
	runRows(t, []tableRow{
		{"G0: a cancelled member is nobody", phoneMode(),
			[]string{"member U1", "cancelled U1"}, at("oa", "x").as("U1"),
			"V+1, guest", []string{"visitor oa x V+1"}},
		{"G0: a guest's token is no key to a member of that id", phoneMode(),
			[]string{"member V1", "identity mp x X V1"}, at("oa", "y").as("V1"),
			"V+1, guest", []string{"mp x X V1", "visitor oa y V+1"}},
		{"G0: nor is a member's token one to a guest", phoneMode(),
			[]string{"guest U1 1", "identity mp x X U1"}, Input{}.as("U1").outside(),
			"V+1, guest", nil},
		{"G5: a merged member is always followed", phoneMode(),
			[]string{"member U1", "member U2", "merged U2 U1"}, Input{}.as("U2"),
			"U1, ok", nil},
		{"G5: a guest whose member was cancelled is stale", phoneMode(),
			[]string{"guest V1 1", "member U1", "merged V1 U1", "cancelled U1"}, Input{}.as("V1"),
			"V+1, stale_guest", nil},
		{"G5: a merged member whose survivor was cancelled is nobody", phoneMode(),
			[]string{"member U1", "member U2", "merged U2 U1", "cancelled U1"}, Input{}.as("U2"),
			"V+1, guest", nil},
		{"G5: the stored unionid of a proven openid is a proof", phoneMode(),
			[]string{"member U1", "guest V1 1", "merged V1 U1", "identity oa x X U1"}, at("oa", "x").as("V1"),
			"U1, ok", nil},
		{"G5: what is proven now counts before what was sealed", phoneMode(),
			[]string{"member U1", "guest V1 1", "merged V1 U1", "identity oa x X U1", "member U2", "identity oa y Y U2"},
			at("oa", "y").as("V1").sealed("X"),
			"U2, stale_guest", nil},
		{"G5: a sealed unionid that another member has opens nothing", phoneMode(),
			[]string{"member U1", "guest V1 1", "merged V1 U1", "identity oa x X U1", "member U2", "identity oa y Y U2"},
			Input{}.as("V1").sealed("Y"),
			"V+1, stale_guest", nil},
		{"G5: a sealed unionid that nobody has opens nothing", phoneMode(),
			[]string{"member U1", "guest V1 1", "merged V1 U1", "identity oa x X U1"}, Input{}.as("V1").sealed("Z"),
			"V+1, stale_guest", nil},
		{"G5: guests off, and a stale guest is nobody", off(),
			[]string{"member U1", "guest V1 1", "merged V1 U1", "identity oa x X U1"}, at("oa", "z").as("V1"),
			"nobody, stale_guest", nil},
	})
}

func TestSnapshotVisitorsAreStoredNowhere(t *testing.T) {
	snap := func(in Input) Input { in.Snapshot = true; return in }
	runRows(t, []tableRow{
		{"G1: nobody in the session", phoneMode(), nil, snap(proved("oa", "s", "S")), "V+1, snapshot", nil},
		{"G1: a member in the session", phoneMode(), []string{"member U1"}, snap(proved("oa", "s", "S").as("U1").login()), "V+1, snapshot", nil},
		{"G1: a known openid", phoneMode(), []string{"member U1", "identity oa x X U1"}, snap(proved("oa", "x", "X")), "V+1, snapshot", nil},
		{"G1: guests off", off(), nil, snap(proved("oa", "s", "S")), "nobody, snapshot", nil},
	})
}

func TestContradictionsWriteNothingButTheConflict(t *testing.T) {
	x := []string{"member U1", "identity oa x X U1"}
	runRows(t, []tableRow{
		{"G2: guests off", off(), x, proved("oa", "x", "Z"), "nobody, unionid_changed, opened", nil},
		{"G2: a session's guest of another WeChat is not served", phoneMode(),
			append(x, "guest V1 1", "identity mp y Y V1"), proved("oa", "x", "Z").as("V1"), "V+1, unionid_changed, opened", nil},
		{"G2: but it is after a hand-off", phoneMode(),
			append(x, "guest V1 1", "identity mp y Y V1"), proved("oa", "x", "Z").as("V1").from("mp", "y"), "V1, unionid_changed, opened", nil},
		{"G2: an unknown openid of a known unionid keeps its visitor", phoneMode(),
			append(x, "guest V1 1", "visitor oa s V1"), proved("oa", "s", "X"), "V1, openid_changed, opened", nil},
		{"G2: the older of two guests, and neither is merged", phoneMode(),
			append(x, "guest V3 3", "visitor oa s V3"), proved("oa", "s", "X").as("V1"), "V1, openid_changed, opened", nil},
		{"G2: a login does not help", Rules{}, x, proved("oa", "x", "Z").login(), "V+1, unionid_changed, opened", nil},
		{"G2: both at once is a changed unionid", phoneMode(),
			append(x, "member U2", "identity oa z Z U2"), proved("oa", "x", "Z"), "V+1, unionid_changed, opened", nil},
	})

	w := newWorld(t, phoneMode(), append(x, "idle U1", "guest V3 3", "visitor oa s V3")...)
	before := w.everything()
	for i, in := range []Input{proved("oa", "x", "Z").as("U1"), proved("oa", "s", "X"), proved("oa", "x", "Z").as("V1")} {
		if out := w.link(in); out.UnionID != "" {
			t.Errorf("visit %d: the disputed unionid %s would be sealed into the session", i, out.UnionID)
		}
	}
	diff(t, "after three contradictions", before, w.everything())
	diff(t, "conflicts, each opened once", []string{"openid_changed", "unionid_changed"}, w.lines(`SELECT code FROM wxgate_conflict ORDER BY code`))
}

func TestImportedRowsKeepOldCustomersRecognised(t *testing.T) {
	imported := []string{"member U1", "imported oa x U1"}
	other := append(imported, "member U2", "identity mp x X U2")
	bound := append(imported, "identity mp y Y U1")
	runRows(t, []tableRow{
		{"G6: in place of another member's session", phoneMode(), append(imported, "member U2"), at("oa", "x").as("U2"),
			"U1, unionid_missing", nil},
		{"G6: a login-required action changes nothing", Rules{}, imported, at("oa", "x").login(), "U1, unionid_missing", nil},
		{"G6: the visitor row goes, and its guest comes along", phoneMode(), append(imported, "guest V3 3", "visitor oa x V3"),
			at("oa", "x").as("V1"), "U1, unionid_missing, merged V1>U1, merged V3>U1", []string{"oa x - U1"}},
		{"G6: a guest of another WeChat is left alone", phoneMode(), append(imported, "guest V1 1", "identity mp y Y V1"),
			at("oa", "x").as("V1"), "U1, unionid_missing", nil},
		{"G6: the unionid is new", phoneMode(), imported, proved("oa", "x", "X").as("V1"),
			"U1, ok, linked oa/x, merged V1>U1", []string{"oa x X U1"}},
		{"G6: the unionid has an empty user id", phoneMode(), append(imported, "identity mp x X -"), proved("oa", "x", "X"),
			"U1, ok, linked oa/x", []string{"mp x X U1", "oa x X U1"}},
		{"G6: the unionid has a guest, who is this one", phoneMode(), append(imported, "guest V1 1", "identity mp x X V1"),
			proved("oa", "x", "X").as("V1"), "U1, ok, linked oa/x, merged V1>U1", []string{"mp x X U1", "oa x X U1"}},
		{"G6: another member's session gives way when the unionid arrives", phoneMode(), append(imported, "member U2", "identity mp y Y U2"),
			proved("oa", "x", "X").as("U2"), "U1, ok, linked oa/x", []string{"mp y Y U2", "oa x X U1"}},
		{"G3: the unionid is another member's, whose session it is", phoneMode(), other, proved("oa", "x", "X").as("U2"),
			"U1, repair_conflict, opened", nil},
		{"G3: the free guest merges all the same", phoneMode(), other, proved("oa", "x", "X").as("V1"),
			"U1, repair_conflict, merged V1>U1, opened", nil},
		{"G3: the visitor row goes, too", phoneMode(), append(other, "guest V3 3", "visitor oa x V3"), proved("oa", "x", "X"),
			"U1, repair_conflict, merged V3>U1, opened", []string{"mp x X U2", "oa x - U1"}},
		{"G3: the unionid's own guest stays the unionid's", phoneMode(), append(bound, "guest V1 1", "identity web x X V1"),
			proved("oa", "x", "X").as("V1"), "U1, repair_conflict, opened", nil},
	})
}

// Whoever has handed a guest over has him too, so no row comes to name him for
// somebody else.
func TestHandedOverGuestIsNotFree(t *testing.T) {
	runRows(t, []tableRow{
		{"W11: a new unionid does not take him", phoneMode(),
			nil, proved("oa", "x", "X").as("V1").from("mp", "m").handedOver(),
			"V+1, guest_owned_by_other, linked oa/x", []string{"oa x X V+1"}},
		{"W11: nor does he merge into its guest", phoneMode(),
			[]string{"guest V2 2", "identity oa x X V2"}, proved("oa", "x", "X").as("V1").from("mp", "m").handedOver(),
			"V2, guest_owned_by_other", nil},
		{"N1: an openid does not take him", phoneMode(),
			nil, at("oa", "x").as("V1").from("mp", "m").handedOver(),
			"V+1, guest_owned_by_other", []string{"visitor oa x V+1"}},
		{"N5: he does not come along with a phone", phoneMode(),
			nil, Input{}.as("V1").from("mp", "m").handedOver().with("P1").outside(),
			"U+1, guest_owned_by_other, created U+1, phone.bound U+1", nil},
		{"N2: he whom the openid has is his own", phoneMode(),
			[]string{"guest V1 1", "visitor oa x V1"}, at("oa", "x").as("V1").from("mp", "m").handedOver(),
			"V1, guest", nil},
	})
}
