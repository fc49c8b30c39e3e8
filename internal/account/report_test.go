package account

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFirstLoginReport counts each kind of member, and what is no live member
// nowhere.
func TestFirstLoginReport(t *testing.T) {
	gone := []string{"member U8", "phone U8 p8", "cancelled U8", "member U9", "member U10", "merged U9 U10", "phone U10 p10", "identity oa z Z U10"}
	for _, tt := range []struct {
		name  string
		given []string
		want  FirstLoginReport
	}{
		{"nobody", nil, FirstLoginReport{}},
		{"merged and cancelled members do not count", gone, FirstLoginReport{Members: 1, WithPhone: 1}},
		{"a phone here and a WeChat there may be one person", []string{
			"member U1", "phone U1 p1", "member U2", "identity oa x X U2", "member U3", "identity oa y Y U3",
		}, FirstLoginReport{Members: 3, WithPhone: 1, PhoneOnly: 1, UnionIDOnly: 2, SplitAtMost: 1}},
		{"known by an openid alone, nothing joins them", []string{
			"member U1", "imported oa x U1", "member U2", "identity mp y y U2", "member U3", "phone U3 p3", "identity mp z z U3",
		}, FirstLoginReport{Members: 3, WithPhone: 1, PhoneOnly: 1, Neither: 2, SplitAtMost: 2}},
		{"who has both is one person", []string{"member U1", "phone U1 p1", "identity oa x X U1", "identity mp y X U1"},
			FirstLoginReport{Members: 1, WithPhone: 1}},
		{"visitors with a guest, with nobody, and without a unionid", []string{
			"guest V1 1", "identity oa x X V1", "identity oa y Y -", "guest V2 2", "visitor oa z V2",
		}, FirstLoginReport{Visitors: 3, VisitorsWithoutUnionID: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, open opener) {
				w := newWorldOn(t, open, Rules{}, tt.given...)
				got, err := w.db.FirstLoginReport(t.Context())
				must(t, err)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

// TestFirstLoginReportKnowsWhoHasShownTwoAccounts, each pair once.
func TestFirstLoginReportKnowsWhoHasShownTwoAccounts(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{FirstLogin: FirstLoginWeChatPhone},
			"member U1", "identity oa x X U1", "member U2", "phone U2 p2", "member U3", "identity oa y Y U3")
		known := func() int {
			r, err := w.db.FirstLoginReport(t.Context())
			must(t, err)
			return r.SplitKnown
		}
		link := func(in Input, want Code) {
			t.Helper()
			if out := w.link(in); out.Code != want {
				t.Fatalf("got %s, want %s", out.Code, want)
			}
		}
		if n := known(); n != 0 {
			t.Errorf("before: %d", n)
		}
		link(proved("oa", "x", "X").as("U1").with("p2"), CodePhoneOwnedByOtherUser)
		if n := known(); n != 1 {
			t.Errorf("his phone is another member's: %d", n)
		}
		link(proved("oa", "x", "X").as("U2").outside(), CodeWeChatBoundToOtherUser)
		if n := known(); n != 1 {
			t.Errorf("and his WeChat is the other's, who are the same two: %d", n)
		}
		link(proved("oa", "y", "Y").as("U2").outside(), CodeWeChatBoundToOtherUser)
		if n := known(); n != 2 {
			t.Errorf("a second pair: %d", n)
		}
	})
}
