package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// moved is an openid map of lines like `old x new y`.
func moved(lines ...string) OpenIDMap {
	var m OpenIDMap
	for _, l := range lines {
		f := strings.Split(l, " ")
		m.Moves = append(m.Moves, OpenIDMove{f[0], f[1], f[2], f[3]})
	}
	return m
}

func (m OpenIDMap) retiring() OpenIDMap {
	m.RetireOld = true
	return m
}

func (r MapReport) String() string {
	return fmt.Sprintf("members %d, guests %d, known %d, retired %d, unknown %v, taken %v, invalid %v",
		r.Members, r.Guests, r.Known, r.Retired, r.Unknown, r.Taken, r.Invalid)
}

func TestMapOpenIDs(t *testing.T) {
	member := []string{"member U1", "identity old x X U1"}
	guest := []string{"guest V1 1", "identity old x X V1"}
	visitor := []string{"guest V1 1", "visitor old x V1"}
	over := []string{"identity mp m X U1"}
	cases := []struct {
		name  string
		given []string
		m     OpenIDMap
		want  string // report without what is zero
		left  string
	}{
		{"a member", member, moved("old x new y"), "members 1", "new y - U1; old x X U1"},
		{"a member with an imported row", []string{"member U1", "imported old x U1"}, moved("old x new y"), "members 1", "new y - U1; old x - U1"},
		{"a guest", guest, moved("old x new y"), "guests 1", "old x X V1; visitor new y V1"},
		{"a visitor", visitor, moved("old x new y"), "guests 1", "visitor new y V1; visitor old x V1"},
		{"retired: a member", member, moved("old x new y").retiring(), "members 1, retired 1", "new y - U1"},
		{"retired: a member who has more", append(member, over...), moved("old x new y").retiring(), "members 1, retired 1", "mp m X U1; new y - U1"},
		{"retired: a guest", guest, moved("old x new y").retiring(), "guests 1, retired 1", "visitor new y V1"},
		{"retired: a visitor", visitor, moved("old x new y").retiring(), "guests 1, retired 1", "visitor new y V1"},
		{"retired: a stand-in", []string{"member U1", "identity old x x U1"}, moved("old x new y").retiring(), "members 1, retired 1", "new y - U1"},
		{"retired: nobody's", []string{"identity old x X -"}, moved("old x new y").retiring(), "known 1, retired 1", ""},
		{"retired: a visitor who waited for his member merges", []string{"member U1", "imported old x U1", "guest V1 1", "visitor old x V1"},
			moved("old x new y").retiring(), "members 1, retired 1", "new y - U1"},

		{"known: his already", append(member, "imported new y U1"), moved("old x new y"), "known 1", "new y - U1; old x X U1"},
		{"known: under his unionid", append(member, "identity new y X U1"), moved("old x new y").retiring(), "known 1, retired 1", "new y X U1"},
		{"known: a guest's already", append(visitor, "visitor new y V1"), moved("old x new y"), "known 1", "visitor new y V1; visitor old x V1"},
		{"known: the old one is gone", []string{"member U1", "imported new y U1"}, moved("old x new y").retiring(), "known 1", "new y - U1"},
		{"unknown", member, moved("old z new y"), "unknown [0]", "old x X U1"},
		{"unknown: of another app", member, moved("mp x new y"), "unknown [0]", "old x X U1"},
		{"taken: another member's", append(member, "member U2", "identity new y Y U2"), moved("old x new y").retiring(), "taken [0]", "new y Y U2; old x X U1"},
		{"taken: nobody's yet, but another WeChat account's", append(member, "identity new y Y -"), moved("old x new y"), "taken [0]", "new y Y -; old x X U1"},
		{"taken: another guest's", append(guest, "guest V2 2", "identity new y Y V2"), moved("old x new y"), "taken [0]", "new y Y V2; old x X V1"},
		{"invalid", member, moved("old x new ", "old x  y", " x new y", "old x new "+strings.Repeat("y", 65)), "invalid [0 1 2 3]", "old x X U1"},

		{"a visitor has come before his member's row", append(member, "guest V2 2", "visitor new y V2"), moved("old x new y"), "members 1",
			"new y - U1; old x X U1; visitor new y V2"},
		{"a younger guest has come before", append(visitor, "guest V2 2", "visitor new y V2"), moved("old x new y"), "guests 1",
			"visitor new y V1; visitor old x V1"},
		{"an older guest has come before", append(visitor, "guest V0 0", "visitor new y V0"), moved("old x new y"), "guests 1",
			"visitor new y V0; visitor old x V0"},
		{"who is linked survives the older", append(guest, "guest V0 0", "visitor new y V0"), moved("old x new y"), "guests 1",
			"old x X V1; visitor new y V1"},
		{"whom an earlier map has linked survives the older", append(visitor, "guest V2 2", "identity mp m M V2", "visitor new y V2"), moved("old x new y"), "guests 1",
			"mp m M V2; visitor new y V2; visitor old x V2"},
		{"both are linked", append(guest, "guest V2 2", "identity mp m M V2", "visitor new y V2"), moved("old x new y"), "taken [0]",
			"mp m M V2; old x X V1; visitor new y V2"},
		{"lines build on each other", member, moved("old x new y", "new y newer z", "old x new y"), "members 2, known 1",
			"new y - U1; newer z - U1; old x X U1"},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, Rules{}, c.given...)
				before := w.everything()
				trial := c.m
				trial.DryRun = true
				dry, err := w.db.MapOpenIDs(t.Context(), trial)
				must(t, err)
				diff(t, "after the dry run", before, w.everything())
				r, err := w.db.MapOpenIDs(t.Context(), c.m)
				must(t, err)
				checkInvariants(t, w.db)
				diff(t, "the dry run", r.String(), dry.String())
				diff(t, "report", c.want, nonZero(r.String()))
				diff(t, "stored", c.left, strings.Join(w.stored(), "; "))
				diff(t, "recorded", []string{}, w.operations())
				left := w.everything()
				_, err = w.db.MapOpenIDs(t.Context(), c.m)
				must(t, err)
				diff(t, "after the same again", left, w.everything())
			})
		}
	})
}

// nonZero leaves out of a report what there is nothing of.
func nonZero(report string) string {
	var kept []string
	for _, part := range strings.Split(report, ", ") {
		if !strings.HasSuffix(part, " 0") && !strings.HasSuffix(part, " []") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ", ")
}

func TestMapOpenIDsRefusesWhatIsTooLongOrHasNoReason(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "identity old x X U1")
	_, err := w.db.MapOpenIDs(t.Context(), OpenIDMap{Moves: make([]OpenIDMove, MaxOpenIDMoves+1)})
	if !errors.Is(err, ErrTooManyMoves) {
		t.Errorf("too many: %v", err)
	}
	m := moved("old x new y")
	m.By.Operator = true
	if _, err := w.db.MapOpenIDs(t.Context(), m); !errors.Is(err, ErrNoReason) {
		t.Errorf("no reason: %v", err)
	}
	diff(t, "stored", []string{"old x X U1"}, w.stored())
	m.By = byOperator()
	_, err = w.db.MapOpenIDs(t.Context(), m)
	must(t, err)
	diff(t, "recorded", []string{"map_openids new: ticket 12"}, w.operations())
}

// What comes after an openid map, as people see it.
func TestVisitsAfterAnOpenIDMap(t *testing.T) {
	cases := []struct {
		name  string
		rules Rules
		given []string
		m     OpenIDMap
		in    []Input
		want  []string
		left  string
	}{
		{"a member is recognised, and his unionid repairs the row", Rules{}, []string{"member U1", "identity old x X U1"}, moved("old x new y"),
			[]Input{at("new", "y"), proved("new", "y", "X")}, []string{"U1, unionid_missing", "U1, ok, linked new/y"}, "new y X U1; old x X U1"},
		{"the guest who came before merges into the member", Rules{}, []string{"member U1", "identity old x X U1", "guest V1 1", "visitor new y V1"},
			moved("old x new y"), []Input{at("new", "y").as("V1")}, []string{"U1, unionid_missing, merged V1>U1"}, "new y - U1; old x X U1"},
		{"a guest is recognised, and his unionid links him", Rules{}, []string{"guest V1 1", "identity old x X V1"}, moved("old x new y"),
			[]Input{at("new", "y"), proved("new", "y", "X")}, []string{"V1, guest", "V1, guest, linked new/y"}, "new y X V1; old x X V1"},
		{"a guest's session goes on", Rules{}, []string{"guest V1 1", "identity old x X V1"}, moved("old x new y"),
			[]Input{at("new", "y").as("V1")}, []string{"V1, guest"}, "old x X V1; visitor new y V1"},
		{"a guest who is linked survives an older session", Rules{}, []string{"guest V1 1", "identity old x X V1"}, moved("old x new y"),
			[]Input{at("new", "y").as("V0")}, []string{"V1, guest, merged V0>V1"}, "old x X V1; visitor new y V1"},
		{"a guest logs in at the old account, and the new one forgets his visitor row", Rules{}, []string{"guest V1 1", "identity old x X V1"}, moved("old x new y"),
			[]Input{proved("old", "x", "X").as("V1").login(), at("new", "y"), proved("new", "y", "X")},
			[]string{"U+1, ok, created U+1, merged V1>U+1", "V+1, guest", "U+1, ok, linked new/y, merged V+1>U+1"}, "new y X U+1; old x X U+1"},
		{"a visitor of two openids is one guest", Rules{}, []string{"guest V1 1", "visitor old x V1"}, moved("old x new y"),
			[]Input{proved("new", "y", "X"), proved("old", "x", "X")}, []string{"V1, guest, linked new/y", "V1, guest, linked old/x"}, "new y X V1; old x X V1"},
		{"a visitor of two openids logs in at one", Rules{}, []string{"guest V1 1", "visitor old x V1"}, moved("old x new y"),
			[]Input{proved("new", "y", "X").login()}, []string{"U+1, ok, created U+1, linked new/y, merged V1>U+1"}, "new y X U+1"},
		{"the company changed, and the new unionid takes the guest", Rules{}, []string{"guest V1 1", "identity old x X V1"}, moved("old x new y").retiring(),
			[]Input{proved("new", "y", "X2")}, []string{"V1, guest, linked new/y"}, "new y X2 V1"},
		{"the company changed, and the new unionid takes the member", Rules{}, []string{"member U1", "identity old x X U1"}, moved("old x new y").retiring(),
			[]Input{proved("new", "y", "X2")}, []string{"U1, ok, linked new/y"}, "new y X2 U1"},
		{"another unionid than the guest's leaves him where he is linked", Rules{}, []string{"guest V1 1", "identity old x X V1"}, moved("old x new y"),
			[]Input{proved("new", "y", "X2")}, []string{"V+1, guest, linked new/y"}, "new y X2 V+1; old x X V1"},
		{"another unionid than the member's is a conflict", Rules{}, []string{"member U1", "identity old x X U1"}, moved("old x new y"),
			[]Input{proved("new", "y", "X2")}, []string{"U1, repair_conflict, opened"}, "new y - U1; old x X U1"},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, c.rules, c.given...)
				_, err := w.db.MapOpenIDs(t.Context(), c.m)
				must(t, err)
				for i, in := range c.in {
					diff(t, fmt.Sprintf("visit %d", i+1), c.want[i], w.said(w.link(in)))
				}
				diff(t, "stored", c.left, strings.Join(w.stored(), "; "))
			})
		}
	})
}
