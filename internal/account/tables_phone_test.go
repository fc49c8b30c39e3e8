package account

import "testing"

func TestPhoneWithoutUnionID(t *testing.T) {
	free := []string{"guest V3 3", "visitor oa x V3"}
	foreign := []string{"guest V1 1", "identity mp y Y V1"}
	me := []string{"member U1"}
	mine := []string{"member U1", "phone U1 p1"}
	theirs := []string{"member U2", "phone U2 p2"}
	imported := []string{"member U1", "imported oa x U1"}
	away := all(theirs, []string{"imported mp z U2", "idle U2"})
	oa, pc := at("oa", "x"), Input{Outside: true}
	runRows(t, []tableRow{
		// nobody
		{"N5: nobody, phone free", phoneMode(), nil, pc.with("p1"), "U+1, ok, created U+1, phone.bound U+1", nil},
		{"N5: nobody, phone free, under first_login wechat", Rules{}, nil, pc.with("p1"), "U+1, ok, created U+1, phone.bound U+1", nil},
		{"N5: nobody, phone free, guests off", off(), nil, oa.with("p1"), "U+1, unionid_missing, created U+1, phone.bound U+1", nil},
		{"N5: nobody, phone free, the guests of session and openid merge and the visitor row goes", phoneMode(), free, oa.as("V1").with("p1"),
			"U+1, unionid_missing, created U+1, merged V1>U+1, merged V3>U+1, phone.bound U+1", []string{}},
		{"N5: nobody, phone free, a guest of another WeChat is left alone", phoneMode(), foreign, pc.as("V1").with("p1"),
			"U+1, guest_owned_by_other, created U+1, phone.bound U+1", nil},
		{"N5: nobody, phone free, and so it is where a hand-off would serve him on", phoneMode(), foreign, oa.as("V1").from("mp", "y").with("p1"),
			"U+1, unionid_missing, created U+1, phone.bound U+1", nil},
		{"N5: nobody, phone free, and the login is done", phoneMode(), nil, oa.with("p1").login(), "U+1, unionid_missing, created U+1, phone.bound U+1", nil},
		{"N5: nobody, another's phone", phoneMode(), all(theirs, free), oa.as("V1").with("p2"),
			"U2, unionid_missing, merged V1>U2, merged V3>U2", []string{}},
		{"N5: nobody, another's phone, after a stale guest", phoneMode(), all(theirs, []string{"member U1", "guest V1 1", "merged V1 U1"}), pc.as("V1").with("p2"),
			"U2, stale_guest", nil},
		{"N5: nobody, another's phone, who was away with a WeChat", phoneMode(), all(away, free), oa.as("V1").with("p2"),
			"V1, second_proof_required, merged V3>V1", []string{"mp z - U2", "visitor oa x V1"}},
		{"N5: and the login that he needs is not asked for in its place", phoneMode(), away, pc.with("p2").login(), "V+1, second_proof_required", nil},
		{"N5: and a guest of another WeChat is served on after a hand-off", phoneMode(), all(away, foreign), oa.as("V1").from("mp", "y").with("p2"),
			"V1, second_proof_required", nil},
		{"N5: a phone_idle that he keeps", Rules{PhoneIdle: 2 * DefaultPhoneIdle}, away, pc.with("p2"), "U2, ok", nil},
		{"N5: away without a WeChat, the phone is all he has", phoneMode(), all(theirs, []string{"idle U2"}), pc.with("p2"), "U2, ok", nil},
		// has no phone
		{"N5: no phone, phone free, the visitor row goes with its guest", phoneMode(), all(me, free), oa.as("U1").with("p1"),
			"U1, unionid_missing, merged V3>U1, phone.bound U1", []string{}},
		{"N5: no phone, another's phone, and all is as without it", phoneMode(), all(me, theirs, free), oa.as("U1").with("p2"),
			"U1, phone_owned_by_other_user, opened", nil},
		{"N5: no phone, another's phone, who was away", phoneMode(), all(me, away), pc.as("U1").with("p2"), "U1, phone_owned_by_other_user, opened", nil},
		// has another phone
		{"N5: another phone, phone free, and all is as without it", phoneMode(), all(mine, free), oa.as("U1").with("p3"),
			"U1, phone_change_needs_flow", nil},
		{"N5: another phone, another's phone", phoneMode(), all(mine, theirs), pc.as("U1").with("p2"), "U1, phone_owned_by_other_user, opened", nil},
		// has this phone
		{"N5: his own phone", phoneMode(), all(mine, free), oa.as("U1").with("p1"), "U1, unionid_missing, merged V3>U1", []string{}},
		{"N5: his own phone, however long he was away", phoneMode(), all(mine, []string{"identity mp y Y U1", "idle U1"}), pc.as("U1").with("p1"), "U1, ok", nil},
		// the imported row's member
		{"N5: the imported row's member goes before the session's", phoneMode(), all(imported, theirs), oa.as("U2").with("p1"),
			"U1, unionid_missing, phone.bound U1", nil},
		{"N5: the imported row's member, his own phone", phoneMode(), all(imported, []string{"phone U1 p1", "idle U1"}), oa.as("V1").with("p1"),
			"U1, unionid_missing, merged V1>U1", nil},
		{"N5: the imported row's member, another's phone, and the guests merge as without it", phoneMode(), all(imported, theirs, free), oa.as("V1").with("p2"),
			"U1, phone_owned_by_other_user, merged V1>U1, merged V3>U1, opened", []string{"oa x - U1"}},
		{"N5: the imported row's member, another phone, phone free", phoneMode(), all(imported, []string{"phone U1 p1"}), oa.with("p3"),
			"U1, phone_change_needs_flow", nil},
	})
}

func TestTableP(t *testing.T) {
	free := []string{"guest V3 3", "visitor oa x V3"}
	owned := []string{"guest V5 5", "identity mp x X V5"}
	empty := []string{"identity mp x X -"}
	foreign := []string{"guest V1 1", "identity mp y Y V1"}
	me := []string{"member U1"}
	mine := []string{"member U1", "identity mp x X U1"}
	bound := []string{"member U1", "identity mp y Y U1"}
	bare := []string{"member U2", "phone U2 p2"}
	theirs := all(bare, []string{"identity mp z Z U2"})
	stored := []string{"mp x X U1", "oa x X U1"}
	oa := proved("oa", "x", "X")
	runRows(t, []tableRow{
		// none (guest)
		{"P1: S0", phoneMode(), nil, oa.with("p1"), "U+1, ok, created U+1, linked oa/x, phone.bound U+1", []string{"oa x X U+1"}},
		{"P1: S1", phoneMode(), empty, oa.with("p1"), "U+1, ok, created U+1, linked oa/x, phone.bound U+1", []string{"mp x X U+1", "oa x X U+1"}},
		{"P1: every guest merges", phoneMode(), all(owned, free), oa.as("V1").with("p1"),
			"U+1, ok, created U+1, linked oa/x, merged V1>U+1, merged V3>U+1, merged V5>U+1, phone.bound U+1", []string{"mp x X U+1", "oa x X U+1"}},
		{"P1: but that of another WeChat", phoneMode(), foreign, oa.as("V1").with("p1"),
			"U+1, guest_owned_by_other, created U+1, linked oa/x, phone.bound U+1", []string{"mp y Y V1", "oa x X U+1"}},
		{"P1: guests off", off(), nil, oa.with("p1"), "U+1, ok, created U+1, linked oa/x, phone.bound U+1", []string{"oa x X U+1"}},
		{"P1: in place of a member who is bound to another WeChat", phoneMode(), bound, oa.as("U1").with("p1"),
			"U+1, ok, created U+1, linked oa/x, phone.bound U+1", []string{"mp y Y U1", "oa x X U+1"}},
		{"P3: every guest merges", phoneMode(), all(bare, owned, free), oa.as("V1").with("p2"),
			"U2, ok, linked oa/x, merged V1>U2, merged V3>U2, merged V5>U2", []string{"mp x X U2", "oa x X U2"}},
		{"P3: S1", phoneMode(), all(bare, empty), oa.with("p2"), "U2, ok, linked oa/x", []string{"mp x X U2", "oa x X U2"}},
		{"P3: in place of a member who is bound to another WeChat", phoneMode(), all(bare, bound), oa.as("U1").with("p2"),
			"U2, ok, linked oa/x", []string{"mp y Y U1", "oa x X U2"}},
		{"P3: without WeChat means without a unionid", phoneMode(), all(bare, []string{"imported mp z U2"}), oa.with("p2"),
			"U2, ok, linked oa/x", []string{"mp z - U2", "oa x X U2"}},
		{"P3: away, with a WeChat that is not this one", phoneMode(), all(bare, []string{"imported mp z U2", "idle U2"}), oa.with("p2"),
			"V+1, second_proof_required, linked oa/x", []string{"mp z - U2", "oa x X V+1"}},
		{"P3: away, and in his own session", phoneMode(), all(bare, []string{"imported mp z U2", "idle U2"}), oa.as("U2").with("p2"),
			"U2, ok, linked oa/x", []string{"mp z - U2", "oa x X U2"}},
		{"P3: away without a WeChat, the phone is all he has", phoneMode(), all(bare, []string{"idle U2"}), oa.with("p2"),
			"U2, ok, linked oa/x", []string{"oa x X U2"}},
		{"P4: guest kept", phoneMode(), all(theirs, owned), oa.as("V1").with("p2"),
			"V5, phone_bound_to_other_wechat, linked oa/x, merged V1>V5, opened", []string{"mp x X V5", "mp z Z U2", "oa x X V5"}},
		{"P4: a new guest", phoneMode(), theirs, oa.with("p2"),
			"V+1, phone_bound_to_other_wechat, linked oa/x, opened", []string{"mp z Z U2", "oa x X V+1"}},
		{"P4: a login-required action makes no member of him, and asks for nothing else", Rules{}, theirs, oa.with("p2").login(),
			"V+1, phone_bound_to_other_wechat, linked oa/x, opened", []string{"mp z Z U2", "oa x X V+1"}},
		{"P4: inside WeChat its own guest is served, and not the session's member", phoneMode(), all(theirs, bound), oa.as("U1").with("p2"),
			"V+1, phone_bound_to_other_wechat, linked oa/x, opened", []string{"mp y Y U1", "mp z Z U2", "oa x X V+1"}},
		{"P4: the phone's owner in another WeChat", phoneMode(), theirs, oa.as("U2").with("p2"),
			"V+1, phone_bound_to_other_wechat, linked oa/x, opened", []string{"mp z Z U2", "oa x X V+1"}},
		{"P4: a bind action keeps the session's member, and writes nothing", phoneMode(), all(theirs, bound, free), oa.outside().as("U1").with("p2"),
			"U1, phone_bound_to_other_wechat, opened", nil},
		{"P4: comes before guest_owned_by_other", phoneMode(), all(theirs, foreign), oa.as("V1").with("p2"),
			"V+1, phone_bound_to_other_wechat, linked oa/x, opened", []string{"mp y Y V1", "mp z Z U2", "oa x X V+1"}},
		{"P4: guests off", off(), theirs, oa.with("p2"), "nobody, phone_bound_to_other_wechat, linked oa/x, opened", []string{"mp z Z U2", "oa x X -"}},
		{"P4: many_unionids link", many(), all(theirs, owned), oa.as("V1").with("p2"),
			"U2, ok, linked oa/x, merged V1>U2, merged V5>U2", []string{"mp x X U2", "mp z Z U2", "oa x X U2"}},
		// member without phone
		{"P5: the unionid's member", phoneMode(), all(mine, free), oa.as("V1").with("p1"),
			"U1, ok, linked oa/x, merged V1>U1, merged V3>U1, phone.bound U1", stored},
		{"P5: in place of another member's session, without W16", phoneMode(), all(mine, bare), oa.as("U2").with("p1"),
			"U1, ok, linked oa/x, phone.bound U1", stored},
		{"P5: also for a bind action", phoneMode(), all(mine, bare), oa.outside().as("U2").with("p1"), "U1, ok, linked oa/x, phone.bound U1", stored},
		{"P5: the session's member, S0", phoneMode(), me, oa.as("U1").with("p1"), "U1, ok, linked oa/x, phone.bound U1", []string{"oa x X U1"}},
		{"P5: the session's member, S1", phoneMode(), all(me, empty), oa.as("U1").with("p1"), "U1, ok, linked oa/x, phone.bound U1", stored},
		{"P5: the session's member, many_unionids", many(), bound, oa.as("U1").with("p1"),
			"U1, ok, linked oa/x, phone.bound U1", []string{"mp y Y U1", "oa x X U1"}},
		{"P5: the imported row's member", phoneMode(), []string{"member U1", "imported oa x U1", "member U2"}, oa.as("U2").with("p1"),
			"U1, ok, linked oa/x, phone.bound U1", []string{"oa x X U1"}},
		{"P7: another's phone", phoneMode(), all(mine, theirs), oa.as("V1").with("p2"),
			"U1, phone_owned_by_other_user, linked oa/x, merged V1>U1, opened", []string{"mp x X U1", "mp z Z U2", "oa x X U1"}},
		{"P7: and he has no WeChat", phoneMode(), all(mine, bare), oa.with("p2"),
			"U1, phone_owned_by_other_user, linked oa/x, opened", stored},
		{"P7: who is the session's member, and is replaced without W16", phoneMode(), all(mine, bare), oa.as("U2").with("p2"),
			"U1, phone_owned_by_other_user, linked oa/x, opened", stored},
		{"P7: the session's member gets the WeChat as without the phone", phoneMode(), all(me, bare, owned), oa.as("U1").with("p2"),
			"U1, phone_owned_by_other_user, linked oa/x, merged V5>U1, opened", stored},
		{"P7: many_unionids", many(), all(bound, theirs), oa.as("U1").with("p2"),
			"U1, phone_owned_by_other_user, linked oa/x, opened", []string{"mp y Y U1", "mp z Z U2", "oa x X U1"}},
		{"P7: the imported row is repaired all the same", phoneMode(), all([]string{"member U1", "imported oa x U1"}, bare), oa.with("p2"),
			"U1, phone_owned_by_other_user, linked oa/x, opened", []string{"oa x X U1"}},
		// member with another phone
		{"P6: the link is made as without the phone", phoneMode(), all(mine, []string{"phone U1 p1"}, free), oa.with("p3"),
			"U1, phone_change_needs_flow, linked oa/x, merged V3>U1", stored},
		{"P6: the session's member", phoneMode(), []string{"member U1", "phone U1 p1"}, oa.as("U1").with("p3"),
			"U1, phone_change_needs_flow, linked oa/x", []string{"oa x X U1"}},
		{"P6: in place of another member's session", phoneMode(), all(mine, []string{"phone U1 p1", "member U2"}), oa.as("U2").with("p3"),
			"U1, phone_change_needs_flow, linked oa/x", stored},
		{"P7: member with another phone", phoneMode(), all(mine, []string{"phone U1 p1"}, theirs), oa.with("p2"),
			"U1, phone_owned_by_other_user, linked oa/x, opened", []string{"mp x X U1", "mp z Z U2", "oa x X U1"}},
		// member with this phone
		{"P2: a login", phoneMode(), all(mine, []string{"phone U1 p1"}, free), oa.as("V1").with("p1"),
			"U1, ok, linked oa/x, merged V1>U1, merged V3>U1", stored},
		{"P2: in place of another member's session", phoneMode(), all(mine, []string{"phone U1 p1", "member U2"}), oa.as("U2").with("p1"),
			"U1, ok, linked oa/x", stored},
		{"P2: the session's member gets the WeChat", phoneMode(), []string{"member U1", "phone U1 p1"}, oa.as("U1").with("p1"),
			"U1, ok, linked oa/x", []string{"oa x X U1"}},
		{"P2: however long he was away", phoneMode(), all(mine, []string{"phone U1 p1", "idle U1"}), oa.with("p1"), "U1, ok, linked oa/x", stored},
		// guards come first
		{"G2: a phone does not help", phoneMode(), all(mine, []string{"identity oa x Z -"}), oa.with("p1"), "V+1, unionid_changed, opened", nil},
		{"G3: a phone is not attached", phoneMode(), all(mine, []string{"member U2", "imported oa x U2"}), oa.with("p1"), "U2, repair_conflict, opened", nil},
	})
}

func TestManyUnionIDs(t *testing.T) {
	bound := []string{"member U1", "identity mp y Y U1"}
	oa := proved("oa", "x", "X").as("U1")
	runRows(t, []tableRow{
		{"W12", many(), bound, oa, "U1, ok, linked oa/x", []string{"mp y Y U1", "oa x X U1"}},
		{"W13", many(), all(bound, []string{"identity mp x X -"}), oa, "U1, ok, linked oa/x", []string{"mp x X U1", "mp y Y U1", "oa x X U1"}},
		{"W14", many(), all(bound, []string{"guest V5 5", "identity mp x X V5"}), oa,
			"U1, ok, linked oa/x, merged V5>U1", []string{"mp x X U1", "mp y Y U1", "oa x X U1"}},
		{"W16", many(), all(bound, []string{"member U2", "identity mp x X U2"}), oa,
			"U2, wechat_bound_to_other_user, linked oa/x, opened", []string{"mp x X U2", "mp y Y U1", "oa x X U2"}},
		{"W15: one of several, after the policy was changed", many(), all(bound, []string{"identity mp x X U1", "one_to_one"}), proved("pc", "y", "Y").as("U1"),
			"U1, ok, linked pc/y", []string{"mp x X U1", "mp y Y U1", "pc y Y U1"}},
		{"W18: no more than he has, after the policy was changed", many(), all(bound, []string{"identity mp x X U1", "one_to_one"}), proved("pc", "z", "Z").as("U1"),
			"V+1, userid_bound_to_other_wechat, linked pc/z, opened", []string{"mp x X U1", "mp y Y U1", "pc z Z V+1"}},
		{"P4: the owner was away, and another WeChat proves nothing of him", many(), all(bound, []string{"phone U1 p1", "idle U1"}), proved("oa", "x", "X").with("p1"),
			"V+1, second_proof_required, linked oa/x", []string{"mp y Y U1", "oa x X V+1"}},
		{"G6: a member who is bound to another unionid is repaired", many(), all(bound, []string{"imported oa x U1"}), proved("oa", "x", "X"),
			"U1, ok, linked oa/x", []string{"mp y Y U1", "oa x X U1"}},
		{"G3: but not with another member's", many(), all(bound, []string{"imported oa x U1", "member U2", "identity mp x X U2"}), proved("oa", "x", "X"),
			"U1, repair_conflict, opened", nil},
	})
}
