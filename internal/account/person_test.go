package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFind(t *testing.T) {
	given := []string{
		"member U1", "phone U1 p1", "identity oa x X U1", "identity mp x X U1", "identity shop s s U1", "imported old i U1",
		"member U2", "merged U2 U1", "guest V1 1", "merged V1 U1", "guest V2 2", "visitor oa v V2", "visitor zz v V2", "identity oa n N -", "member U3", "cancelled U3",
		"member X", // an id of the shop's own
	}
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, given...)
		for term, want := range map[string]string{
			"U1":              "U1 by user_id",
			"U2":              "U1 by previous_id",
			"V1":              "U1 by previous_id",
			"V2":              "V2 by user_id",
			"U3":              "U3 by user_id",
			"X":               "X by user_id; U1 by unionid",
			"x":               "U1 by openid in mp; U1 by openid in oa",
			"s":               "U1 by openid in shop",
			"i":               "U1 by openid in old",
			"v":               "V2 by openid in oa; V2 by openid in zz",
			"n":               "",
			"N":               "",
			"nobody":          "",
			"":                "",
			"+8613800130049":  "U1 by phone",
			"138 0013 0049":   "U1 by phone",
			"86 138 00130049": "U1 by phone",
			"+8613800130059":  "",
		} {
			found, err := w.db.Find(t.Context(), term)
			must(t, err)
			said := []string{}
			for _, m := range found {
				s := m.ID + " by " + m.By
				if m.AppID != "" {
					s += " in " + m.AppID
				}
				said = append(said, s)
			}
			diff(t, fmt.Sprintf("%q", term), want, strings.Join(said, "; "))
		}
	})
}

func TestPersonIsEverythingThatIsKept(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "identity shop s s U1", "imported old i U1",
			"member U2", "merged U2 U1", "member U9", "identity oa y Y U9", "guest V7 7", "visitor oa v V7")
		ctx := t.Context()
		w.link(proved("mp", "x", "X").as("V1"))  // V1 merges
		w.link(proved("oa", "y", "Y").as("U1"))  // W16 of U1 and U9
		w.link(proved("oa", "x", "XX").as("U1")) // G2 at one of his openids
		w.link(proved("oa", "z", "Z").as("U9"))  // W18 of somebody else
		must(t, w.db.RevokeUser(ctx, "U2", byOperator()))
		must(t, w.db.RevokeUser(ctx, "U9", byOperator()))
		for _, id := range []string{"U1", "U2", "V1"} {
			p, err := w.db.Person(ctx, id)
			must(t, err)
			diff(t, id, strings.Join([]string{
				"U1 member +86 138****0049 cancelled false revoked true",
				"identities mp/x/X oa/x/X old/i/ shop/s/s*",
				"visitors",
				"previous V1 U2",
				"events user.merged>U1 identity.linked>U1 user.merged>U1",
				"conflicts unionid_changed wechat_bound_to_other_user",
				"operations revoke",
			}, "\n"), inShort(p))
			raw, err := json.Marshal(p)
			must(t, err)
			if strings.Contains(string(raw), "13800130049") {
				t.Errorf("the phone is shown: %s", raw)
			}
		}
		guest, err := w.db.Person(ctx, "V7")
		must(t, err)
		diff(t, "a visitor", "V7 guest  cancelled false revoked false\nidentities\nvisitors oa/v/\nprevious\nevents\nconflicts\noperations", inShort(guest))
		_, err = w.db.Cancel(ctx, Cancelling{UserID: "U1", By: byOperator()})
		must(t, err)
		gone, err := w.db.Person(ctx, "V1")
		must(t, err)
		if s := inShort(gone); !strings.HasPrefix(s, "U1 member  cancelled true revoked true\nidentities\nvisitors\nprevious V1 U2\n") || !strings.HasSuffix(s, "\noperations cancel revoke") {
			t.Errorf("cancelled: %s", s)
		}
		if _, err := w.db.Person(ctx, "nobody"); !errors.Is(err, ErrUnknownUser) {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestAPersonHasWhatHisReplacedIDsHad(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "member U2", "phone U2 p2")
		ctx := t.Context()
		w.link(proved("oa", "x", "X").as("V1"))           // V1's
		w.link(proved("oa", "x", "X").as("U2"))           // U2's now
		must(t, w.db.RevokeUser(ctx, "U2", byOperator())) // done to U2
		_, err := w.db.Merge(ctx, w.rules, Merging{From: "U2", To: "U1", By: byOperator()})
		must(t, err)
		p, err := w.db.Person(ctx, "U1")
		must(t, err)
		diff(t, "person", strings.Join([]string{
			"U1 member  cancelled false revoked false",
			"identities oa/x/X",
			"visitors",
			"previous U2 V1",
			"events identity.linked>V1 user.merged>U2 phone.unbound>U2 user.merged>U1",
			"conflicts",
			"operations merge revoke",
		}, "\n"), inShort(p))
	})
}

// inShort is a person in short.
func inShort(p Person) string {
	rows := func(all []PersonIdentity) (s string) {
		for _, r := range all {
			s += " " + r.AppID + "/" + r.OpenID + "/" + r.UnionID
			if r.StandIn {
				s += "*"
			}
		}
		return s
	}
	var previous, events, operations string
	for _, prev := range p.Previous {
		previous += " " + prev.ID
	}
	for _, e := range p.Events {
		events += " " + string(e.Type) + ">" + e.Subject
	}
	codes := []string{}
	for _, c := range p.Conflicts {
		codes = append(codes, string(c.Code))
	}
	slices.Sort(codes)
	names := []string{}
	for _, o := range p.Operations {
		names = append(names, string(o.Action))
	}
	slices.Sort(names)
	operations = strings.Join(append([]string{"operations"}, names...), " ")
	return strings.Join([]string{
		fmt.Sprintf("%s %s %s cancelled %t revoked %t", p.ID, p.Kind, p.Phone, p.Cancelled != nil, p.SessionsFrom != nil),
		"identities" + rows(p.Identities), "visitors" + rows(p.Visitors), "previous" + previous, "events" + events,
		strings.Join(append([]string{"conflicts"}, codes...), " "), operations,
	}, "\n")
}

func TestConflictsAreListedInPartsNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Rules{}, "member U1", "identity oa x X U1")
		ctx := t.Context()
		for i := range 5 {
			w.link(proved("oa", fmt.Sprintf("y%d", i), fmt.Sprintf("Y%d", i)).as("U1"))
			if i%2 == 0 {
				time.Sleep(time.Second) // the others share a moment
			}
		}
		page := func(closed bool, after string, limit int) (openids []string, last string) {
			t.Helper()
			all, err := w.db.Conflicts(ctx, closed, Page{After: after, Limit: limit})
			must(t, err)
			for _, c := range all {
				openids, last = append(openids, c.OpenID), c.ID
			}
			return openids, last
		}
		all, _ := page(false, "", 0)
		diff(t, "all", 5, len(all))
		diff(t, "the oldest", "y0", all[4])
		first, last := page(false, "", 2)
		second, last2 := page(false, last, 2)
		third, last3 := page(false, last2, 2)
		diff(t, "in parts", all, slices.Concat(first, second, third))
		none, _ := page(false, last3, 2)
		diff(t, "behind the last", 0, len(none))
		none, _ = page(false, "unknown", 2)
		diff(t, "behind an unknown one", 0, len(none))
		must(t, w.db.CloseConflict(ctx, last3, byOperator()))
		open, _ := page(false, "", 0)
		closed, _ := page(true, "", 0)
		diff(t, "open and closed", []any{all[:4], all[4:]}, []any{open, closed})
	})
}

func TestCloseConflict(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "identity oa x X U1")
		ctx := t.Context()
		w.link(proved("oa", "y", "Y").as("U1"))
		all, err := w.db.Conflicts(ctx, false, Page{})
		must(t, err)
		id := all[0].ID
		if err := w.db.CloseConflict(ctx, id, By{Operator: true}); !errors.Is(err, ErrNoReason) {
			t.Errorf("without a reason: %v", err)
		}
		if err := w.db.CloseConflict(ctx, "unknown", byOperator()); !errors.Is(err, ErrUnknownConflict) {
			t.Errorf("an unknown one: %v", err)
		}
		diff(t, "still open", 1, len(w.lines(`SELECT id FROM wxgate_conflict WHERE closed IS NULL`)))
		must(t, w.db.CloseConflict(ctx, id, byOperator()))
		must(t, w.db.CloseConflict(ctx, id, byOperator()))
		diff(t, "told once", []string{id}, w.lines(`SELECT subject FROM wxgate_event WHERE type = 'conflict.closed'`))
		diff(t, "recorded once", []string{"close_conflict " + id + ": ticket 12"}, w.operations())
		w.link(proved("oa", "y", "Y").as("U1"))
		all, err = w.db.Conflicts(ctx, false, Page{})
		must(t, err)
		if len(all) != 1 || all[0].ID == id {
			t.Errorf("the same refused again opens %v", all)
		}
	})
}

func TestOperationsAreListedInPartsNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Rules{}, "member U1", "member U2")
		ctx := t.Context()
		for i := range 5 {
			must(t, w.db.RevokeUser(ctx, fmt.Sprintf("U%d", i%2+1), By{Operator: true, Reason: fmt.Sprint(i)}))
			if i%2 == 0 {
				time.Sleep(time.Second)
			}
		}
		list := func(subject, after string, limit int) (reasons []string, last string) {
			t.Helper()
			all, err := w.db.Operations(ctx, subject, Page{After: after, Limit: limit})
			must(t, err)
			for _, o := range all {
				reasons, last = append(reasons, o.Reason), o.ID
			}
			return reasons, last
		}
		all, _ := list("", "", 0)
		diff(t, "the oldest", "0", all[4])
		first, last := list("", "", 3)
		second, last := list("", last, 3)
		diff(t, "in parts", all, slices.Concat(first, second))
		none, _ := list("", last, 3)
		diff(t, "behind the last", 0, len(none))
		of, _ := list("U2", "", 0)
		diff(t, "of one user", []string{"3", "1"}, of)
		none, _ = list("U9", "", 0)
		diff(t, "of nobody", 0, len(none))
		must(t, w.db.RevokeUser(ctx, "U1", By{}))
		again, _ := list("", "", 0)
		diff(t, "what a person does himself is not listed", all, again)
	})
}

// What was done has a record on every database, however long the name of what it
// was done to.
func TestOperationsOnWhatHasALongName(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		openID := strings.Repeat("o", maxID)
		w.given("identity oa " + openID + " X -")
		by := byOperator()
		_, err := w.db.Import(t.Context(), w.rules, ImportConfig{
			Source: strings.NewReader("user_id\nU1\n"), Format: CSV, Name: strings.Repeat("客户", 20) + ".csv", By: by,
		})
		must(t, err)
		_, err = w.db.Cancel(t.Context(), Cancelling{AppID: "oa", OpenID: openID, By: by})
		must(t, err)
		_, err = w.db.Rebind(t.Context(), Rebinding{AppID: strings.Repeat("a", maxID+1), By: by})
		must(t, err)
		diff(t, "recorded", []string{
			"cancel oa: ticket 12", "import " + strings.Repeat("客户", 20)[:63] + ": ticket 12", "rebind " + strings.Repeat("a", maxID) + ": ticket 12",
		}, sorted(w.operations()))
		diff(t, "in full", []string{`{"file":"` + strings.Repeat("客户", 20) + `.csv","rows":1,"unreadable":0}`, `{"openid":"` + openID + `"}`},
			w.lines(`SELECT detail FROM wxgate_operation WHERE action IN ('import', 'cancel') ORDER BY action DESC`))
	})
}
