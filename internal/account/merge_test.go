package account

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMerge(t *testing.T) {
	apart := []string{"member U1", "phone U1 p1", "identity oa x X U1", "member U2", "phone U2 p2", "imported mp y U2", "identity mp2 s s U2"}
	clash := []string{"member U1", "identity oa x X U1", "member U2", "identity oa y Y U2"}
	many := Rules{Linking: ManyUnionIDs}
	const merged = "U1, ok, merged U2>U1"
	cases := []struct {
		name  string
		rules Rules
		given []string
		merge Merging
		want  string
		left  []string // nil: everything as it was
	}{
		{"rows move, and the loser's phone is free", Rules{}, apart, Merging{From: "U2", To: "U1"}, merged + ", phone.unbound U2",
			[]string{"mp y - U1", "mp2 s s U1", "oa x X U1"}},
		{"the other way round", Rules{}, apart, Merging{From: "U1", To: "U2"}, "U2, ok, merged U1>U2, phone.unbound U1",
			[]string{"mp y - U2", "mp2 s s U2", "oa x X U2"}},
		{"a loser with nothing", Rules{}, []string{"member U1", "member U2"}, Merging{From: "U2", To: "U1"}, merged, []string{}},
		{"replaced ids stand for their survivors", Rules{}, []string{"member U1", "member U2", "member U3", "merged U3 U2", "guest V1 1", "merged V1 U1"},
			Merging{From: "U3", To: "V1"}, merged, []string{}},
		{"a unionid and a stand-in", Rules{}, []string{"member U1", "identity oa x X U1", "member U2", "identity mp s s U2"},
			Merging{From: "U2", To: "U1"}, merged, []string{"mp s s U1", "oa x X U1"}},
		{"stand-ins of two apps", Rules{}, []string{"member U1", "identity oa s s U1", "member U2", "identity mp s s U2"},
			Merging{From: "U2", To: "U1"}, merged, []string{"mp s s U1", "oa s s U1"}},
		{"a unionid and an imported row of the same app", Rules{}, []string{"member U1", "identity oa x X U1", "member U2", "imported oa y U2"},
			Merging{From: "U2", To: "U1"}, merged, []string{"oa x X U1", "oa y - U1"}},
		{"two unionids under many_unionids", many, clash, Merging{From: "U2", To: "U1"}, merged, []string{"oa x X U1", "oa y Y U1"}},
		{"a loser who has two from before the policy was one_to_one", many,
			[]string{"member U1", "member U2", "identity oa x X U2", "identity mp z X U2", "identity oa y Y U2", "one_to_one"},
			Merging{From: "U2", To: "U1"}, merged, []string{"mp z X U1", "oa x X U1", "oa y Y U1"}},
		{"who is one already", Rules{}, []string{"member U1", "member U2", "merged U2 U1"}, Merging{From: "U2", To: "U1"}, "U1, ok", nil},
		{"himself", Rules{}, apart, Merging{From: "U1", To: "U1"}, "U1, ok", nil},

		{"two unionids", Rules{}, clash, Merging{From: "U2", To: "U1"}, "U2, userid_bound_to_other_wechat", nil},
		{"two stand-ins of one app", Rules{}, []string{"member U1", "identity mp s s U1", "member U2", "identity mp r r U2"},
			Merging{From: "U2", To: "U1"}, "U2, userid_bound_to_other_wechat", nil},
		{"a guest into a member", Rules{}, []string{"member U1", "guest V1 1", "visitor oa x V1"}, Merging{From: "V1", To: "U1"}, ErrNotMember.Error(), nil},
		{"a member into a guest", Rules{}, []string{"member U1", "guest V1 1", "visitor oa x V1"}, Merging{From: "U1", To: "V1"}, ErrNotMember.Error(), nil},
		{"from a cancelled one", Rules{}, []string{"member U1", "member U3", "cancelled U3"}, Merging{From: "U3", To: "U1"}, ErrUserCancelled.Error(), nil},
		{"into a cancelled one", Rules{}, []string{"member U1", "member U3", "cancelled U3"}, Merging{From: "U1", To: "U3"}, ErrUserCancelled.Error(), nil},
		{"from nobody", Rules{}, apart, Merging{From: "U9", To: "U1"}, ErrUnknownUser.Error(), nil},
		{"into nobody", Rules{}, apart, Merging{From: "U1", To: ""}, ErrUnknownUser.Error(), nil},
		{"by an operator without a reason", Rules{}, apart, Merging{From: "U2", To: "U1", By: By{Operator: true}}, ErrNoReason.Error(), nil},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, c.rules, c.given...)
				before := w.everything()
				diff(t, "outcome", c.want, w.did(w.db.Merge(t.Context(), w.rules, c.merge)))
				if c.left == nil {
					diff(t, "all that is stored", before, w.everything())
				} else {
					diff(t, "stored", c.left, w.stored())
				}
				diff(t, "recorded", []string{}, w.operations())
				if c.rules.Linking != ManyUnionIDs {
					diff(t, "unionids that could have a rival", []string(nil), w.lines(`SELECT unionid FROM wxgate_unionid
						WHERE user_id IS NOT NULL AND apart <> ''`))
				}
			})
		}
	})
}

// merged returns the last user.merged that is written.
func (w *world) merged() Merged {
	w.t.Helper()
	var m Merged
	last := w.lines(`SELECT data FROM wxgate_event WHERE type = 'user.merged' ORDER BY written DESC LIMIT 1`)
	must(w.t, json.Unmarshal([]byte(last[0]), &m))
	return m
}

func TestAMergeNamesEverybodyWhoAnswersNow(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "member U2", "phone U2 p2", "guest V1 1", "merged V1 U2", "member U3", "merged U3 U2", "guest V4 4", "merged V4 U1")
		diff(t, "by an operator", "U1, ok, merged U2>U1, phone.unbound U2", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U2", To: "U1", By: byOperator()})))
		diff(t, "event", Merged{From: "U2", To: "U1", FromKind: Member, ToKind: Member, Reason: "operator", Aliases: []string{"U2", "U3", "V1", "V4"}}, w.merged())
		diff(t, "the phone is masked", []string{`{"phone":"+86 138****0050"}`}, w.lines(`SELECT data FROM wxgate_event WHERE type = 'phone.unbound'`))
		diff(t, "recorded", []string{"merge U1: ticket 12"}, w.operations())
		diff(t, "again", "U1, ok", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U2", To: "U1", By: byOperator()})))
		diff(t, "recorded once", []string{"merge U1: ticket 12"}, w.operations())
		w.given("member U5")
		diff(t, "by the person", "U5, ok, merged U1>U5", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U1", To: "U5"})))
		diff(t, "event", Merged{From: "U1", To: "U5", FromKind: Member, ToKind: Member, Reason: "proved", Aliases: []string{"U1", "U2", "U3", "V1", "V4"}}, w.merged())
	})
}

func TestSessionsAfterAMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Rules{}, "member U1", "member U2", "identity oa y Y U2", "guest V1 1", "merged V1 U2", "member U3", "merged U3 U2")
		refs := []SessionRef{
			{UserID: "U2", Kind: Member}, {UserID: "U3", Kind: Member}, {UserID: "V1", Kind: Guest, UnionID: "Y"}, {UserID: "U1", Kind: Member},
		}
		var heard []string
		w.db.OnChange(func(inv Invalidation) { heard = append(heard, inv.UserID) })
		diff(t, "outcome", "U1, ok, merged U2>U1", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U2", To: "U1"})))
		for _, ref := range refs {
			if got := w.resolved(ref); !strings.HasPrefix(got, "member U1 previous U2,") {
				t.Errorf("%s is %s", ref.UserID, got)
			}
		}
		time.Sleep(RotationGrace)
		diff(t, "a guest that nothing proves", "dead", w.resolved(SessionRef{UserID: "V1", Kind: Guest}))
		for _, id := range []string{"U1", "U2", "U3", "V1"} {
			if !slices.Contains(heard, id) {
				t.Errorf("caches were not told of %s, but of %v", id, heard)
			}
		}
		diff(t, "the WeChat account", "U1, ok", w.said(w.link(proved("oa", "y", "Y").as("U2"))))
	})
}

// What was revoked stays so, whoever it stands for now.
func TestAMergeRevivesNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Rules{}, "member U1", "member U2")
		issued := time.Now()
		must(t, w.db.RevokeUser(t.Context(), "U2", byOperator()))
		diff(t, "outcome", "U1, ok, merged U2>U1", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U2", To: "U1"})))
		diff(t, "a revoked session of the loser", "dead", w.resolved(SessionRef{UserID: "U2", Kind: Member, IssuedAt: issued}))
		diff(t, "one of the survivor", "member U1 previous U2", w.resolved(SessionRef{UserID: "U1", Kind: Member, IssuedAt: issued}))
		diff(t, "recorded", []string{"revoke U2: ticket 12"}, w.operations())
	})
}

// After a merge the survivor may have been here as the other a moment ago, and
// his phone alone is as good as it was.
func TestAMergedMemberWasHereWhenEitherWas(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "idle U1", "member U2")
	diff(t, "outcome", "U1, ok, merged U2>U1", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U2", To: "U1"})))
	in := Input{Outside: true, Phone: phoneNumber("p1")}
	diff(t, "the phone alone", "U1, ok", w.said(w.link(in)))
}

func TestTheReleasedPhoneIsFree(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "member U2", "phone U2 p2")
	diff(t, "outcome", "U1, ok, merged U2>U1, phone.unbound U2", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U2", To: "U1"})))
	in := Input{Outside: true, Phone: phoneNumber("p2")}.as("U1")
	diff(t, "he verifies it again", "U1, ok, phone.bound U1", w.said(w.link(in)))
}

func TestAMergeClosesTheConflictsBetweenTheTwo(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "member U2", "member U3")
		w.link(proved("oa", "x", "X").as("U2"))                         // U2 and U1
		w.link(Input{Outside: true, Phone: phoneNumber("p1")}.as("U2")) // U2 and U1
		w.link(Input{Outside: true, Phone: phoneNumber("p1")}.as("U3")) // U3 and U1
		preview, err := w.db.PreviewMerge(t.Context(), w.rules, Merging{From: "U2", To: "U1"})
		must(t, err)
		diff(t, "conflicts that would close", 2, len(preview.Conflicts))
		diff(t, "outcome", "U1, ok, closed, closed, merged U2>U1", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U2", To: "U1"})))
		left, err := w.db.Conflicts(t.Context(), false, Page{})
		must(t, err)
		if len(left) != 1 || !slices.Contains(left[0].Parties, "U3") {
			t.Errorf("open: %+v", left)
		}
	})
}

func TestPreviewMergeSaysWhatMergeDoes(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "member U2", "phone U2 p2", "identity oa y Y U2", "imported mp z U2", "guest V1 1", "merged V1 U2",
			"member U3", "merged U3 U2", "member U4", "identity oa x X U4")
		before := w.everything()
		preview := func(from, to string) MergePreview {
			t.Helper()
			p, err := w.db.PreviewMerge(t.Context(), w.rules, Merging{From: from, To: to})
			must(t, err)
			return p
		}
		p := preview("U3", "U1")
		moves := []string{}
		for _, r := range p.Moves {
			moves = append(moves, r.AppID+" "+r.OpenID+" "+r.UnionID)
		}
		diff(t, "moves", []string{"mp z ", "oa y Y"}, moves)
		slices.Sort(p.Aliases)
		diff(t, "the rest", []string{"ok", "U2", "U1", "+86 138****0050", "U2 U3 V1"},
			[]string{string(p.Code), p.From.ID, p.To.ID, p.Released, strings.Join(p.Aliases, " ")})
		refused := preview("U2", "U4")
		diff(t, "refused", []any{CodeUserIDBoundToOtherWeChat, 0, 0, ""}, []any{refused.Code, len(refused.Moves), len(refused.Aliases), refused.Released})
		same := preview("U3", "U2")
		diff(t, "one already", []any{CodeOK, "U2", "U2", 0, ""}, []any{same.Code, same.From.ID, same.To.ID, len(same.Moves), same.Released})
		diff(t, "nothing was changed", before, w.everything())
		if _, err := w.db.PreviewMerge(t.Context(), w.rules, Merging{From: "V9", To: "U1"}); err == nil {
			t.Error("nobody can be merged")
		}
		diff(t, "and then", "U1, ok, merged U2>U1, phone.unbound U2", w.did(w.db.Merge(t.Context(), w.rules, Merging{From: "U3", To: "U1"})))
	})
}
