package account

import (
	"strings"
	"testing"
)

func TestTableN(t *testing.T) {
	owned := []string{"guest V1 1", "identity mp y Y V1"}
	runRows(t, []tableRow{
		{"N1: outside WeChat a guest has no row", phoneMode(), nil, Input{Outside: true}, "V+1, guest", nil},
		{"N1: outside WeChat, guests off", off(), nil, Input{Outside: true}, "nobody, guest", nil},
		{"N2: the same, with guests off", off(), []string{"guest V1 1", "visitor oa x V1"}, at("oa", "x").as("V1"), "V1, guest", nil},
		{"N3: guests off, and both are left from before", off(), []string{"guest V3 3", "visitor oa x V3"}, at("oa", "x").as("V1"),
			"V1, guest, merged V3>V1", []string{"visitor oa x V1"}},
		{"N3: ids of digits compare as numbers", phoneMode(), []string{"guest 10 5", "visitor oa x 10"},
			Input{AppID: "oa", OpenID: "x", UserID: "9", UserKind: Guest, UserBorn: birthday(5)},
			"V+2, guest, merged V+1>V+2", []string{"visitor oa x V+2"}},
		{"N3b: guests off", off(), nil, at("oa", "x").as("V1"), "V1, guest", []string{"visitor oa x V1"}},
		{"N3c: the session was created under V's visitor row", phoneMode(), []string{"guest V1 1", "visitor mp y V1", "guest V2 2", "visitor oa x V2"},
			at("oa", "x").as("V1").from("mp", "y"), "V1, guest", nil},
		{"N3c: guests off", off(), owned, at("oa", "x").as("V1").from("mp", "y"), "V1, guest", nil},
		{"N3c: outside WeChat", phoneMode(), owned, Input{Outside: true}.as("V1").from("mp", "y"), "V1, guest", nil},
		{"N3c: an openid of that name in another app is no proof", phoneMode(), owned, at("oa", "x").as("V1").from("mp2", "y"),
			"V+1, guest_owned_by_other", append(owned[:0:0], "mp y Y V1", "visitor oa x V+1")},
		{"N4: in an app that is not known, and the login is served", Rules{}, []string{"member U1"}, at("oa", "x").as("U1").login(),
			"U1, unionid_missing", nil},
		{"N4: outside WeChat", phoneMode(), []string{"member U1"}, Input{Outside: true}.as("U1").login(), "U1, ok", nil},
		{"N6: outside WeChat", Rules{}, nil, Input{Outside: true}.login(), "V+1, phone_required", nil},
		{"N6: a bind action, whatever the browser", Rules{}, nil, Input{InBrowser: true, Outside: true}.login(), "V+1, phone_required", nil},
		{"N6: in WeChat's browser before any silent identification", Rules{}, nil, Input{InBrowser: true}.as("V1").login(),
			"V1, auth_required", nil},
		{"N6: N3 goes on below it", Rules{}, []string{"guest V1 1", "visitor oa x V1"}, at("oa", "x").as("V2").login(),
			"V1, auth_required, merged V2>V1", nil},
		{"N6: comes before guest_owned_by_other", Rules{}, owned, at("oa", "x").as("V1").login(),
			"V+1, auth_required", []string{"mp y Y V1", "visitor oa x V+1"}},
		{"N6: comes before stale_guest", Rules{}, []string{"member U1", "guest V1 1", "merged V1 U1"}, at("oa", "x").as("V1").login(),
			"V+1, auth_required", []string{"visitor oa x V+1"}},
		{"N6: guests off, outside", off(), nil, Input{Outside: true}.login(), "nobody, phone_required", nil},
		{"N-: outside WeChat", phoneMode(), owned, Input{Outside: true}.as("V1"), "V+1, guest_owned_by_other", nil},
		{"N-: guests off", off(), owned, at("oa", "x").as("V1"), "nobody, guest_owned_by_other", nil},
		{"N-: guests off, and a visitor is left from before", off(), append(owned, "guest V2 2", "visitor oa x V2"), at("oa", "x").as("V1"),
			"V2, guest_owned_by_other", nil},
	})
}

func TestTableWOfVisitors(t *testing.T) {
	s1 := []string{"identity mp x X -"}
	s2 := []string{"guest V5 5", "identity mp x X V5"}
	s3 := []string{"member U1", "identity mp x X U1"}
	foreign := []string{"guest V1 1", "identity mp y Y V1"}
	with := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	visitor := []string{"guest V3 3", "visitor oa x V3"}
	oa := proved("oa", "x", "X")
	runRows(t, []tableRow{
		{"W1: the visitor row's guest is the candidate", phoneMode(), visitor, oa, "V3, guest, linked oa/x", []string{"oa x X V3"}},
		{"W1: guests off, but a visitor is left from before", off(), visitor, oa, "V3, guest, linked oa/x", []string{"oa x X V3"}},
		{"W2: guests off", off(), s1, oa, "nobody, guest, linked oa/x", []string{"mp x X -", "oa x X -"}},
		{"W2: a new guest fills all rows", phoneMode(), s1, oa, "V+1, guest, linked oa/x", []string{"mp x X V+1", "oa x X V+1"}},
		{"W2: the visitor row's guest fills them", phoneMode(), with(s1, visitor), oa, "V3, guest, linked oa/x", []string{"mp x X V3", "oa x X V3"}},
		{"W3: the visitor row's guest merges", phoneMode(), with(s2, visitor), oa, "V5, guest, linked oa/x, merged V3>V5", []string{"mp x X V5", "oa x X V5"}},
		{"W4: the visitor row's guest merges", phoneMode(), with(s3, visitor), oa, "U1, ok, linked oa/x, merged V3>U1", []string{"mp x X U1", "oa x X U1"}},
		{"W5: guests off", off(), nil, oa.as("V1"), "V1, guest, linked oa/x", []string{"oa x X V1"}},
		{"W6: with a guest that has no row", phoneMode(), s1, oa.as("V1"), "V1, guest, linked oa/x", []string{"mp x X V1", "oa x X V1"}},
		{"W7: the session's guest is the older", phoneMode(), visitor, oa.as("V1"), "V1, guest, linked oa/x, merged V3>V1", []string{"oa x X V1"}},
		{"W7: with an empty user id", phoneMode(), with(s1, visitor), oa.as("V4"), "V3, guest, linked oa/x, merged V4>V3", []string{"mp x X V3", "oa x X V3"}},
		{"W8: nothing is new", phoneMode(), s2, proved("mp", "x", "X").as("V5"), "V5, guest", nil},
		{"W8: by the openid alone", phoneMode(), s2, at("mp", "x").as("V5"), "V5, guest", nil},
		{"W10: in a second app", phoneMode(), s3, oa.as("V1"), "U1, ok, linked oa/x, merged V1>U1", []string{"mp x X U1", "oa x X U1"}},
		{"W11: S0", phoneMode(), foreign, oa.as("V1"), "V+1, guest_owned_by_other, linked oa/x", []string{"mp y Y V1", "oa x X V+1"}},
		{"W11: S1", phoneMode(), with(s1, foreign), oa.as("V1"), "V+1, guest_owned_by_other, linked oa/x", []string{"mp x X V+1", "mp y Y V1", "oa x X V+1"}},
		{"W11: S2", phoneMode(), with(s2, foreign), oa.as("V1"), "V5, guest_owned_by_other, linked oa/x", []string{"mp x X V5", "mp y Y V1", "oa x X V5"}},
		{"W11: S3, and a hand-off changes nothing", phoneMode(), with(s3, foreign), oa.as("V1").from("mp", "y"),
			"U1, guest_owned_by_other, linked oa/x", []string{"mp x X U1", "mp y Y V1", "oa x X U1"}},
		{"W11: guests off", off(), foreign, oa.as("V1"), "nobody, guest_owned_by_other, linked oa/x", []string{"mp y Y V1", "oa x X -"}},
		{"W11: the visitor row's guest is the candidate", phoneMode(), with(foreign, visitor), oa.as("V1"),
			"V3, guest_owned_by_other, linked oa/x", []string{"mp y Y V1", "oa x X V3"}},
	})
}

func TestTableWOfMembers(t *testing.T) {
	me := []string{"member U1"}
	bound := []string{"member U1", "identity mp y Y U1"}
	theirs := []string{"member U1", "member U2", "identity mp x X U2"}
	visitor := []string{"guest V3 3", "visitor oa x V3"}
	guest := []string{"guest V5 5", "identity mp x X V5"}
	with := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	oa := proved("oa", "x", "X").as("U1")
	runRows(t, []tableRow{
		{"W12: the visitor row's guest merges", phoneMode(), with(me, visitor), oa, "U1, ok, linked oa/x, merged V3>U1", []string{"oa x X U1"}},
		{"W13: the rows of other apps are filled", phoneMode(), append(me, "identity mp x X -"), oa, "U1, ok, linked oa/x", []string{"mp x X U1", "oa x X U1"}},
		{"W14: both guests merge", phoneMode(), with(me, guest, visitor), oa, "U1, ok, linked oa/x, merged V3>U1, merged V5>U1", []string{"mp x X U1", "oa x X U1"}},
		{"W14: by the openid alone", phoneMode(), with(me, guest), at("mp", "x").as("U1"), "U1, ok, merged V5>U1", []string{"mp x X U1"}},
		{"W15: the visitor row's guest merges", phoneMode(), with(visitor, []string{"member U1", "identity mp x X U1"}), oa,
			"U1, ok, linked oa/x, merged V3>U1", []string{"mp x X U1", "oa x X U1"}},
		{"W16: inside WeChat the account of this WeChat is served", phoneMode(), theirs, oa,
			"U2, wechat_bound_to_other_user, linked oa/x, opened", []string{"mp x X U2", "oa x X U2"}},
		{"W16: also when the session was created elsewhere", phoneMode(), theirs, oa.from("mp", "z"),
			"U2, wechat_bound_to_other_user, linked oa/x, opened", []string{"mp x X U2", "oa x X U2"}},
		{"W16: the session was created under an openid of that name in another app", phoneMode(), theirs, oa.from("mp", "x"),
			"U2, wechat_bound_to_other_user, linked oa/x, opened", []string{"mp x X U2", "oa x X U2"}},
		{"W16: the visitor row's guest is this WeChat's", phoneMode(), with(theirs, visitor), oa.outside(),
			"U1, wechat_bound_to_other_user, linked oa/x, merged V3>U2, opened", []string{"mp x X U2", "oa x X U2"}},
		{"W16: for a member who is bound to another unionid", phoneMode(), append(theirs, "identity mp y Y U1"), oa,
			"U2, wechat_bound_to_other_user, linked oa/x, opened", []string{"mp x X U2", "mp y Y U1", "oa x X U2"}},
		{"W18: S0, and the visitor row's guest is this WeChat's own", phoneMode(), with(bound, visitor), oa,
			"V3, userid_bound_to_other_wechat, linked oa/x, opened", []string{"mp y Y U1", "oa x X V3"}},
		{"W18: S1", phoneMode(), append(bound, "identity mp x X -"), oa,
			"V+1, userid_bound_to_other_wechat, linked oa/x, opened", []string{"mp x X V+1", "mp y Y U1", "oa x X V+1"}},
		{"W18: S2, and the visitor row's guest merges", phoneMode(), with(bound, guest, visitor), oa,
			"V5, userid_bound_to_other_wechat, linked oa/x, merged V3>V5, opened", []string{"mp x X V5", "mp y Y U1", "oa x X V5"}},
		{"W18: a bind action writes nothing, not even for the visitor", phoneMode(), with(bound, guest, visitor), oa.outside(),
			"U1, userid_bound_to_other_wechat, opened", nil},
		{"W18: a login-required action is refused as well", Rules{}, bound, oa.login(),
			"V+1, userid_bound_to_other_wechat, linked oa/x, opened", []string{"mp y Y U1", "oa x X V+1"}},
	})
}

func TestW19MakesMembersInModeWeChatOnly(t *testing.T) {
	wechat := Rules{FirstLogin: FirstLoginWeChat}
	oa := proved("oa", "x", "X").login()
	guest := []string{"guest V5 5", "identity mp x X V5"}
	runRows(t, []tableRow{
		{"S0: nobody becomes a guest on the way", wechat, nil, oa, "U+1, ok, created U+1, linked oa/x", []string{"oa x X U+1"}},
		{"S0: the default mode", Rules{}, nil, oa, "U+1, ok, created U+1, linked oa/x", []string{"oa x X U+1"}},
		{"S0: session and visitor row both merge", wechat, []string{"guest V3 3", "visitor oa x V3"}, oa.as("V1"),
			"U+1, ok, created U+1, linked oa/x, merged V1>U+1, merged V3>U+1", []string{"oa x X U+1"}},
		{"S1: all rows are filled", wechat, []string{"identity mp x X -"}, oa, "U+1, ok, created U+1, linked oa/x", []string{"mp x X U+1", "oa x X U+1"}},
		{"S2: the unionid's guest merges", wechat, guest, oa.as("V1"),
			"U+1, ok, created U+1, linked oa/x, merged V1>U+1, merged V5>U+1", []string{"mp x X U+1", "oa x X U+1"}},
		{"S2: a guest of another WeChat stays", wechat, append(guest, "guest V1 1", "identity mp y Y V1"), oa.as("V1"),
			"U+1, guest_owned_by_other, created U+1, linked oa/x, merged V5>U+1", []string{"mp x X U+1", "mp y Y V1", "oa x X U+1"}},
		{"S2: by the openid alone", wechat, guest, at("mp", "x").login(), "U+1, ok, created U+1, merged V5>U+1", []string{"mp x X U+1"}},
		{"S3: he is there", wechat, []string{"member U1", "identity oa x X U1"}, oa, "U1, ok", nil},
		{"guests off", Rules{GuestsOff: true}, nil, oa, "U+1, ok, created U+1, linked oa/x", []string{"oa x X U+1"}},
		{"wechat_phone, S0", phoneMode(), nil, oa, "V+1, phone_required, linked oa/x", []string{"oa x X V+1"}},
		{"wechat_phone, S2", phoneMode(), guest, oa.as("V1"), "V5, phone_required, linked oa/x, merged V1>V5", []string{"mp x X V5", "oa x X V5"}},
		{"wechat_phone, guests off", off(), nil, oa, "nobody, phone_required, linked oa/x", []string{"oa x X -"}},
		{"wechat_phone never stops a member", phoneMode(), []string{"member U1", "identity oa x X U1"}, oa, "U1, ok", nil},
	})
}

// A shop may ask why an id was replaced.
func TestMergesSayWhy(t *testing.T) {
	visitor := []string{"guest V3 3", "visitor oa x V3"}
	for want, c := range map[string]struct {
		given []string
		in    Input
	}{
		"visitor":  {visitor, at("oa", "x").as("V1")},
		"login":    {all(visitor, []string{"member U1", "identity mp x X U1"}), proved("oa", "x", "X")},
		"imported": {[]string{"member U1", "imported oa x U1"}, at("oa", "x").as("V1")},
		"repair":   {[]string{"member U1", "imported oa x U1"}, proved("oa", "x", "X").as("V1")},
	} {
		for _, e := range newWorld(t, phoneMode(), c.given...).link(c.in).Events {
			if m, ok := e.Data.(Merged); ok && m.Reason != want {
				t.Errorf("the reason is %s, want %s", m.Reason, want)
			}
		}
	}
}

func TestConflictsCloseWhenTheRefusedLinkSucceeds(t *testing.T) {
	onEach(t, conflictsClose)
}

func conflictsClose(t *testing.T, open opener) {
	db := open(t)
	for _, c := range []struct {
		name    string
		given   []string
		refused Input
		settle  string // what an operator does meanwhile
		again   Input
		said    string
	}{
		{"W16: the WeChat was unbound from the other member",
			[]string{"member U1", "member U2", "identity oa x X U2"}, proved("oa", "x", "X").as("U1"),
			`DELETE FROM wxgate_identity; DELETE FROM wxgate_unionid`,
			proved("oa", "x", "X").as("U1"), "U1, ok, closed, linked oa/x"},
		{"W18: the member's other WeChat was unbound, and he binds in another app",
			[]string{"member U1", "identity mp y Y U1"}, proved("pc", "x", "X").as("U1").outside(),
			`DELETE FROM wxgate_identity; DELETE FROM wxgate_unionid`,
			proved("oa", "x", "X").as("U1"), "U1, ok, closed, linked oa/x"},
		{"G2: the app was rebound", []string{"member U1", "identity oa x X U1"}, proved("oa", "x", "Z"),
			`UPDATE wxgate_identity SET unionid = NULL, user_id = 'U1'; DELETE FROM wxgate_unionid`,
			proved("oa", "x", "Z"), "U1, ok, closed, linked oa/x"},
		{"G3: the two members were merged", []string{"member U1", "member U2", "identity mp x X U1", "imported oa x U2"}, proved("oa", "x", "X"),
			`UPDATE wxgate_user SET merged_into = 'U1', merged_at = 1 WHERE id = 'U2'; UPDATE wxgate_identity SET user_id = 'U1' WHERE openid = 'x' AND appid = 'oa'`,
			proved("oa", "x", "X"), "U1, ok, closed, linked oa/x"},
		{"P4: the phone's owner was unbound from his other WeChat", []string{"member U1", "phone U1 p1", "identity mp y Y U1"}, proved("oa", "x", "X").with("p1"),
			`DELETE FROM wxgate_identity WHERE unionid = 'Y'; DELETE FROM wxgate_unionid WHERE unionid = 'Y'`,
			proved("oa", "x", "X").with("p1"), "U1, ok, closed, merged V+1>U1"},
		{"P7: the other member gave up the phone", []string{"member U1", "identity oa x X U1", "member U2", "phone U2 p2"}, proved("oa", "x", "X").with("p2"),
			`UPDATE wxgate_user SET phone_key = NULL, phone_sealed = NULL`,
			proved("oa", "x", "X").with("p2"), "U1, ok, closed, phone.bound U1"},
		{"N5: the same, where no unionid is known", []string{"member U1", "member U2", "phone U2 p2"}, Input{Outside: true}.as("U1").with("p2"),
			`UPDATE wxgate_user SET phone_key = NULL, phone_sealed = NULL`,
			Input{Outside: true}.as("U1").with("p2"), "U1, ok, closed, phone.bound U1"},
		{"P7: another phone settles nothing", []string{"member U1", "identity oa x X U1", "member U2", "phone U2 p2"}, proved("oa", "x", "X").with("p2"),
			``, proved("oa", "x", "X").with("p1"), "U1, ok, phone.bound U1"},
		{"P4: nor does the WeChat's own member", []string{"member U1", "phone U1 p1", "identity mp y Y U1"}, proved("oa", "x", "X").with("p1"),
			``, proved("oa", "x", "X").with("p3"), "U+1, ok, created U+1, merged V+1>U+1, phone.bound U+1"},
		{"W16: the account of this WeChat logs in, which settles nothing",
			[]string{"member U1", "member U2", "identity oa x X U2"}, proved("oa", "x", "X").as("U1"),
			``, proved("oa", "x", "X").as("U2"), "U2, ok"},
		{"W18: the WeChat is linked, but not to the member who wanted it",
			[]string{"member U1", "identity mp y Y U1"}, proved("pc", "x", "X").as("U1").outside(),
			``, proved("pc", "x", "X").outside(), "V+1, guest, linked pc/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorldIn(t, db, phoneMode(), c.given...)
			w.link(c.refused)
			if got := w.said(w.link(c.refused)); strings.Contains(got, "opened") {
				t.Errorf("opened twice: %s", got)
			}
			for _, q := range strings.Split(c.settle, ";") {
				if q != "" {
					w.exec(q)
				}
			}
			diff(t, "afterwards", c.said, w.said(w.link(c.again)))
			open := len(w.lines(`SELECT id FROM wxgate_conflict WHERE closed IS NULL`))
			if want := strings.Contains(c.said, "closed"); (open == 0) != want {
				t.Errorf("%d conflicts are open", open)
			}
		})
	}
}
