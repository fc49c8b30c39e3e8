package account

import "testing"

// standIns are rules for mini programs mp and mp2 that are bound to no Open
// Platform account.
func standIns(r Rules) Rules {
	r.StandIns = map[string]bool{"mp": true, "mp2": true}
	return r
}

func TestStandIns(t *testing.T) {
	unbound := standIns(phoneMode())
	mp := at("mp", "x")
	me := []string{"member U1"}
	imported := []string{"member U1", "imported mp x U1"}
	runRows(t, []tableRow{
		{"Modes: W1, the openid is enough", unbound, nil, mp, "V+1, guest, linked mp/x", []string{"mp x x V+1"}},
		{"Modes: W1, guests off", standIns(off()), nil, mp, "nobody, guest, linked mp/x", []string{"mp x x -"}},
		{"Modes: W5, a visitor left from before", unbound, []string{"guest V3 3", "visitor mp x V3"}, mp, "V3, guest, linked mp/x", []string{"mp x x V3"}},
		{"Modes: W12, beside a unionid and a stand-in of another app", unbound, all(me, []string{"identity oa y Y U1", "identity mp2 z z U1"}), mp.as("U1"),
			"U1, ok, linked mp/x", []string{"mp x x U1", "mp2 z z U1", "oa y Y U1"}},
		{"Modes: W18, beside another stand-in of this app", unbound, all(me, []string{"identity mp z z U1"}), mp.as("U1"),
			"V+1, userid_bound_to_other_wechat, linked mp/x, opened", []string{"mp x x V+1", "mp z z U1"}},
		{"Modes: W12, many_unionids", standIns(many()), all(me, []string{"identity mp z z U1"}), mp.as("U1"),
			"U1, ok, linked mp/x", []string{"mp x x U1", "mp z z U1"}},
		{"Modes: W19", standIns(Rules{}), nil, mp.login(), "U+1, ok, created U+1, linked mp/x", []string{"mp x x U+1"}},
		{"Modes: P3, his unionid is of another scope", unbound, all(me, []string{"phone U1 p1", "identity oa y Y U1"}), mp.with("p1"),
			"U1, ok, linked mp/x", []string{"mp x x U1", "oa y Y U1"}},
		{"Modes: P4, his stand-in is of this app", unbound, all(me, []string{"phone U1 p1", "identity mp z z U1"}), mp.with("p1"),
			"V+1, phone_bound_to_other_wechat, linked mp/x, opened", []string{"mp x x V+1", "mp z z U1"}},
		{"Modes: an imported row takes the stand-in", unbound, imported, mp, "U1, ok, linked mp/x", []string{"mp x x U1"}},
		{"Modes: G3, an imported row of a member who has a stand-in of this app", unbound, all(imported, []string{"identity mp z z U1"}), mp,
			"U1, repair_conflict, opened", nil},
		{"Modes: an app that is bound has no stand-ins", unbound, nil, at("oa", "x"), "V+1, guest", []string{"visitor oa x V+1"}},
		{"Modes: a request without an openid is nobody's", unbound, nil, Input{AppID: "", Outside: true}, "V+1, guest", nil},
	})
}

func TestTheFirstUnionIDReplacesTheStandIn(t *testing.T) {
	unbound := standIns(phoneMode())
	mp := proved("mp", "x", "X")
	guest := []string{"guest V3 3", "identity mp x x V3"}
	member := []string{"member U1", "identity mp x x U1"}
	runRows(t, []tableRow{
		{"Modes: W5, its guest is the candidate", phoneMode(), guest, mp, "V3, guest, linked mp/x", []string{"mp x X V3"}},
		{"Modes: whose session it is", phoneMode(), guest, mp.as("V3"), "V3, guest, linked mp/x", []string{"mp x X V3"}},
		{"Modes: although the app is still said to be unbound", unbound, guest, mp, "V3, guest, linked mp/x", []string{"mp x X V3"}},
		{"Modes: W7, with another guest's session", phoneMode(), guest, mp.as("V1"), "V1, guest, linked mp/x, merged V3>V1", []string{"mp x X V1"}},
		{"Modes: W9, the unionid has a guest", phoneMode(), all(guest, []string{"guest V5 5", "identity oa x X V5"}), mp,
			"V5, guest, linked mp/x, merged V3>V5", []string{"mp x X V5", "oa x X V5"}},
		{"Modes: W10, the unionid has a member", phoneMode(), all(guest, []string{"member U1", "identity oa x X U1"}), mp.as("V3"),
			"U1, ok, linked mp/x, merged V3>U1", []string{"mp x X U1", "oa x X U1"}},
		{"Modes: W14, with a member's session", phoneMode(), all(guest, []string{"member U1"}), mp.as("U1"),
			"U1, ok, linked mp/x, merged V3>U1", []string{"mp x X U1"}},
		{"Modes: W16, and the guest is the unionid's", phoneMode(), all(guest, []string{"member U1", "member U2", "identity oa x X U1"}), mp.as("U2").outside(),
			"U2, wechat_bound_to_other_user, linked mp/x, merged V3>U1, opened", []string{"mp x X U1", "oa x X U1"}},
		{"Modes: W18, a bind action leaves the stand-in", phoneMode(), all(guest, []string{"member U1", "identity oa y Y U1"}), mp.as("U1").outside(),
			"U1, userid_bound_to_other_wechat, opened", nil},
		{"Modes: W1, guests off", off(), []string{"identity mp x x -"}, mp, "nobody, guest, linked mp/x", []string{"mp x X -"}},
		{"Modes: P1, its guest merges", phoneMode(), guest, mp.with("p1"),
			"U+1, ok, created U+1, linked mp/x, merged V3>U+1, phone.bound U+1", []string{"mp x X U+1"}},
		{"Modes: G6, its member is recognised, with the session's guest", phoneMode(), member, mp.as("V1"), "U1, ok, linked mp/x, merged V1>U1", []string{"mp x X U1"}},
		{"Modes: G6, and the unionid's guest", phoneMode(), all(member, []string{"guest V5 5", "identity oa x X V5"}), mp,
			"U1, ok, linked mp/x, merged V5>U1", []string{"mp x X U1", "oa x X U1"}},
		{"Modes: G6, in place of another member's session", phoneMode(), all(member, []string{"member U2"}), mp.as("U2"), "U1, ok, linked mp/x", []string{"mp x X U1"}},
		{"Modes: G6, P5", phoneMode(), member, mp.with("p1"), "U1, ok, linked mp/x, phone.bound U1", []string{"mp x X U1"}},
		{"Modes: G3, its member is bound to another unionid", phoneMode(), all(member, []string{"identity oa y Y U1"}), mp.as("V1"),
			"U1, repair_conflict, merged V1>U1, opened", nil},
		{"Modes: G6, and many_unionids allow it", many(), all(member, []string{"identity oa y Y U1"}), mp, "U1, ok, linked mp/x", []string{"mp x X U1", "oa y Y U1"}},
		{"Modes: G2, the unionid is another openid's in this app", phoneMode(), all(member, []string{"identity mp z X -"}), mp,
			"V+1, openid_changed, opened", nil},
		{"Modes: until then it recognises, whatever is configured now", phoneMode(), member, at("mp", "x"), "U1, ok", nil},
	})

	w := newWorld(t, phoneMode(), guest...)
	w.link(mp)
	diff(t, "unionids", []string{" X V3"}, w.lines(`SELECT scope || ' ' || unionid || ' ' || user_id FROM wxgate_unionid`))
}

func TestStandInsProveSessions(t *testing.T) {
	unbound := standIns(phoneMode())
	gone := []string{"member U1", "guest V1 1", "merged V1 U1", "identity mp x x U1"}
	pc := Input{Outside: true}
	runRows(t, []tableRow{
		{"G5: the stand-in is sealed into the session", unbound, gone, pc.as("V1").from("mp", "x").sealed("x"), "U1, ok", nil},
		{"G5: an openid of that name in another app is not it", unbound, gone, pc.as("V1").from("mp2", "x").sealed("x"), "V+1, stale_guest", nil},
		{"G5: a unionid of that name is not it", unbound, gone, pc.as("V1").from("mp", "y").sealed("x"), "V+1, stale_guest", nil},
		{"G5: this request's stand-in goes before", unbound, gone, at("mp", "x").as("V1"), "U1, ok", nil},
		{"G5: and where that is another's, the sealed one does not count", unbound, gone, at("mp2", "y").as("V1").from("mp", "x").sealed("x"),
			"V+1, stale_guest, linked mp2/y", []string{"mp x x U1", "mp2 y y V+1"}},
	})

	w := newWorld(t, unbound)
	if out := w.link(at("mp", "x")); out.UnionID != "x" {
		t.Errorf("the session would be sealed with %q", out.UnionID)
	}
	again := proved("mp", "x", "x").as("V1").from("mp", "x") // as a session says it later
	diff(t, "with what the session says", "V+1, guest, merged V1>V+1", w.said(w.link(again)))
}

// An openid map leaves guests in the visitor rows of their new openids, beside
// what they had.
func TestVisitorsWhoStandElsewhereToo(t *testing.T) {
	linked := []string{"guest V5 5", "identity old x X V5", "visitor oa x V5"}
	twice := []string{"guest V5 5", "visitor oa x V5", "visitor mp y V5"}
	oa := at("oa", "x")
	runRows(t, []tableRow{
		{"N2: recognised", phoneMode(), linked, oa, "V5, guest", nil},
		{"N2: whose session it is", phoneMode(), linked, oa.as("V5").from("old", "x"), "V5, guest", nil},
		{"N3: who is linked survives an older guest", phoneMode(), linked, oa.as("V1"), "V5, guest, merged V1>V5", nil},
		{"N5: who is linked is left alone", phoneMode(), linked, oa.with("p1"),
			"U+1, unionid_missing, created U+1, phone.bound U+1", []string{"old x X V5"}},
		{"G6: who is linked is left alone", phoneMode(), all(linked, []string{"member U1", "imported oa x U1"}), oa,
			"U1, unionid_missing", []string{"oa x - U1", "old x X V5"}},
		{"W8: his unionid arrives", phoneMode(), linked, proved("oa", "x", "X"), "V5, guest, linked oa/x", []string{"oa x X V5", "old x X V5"}},
		{"W11: another unionid arrives, and his is not moved", phoneMode(), linked, proved("oa", "x", "Z").as("V5"),
			"V+1, guest_owned_by_other, linked oa/x", []string{"oa x Z V+1", "old x X V5"}},
		{"W5: with two visitor rows he is the candidate", phoneMode(), twice, proved("oa", "x", "X").as("V5"),
			"V5, guest, linked oa/x", []string{"oa x X V5", "visitor mp y V5"}},
		{"W9: when he merges into a guest, his other row follows", phoneMode(), all(twice, []string{"guest V3 3", "identity web x X V3"}), proved("oa", "x", "X"),
			"V3, guest, linked oa/x, merged V5>V3", []string{"oa x X V3", "visitor mp y V3", "web x X V3"}},
		{"W10: when he merges into a member, it goes", phoneMode(), all(twice, []string{"member U1", "identity web x X U1"}), proved("oa", "x", "X"),
			"U1, ok, linked oa/x, merged V5>U1", []string{"oa x X U1", "web x X U1"}},
	})
}
