package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRebind(t *testing.T) {
	cases := []struct {
		name  string
		given []string
		want  RebindReport
		left  string
	}{
		{"a member", []string{"member U1", "identity oa x X U1"}, RebindReport{Members: 1}, "oa x - U1"},
		{"a guest", []string{"guest V1 1", "identity oa x X V1"}, RebindReport{Guests: 1}, "visitor oa x V1"},
		{"nobody", []string{"identity oa x X -"}, RebindReport{Nobody: 1}, ""},
		{"unionids that live on elsewhere", []string{"member U1", "identity oa x X U1", "identity mp x X U1", "guest V1 1", "identity oa y Y V1", "identity mp y Y V1",
			"identity oa z Z -", "identity mp z Z -"}, RebindReport{Members: 1, Guests: 1, Nobody: 1, Elsewhere: 3},
			"mp x X U1; mp y Y V1; mp z Z -; oa x - U1; visitor oa y V1"},
		{"what waits already, stand-ins and other apps stay", []string{"member U1", "imported oa i U1", "identity oa s s U1", "identity mp x X U1", "guest V1 1", "visitor oa v V1"},
			RebindReport{}, "mp x X U1; oa i - U1; oa s s U1; visitor oa v V1"},
		{"openids that differ in case", []string{"member U1", "identity oa x X U1", "member U2", "identity OA X x U2"}, RebindReport{Members: 1}, "OA X x U2; oa x - U1"},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, Rules{}, c.given...)
				before := w.everything()
				dry, err := w.db.Rebind(t.Context(), Rebinding{AppID: "oa", DryRun: true, By: byOperator()})
				must(t, err)
				diff(t, "dry run", c.want, dry)
				diff(t, "after the dry run", before, w.everything())
				diff(t, "recorded", []string{}, w.operations())
				r, err := w.db.Rebind(t.Context(), Rebinding{AppID: "oa", By: byOperator()})
				must(t, err)
				checkInvariants(t, w.db)
				diff(t, "report", c.want, r)
				diff(t, "stored", c.left, strings.Join(w.stored(), "; "))
				diff(t, "recorded", []string{"rebind oa: ticket 12"}, w.operations())
				_, err = w.db.Rebind(t.Context(), Rebinding{AppID: "oa"})
				must(t, err)
				diff(t, "after the same again", c.left, strings.Join(w.stored(), "; "))
			})
		}
	})
	w := newWorld(t, Rules{}, "member U1", "identity oa x X U1")
	if _, err := w.db.Rebind(t.Context(), Rebinding{AppID: "oa", By: By{Operator: true}}); !errors.Is(err, ErrNoReason) {
		t.Errorf("without a reason: %v", err)
	}
	diff(t, "stored", []string{"oa x X U1"}, w.stored())
}

func TestRebindOfMoreThanOneBatch(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		const n = 3*rebindBatch + 3
		for i := range n {
			switch i % 3 {
			case 0:
				w.given(fmt.Sprintf("member U%d", i))
				w.given(fmt.Sprintf("identity oa x%d X%d U%d", i, i, i))
			case 1:
				w.given(fmt.Sprintf("guest V%d 1", i))
				w.given(fmt.Sprintf("identity oa x%d X%d V%d", i, i, i))
			default:
				w.given(fmt.Sprintf("identity oa x%d X%d -", i, i))
			}
		}
		r, err := w.db.Rebind(t.Context(), Rebinding{AppID: "oa", By: byOperator()})
		must(t, err)
		checkInvariants(t, w.db)
		diff(t, "report", RebindReport{Members: n / 3, Guests: n / 3, Nobody: n / 3}, r)
		diff(t, "left: unionids, imported rows, visitor rows", []string{fmt.Sprintf("0 %d %d", n/3, n/3)}, w.lines(`SELECT
			(SELECT count(*) FROM wxgate_unionid) || ' ' || (SELECT count(*) FROM wxgate_identity) || ' ' || (SELECT count(*) FROM wxgate_visitor)`))
		diff(t, "recorded", []string{"rebind oa: ticket 12"}, w.operations())
	})
}

func TestVisitsAfterARebind(t *testing.T) {
	both := []string{"guest V1 1", "identity oa x X V1", "identity mp x X V1"}
	cases := []struct {
		name  string
		given []string
		apps  string
		in    []Input
		want  []string
		left  string
	}{
		{"a member takes the new unionid", []string{"member U1", "identity oa x X U1"}, "oa",
			[]Input{at("oa", "x"), proved("oa", "x", "X2")}, []string{"U1, unionid_missing", "U1, ok, linked oa/x"}, "oa x X2 U1"},
		{"a guest takes the new unionid", []string{"guest V1 1", "identity oa x X V1"}, "oa",
			[]Input{at("oa", "x"), proved("oa", "x", "X2")}, []string{"V1, guest", "V1, guest, linked oa/x"}, "oa x X2 V1"},
		{"a guest meets the login", []string{"guest V1 1", "identity oa x X V1"}, "oa",
			[]Input{at("oa", "x").as("V1").login(), proved("oa", "x", "X2").as("V1").login()},
			[]string{"V1, auth_required", "U+1, ok, created U+1, linked oa/x, merged V1>U+1"}, "oa x X2 U+1"},
		{"the new unionid has a member: the guest merges", []string{"guest V1 1", "identity oa x X V1", "member U2", "identity new y X2 U2"}, "oa",
			[]Input{proved("oa", "x", "X2")}, []string{"U2, ok, linked oa/x, merged V1>U2"}, "new y X2 U2; oa x X2 U2"},
		{"the new unionid has a guest: the linked one wins", []string{"guest V1 1", "identity oa x X V1", "guest V2 2", "identity new y X2 V2"}, "oa",
			[]Input{proved("oa", "x", "X2")}, []string{"V2, guest, linked oa/x, merged V1>V2"}, "new y X2 V2; oa x X2 V2"},
		{"the new unionid has another member: conflict", []string{"member U1", "identity oa x X U1", "member U2", "identity new y X2 U2"}, "oa",
			[]Input{proved("oa", "x", "X2")}, []string{"U1, repair_conflict, opened"}, "new y X2 U2; oa x - U1"},
		{"a member whose other app was not rebound: conflict, until it is", []string{"member U1", "identity oa x X U1", "identity mp x X U1"}, "oa",
			[]Input{proved("oa", "x", "X2"), at("mp", "x")}, []string{"U1, repair_conflict, opened", "U1, ok"}, "mp x X U1; oa x - U1"},
		{"both apps were rebound", []string{"member U1", "identity oa x X U1", "identity mp x X U1"}, "oa mp",
			[]Input{proved("oa", "x", "X2"), proved("mp", "x", "X2")}, []string{"U1, ok, linked oa/x", "U1, ok, linked mp/x"}, "mp x X2 U1; oa x X2 U1"},
		{"a guest of two apps that were rebound", both, "oa mp",
			[]Input{proved("oa", "x", "X2"), proved("mp", "x", "X2")}, []string{"V1, guest, linked oa/x", "V1, guest, linked mp/x"}, "mp x X2 V1; oa x X2 V1"},
		{"a guest whose other app was not rebound stays linked there", both, "oa",
			[]Input{at("oa", "x"), proved("oa", "x", "X2"), at("mp", "x")}, []string{"V1, guest", "V+1, guest, linked oa/x", "V1, guest"}, "mp x X V1; oa x X2 V+1"},
		{"another's openid gets nothing by the old unionid", []string{"member U1", "identity oa x X U1"}, "oa",
			[]Input{proved("oa", "y", "X")}, []string{"V+1, guest, linked oa/y"}, "oa x - U1; oa y X V+1"},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, Rules{}, c.given...)
				for _, app := range strings.Fields(c.apps) {
					_, err := w.db.Rebind(t.Context(), Rebinding{AppID: app})
					must(t, err)
				}
				for i, in := range c.in {
					diff(t, fmt.Sprintf("visit %d", i+1), c.want[i], w.said(w.link(in)))
				}
				diff(t, "stored", c.left, strings.Join(w.stored(), "; "))
			})
		}
	})
}

// What an app's move or rebinding does to the sessions that are out there.
func TestSessionsAfterAnAppHasChanged(t *testing.T) {
	given := []string{"member U1", "identity oa x X U1", "guest V1 1", "merged V1 U1", "guest V2 2", "identity oa y Y V2", "guest V3 3", "visitor oa z V3", "guest V4 4", "visitor new z V4"}
	rebind := func(w *world) error {
		_, err := w.db.Rebind(w.t.Context(), Rebinding{AppID: "oa"})
		return err
	}
	move := func(m OpenIDMap) func(*world) error {
		return func(w *world) error {
			_, err := w.db.MapOpenIDs(w.t.Context(), m)
			return err
		}
	}
	const proven = "member U1 previous V1"
	for _, c := range []struct {
		name           string
		change         func(*world) error
		proven         string // a replaced guest's session that the unionid proves
		younger, heard string
	}{
		{"rebound", rebind, "dead", "guest V4", ""},
		{"moved", move(moved("oa x new x", "oa y new y", "oa z new z")), proven, "guest V3 previous V4", "V4 V3"},
		{"moved by another company", move(moved("oa x new x", "oa y new y", "oa z new z").retiring()), "dead", "guest V3 previous V4", "V4 V3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Rules{}, given...)
				var heard []string
				w.db.OnChange(func(inv Invalidation) { heard = append(heard, inv.UserID) })
				w.exec(`UPDATE wxgate_user SET merged_at = ? WHERE id = 'V1'`, millis(time.Now().Add(-RotationGrace)))
				diff(t, "before", proven, w.resolved(SessionRef{UserID: "V1", Kind: Guest, UnionID: "X"}))
				must(t, c.change(w))
				diff(t, "the member's", proven, w.resolved(SessionRef{UserID: "U1", Kind: Member}))
				diff(t, "a replaced guest's", c.proven, w.resolved(SessionRef{UserID: "V1", Kind: Guest, UnionID: "X"}))
				diff(t, "a guest's", "guest V2", w.resolved(SessionRef{UserID: "V2", Kind: Guest, UnionID: "Y"}))
				diff(t, "the younger's of two", c.younger, w.resolved(SessionRef{UserID: "V4", Kind: Guest}))
				diff(t, "caches were told of", c.heard, strings.Join(heard, " "))
			})
		})
	}
}
