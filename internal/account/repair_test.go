package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fans are the followers of an official account as WeChat tells of them.
type fans struct {
	all     []Follower
	asked   [][]string
	breakAt int    // page whose asking fails, once; 0: none
	leave   func() // what happens while WeChat answers
	pages   int
}

var errFansGone = errors.New("WeChat is gone")

const fansPage = 300

func (f *fans) Page(_ context.Context, after string) (ids []string, next string, err error) {
	if f.pages++; f.pages == f.breakAt {
		return nil, "", errFansGone
	}
	i := 0
	if after != "" {
		i = 1 + slices.IndexFunc(f.all, func(f Follower) bool { return f.OpenID == after })
	}
	for _, one := range f.all[i:min(i+fansPage, len(f.all))] {
		ids = append(ids, one.OpenID)
		next = one.OpenID
	}
	return ids, next, nil // the last page names one behind it, which is empty
}

func (f *fans) Ask(_ context.Context, openIDs []string) (answers []Follower, err error) {
	f.asked = append(f.asked, openIDs)
	if f.leave != nil {
		f.leave()
	}
	for _, one := range slices.Backward(f.all) {
		if slices.Contains(openIDs, one.OpenID) {
			answers = append(answers, one)
		}
	}
	return answers, nil
}

// repair runs a repair of the official account oa.
func (w *world) repair(f *fans, change ...func(*RepairConfig)) (RepairReport, []string, error) {
	w.t.Helper()
	var conflicts []string
	cfg := RepairConfig{AppID: "oa", Followers: f, Conflict: func(c RepairConflict) error {
		conflicts = append(conflicts, strings.Join([]string{c.OpenID, c.UnionID, c.UserID, string(c.Code)}, " "))
		return nil
	}}
	for _, f := range change {
		f(&cfg)
	}
	r, err := w.db.Repair(w.t.Context(), w.rules, cfg)
	checkInvariants(w.t, w.db)
	slices.Sort(conflicts)
	return r, conflicts, err
}

// Each fill is a visit without its visitor: G6 fills and merges his guest, G3
// opens a conflict.
func TestRepair(t *testing.T) {
	given := []string{
		"member U1", "imported oa a U1", "guest V1 1", "visitor oa a V1",
		"member U2", "imported oa b U2", "guest V2 2", "identity mp b2 B V2",
		"member U3", "imported oa c U3", "member U4", "identity mp c4 C U4",
		"member U5", "imported oa d U5", "identity mp d5 D5 U5",
		"member U6", "imported oa gone U6", "member U7", "imported oa left U7", "member U8", "imported oa secret U8",
		"member U9", "imported mp elsewhere U9", "idle U1",
	}
	all := []Follower{
		{"a", "A", true}, {"b", "B", true}, {"c", "C", true}, {"d", "D", true}, {"left", "", false}, {"secret", "", true}, {"stranger", "S", true},
	}
	want := RepairReport{Waiting: 7, Followers: 7, Filled: 2, Conflicts: 2, NoUnionID: 1, Unfollowed: 2, Whole: true}
	conflicts := []string{"c C U3 repair_conflict", "d D U5 repair_conflict"}
	stored := []string{
		"mp b2 B U2", "mp c4 C U4", "mp d5 D5 U5", "mp elsewhere - U9",
		"oa a A U1", "oa b B U2", "oa c - U3", "oa d - U5", "oa gone - U6", "oa left - U7", "oa secret - U8",
	}

	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, given...)
		f := &fans{all: all}
		before := w.everything()
		got, said, err := w.repair(f, func(c *RepairConfig) { c.DryRun = true })
		must(t, err)
		diff(t, "a dry run", want, got)
		diff(t, "conflicts of a dry run", conflicts, said)
		diff(t, "changed by a dry run", before, w.everything())

		seen := w.lines(`SELECT last_seen FROM wxgate_user ORDER BY id`)
		got, said, err = w.repair(f, func(c *RepairConfig) { c.By = By{Operator: true, Reason: "moving in"} })
		must(t, err)
		diff(t, "report", want, got)
		diff(t, "conflicts", conflicts, said)
		diff(t, "stored", stored, w.rawStored())
		diff(t, "people", []string{"V1 guest > U1", "V2 guest > U2"}, slices.DeleteFunc(w.people(), func(p string) bool { return p[0] == 'U' }))
		diff(t, "last seen", seen, w.lines(`SELECT last_seen FROM wxgate_user ORDER BY id`))
		diff(t, "open conflicts", []string{"repair_conflict U3", "repair_conflict U5"},
			w.lines(`SELECT code || ' ' || substr(parties, 1, 2) FROM wxgate_conflict WHERE closed IS NULL ORDER BY parties`))
		diff(t, "recorded", []string{`repair oa moving in {"waiting":7}`},
			w.lines(`SELECT action || ' ' || subject || ' ' || reason || ' ' || detail FROM wxgate_operation`))

		f.asked = nil
		got, _, err = w.repair(f)
		must(t, err)
		diff(t, "again", RepairReport{Waiting: 5, Followers: 7, Conflicts: 2, NoUnionID: 1, Unfollowed: 2, Whole: true}, got)
		diff(t, "asked again", [][]string{{"c", "d", "left", "secret"}}, f.asked)

		_, _, err = w.repair(f, func(c *RepairConfig) { c.By.Operator = true })
		if !errors.Is(err, ErrNoReason) {
			t.Errorf("without a reason: %v", err)
		}
	})
}

// Who withdraws his grant, or comes himself, while WeChat is asked about him is
// left alone.
func TestRepairOfThoseWhoGoMeanwhile(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "imported oa a U1", "member U2", "imported oa b U2", "member U3", "imported oa c U3")
		var after []string
		f := &fans{all: []Follower{{"a", "A", true}, {"b", "B", true}, {"c", "C", true}}, leave: func() {
			_, err := w.db.Cancel(t.Context(), Cancelling{UserID: "U1"})
			must(t, err)
			w.link(Input{AppID: "oa", OpenID: "b", UnionID: "B"})
			after = w.people()
		}}
		got, said, err := w.repair(f)
		must(t, err)
		diff(t, "report", RepairReport{Waiting: 3, Followers: 3, Filled: 1, Whole: true}, got)
		diff(t, "conflicts", []string(nil), said)
		diff(t, "stored", []string{"oa b B U2", "oa c C U3"}, w.rawStored())
		diff(t, "people", after, w.people())
	})
}

// crowd makes n members who wait for their unionids, and as many followers.
func (w *world) crowd(n int, unionID func(int) string) *fans {
	f := &fans{}
	for i := range n {
		openID := fmt.Sprintf("o%04d", i)
		w.given(fmt.Sprint("member U", openID))
		w.given(fmt.Sprint("imported oa ", openID, " U", openID))
		f.all = append(f.all, Follower{openID, unionID(i), true})
	}
	return f
}

func unionIDOf(i int) string { return fmt.Sprintf("u%04d", i) }

// A repair that breaks off says where to go on; whether it goes on there or
// begins again, nobody is filled twice.
func TestRepairGoesOn(t *testing.T) {
	for name, after := range map[string]bool{"where it broke off": true, "from the beginning": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Rules{})
			f := w.crowd(700, unionIDOf)
			f.breakAt = 3
			var last Progress
			got, _, err := w.repair(f, func(c *RepairConfig) { c.Progress = func(p Progress) { last = p } })
			if !errors.Is(err, errFansGone) {
				t.Errorf("error %v", err)
			}
			diff(t, "broken off", RepairReport{Waiting: 700, Followers: 600, Filled: 600, Next: "o0599"}, got)
			diff(t, "progress", Progress{Stage: StageFollowers, Done: 600}, last)
			for _, some := range f.asked {
				if len(some) > MaxAsked {
					t.Errorf("%d asked at once", len(some))
				}
			}
			f.asked = nil
			want := RepairReport{Waiting: 100, Followers: 700, Filled: 100, Whole: true}
			got, _, err = w.repair(f, func(c *RepairConfig) {
				if after {
					c.After, want.Followers, want.Whole = got.Next, 100, false
				}
			})
			must(t, err)
			diff(t, "gone on", want, got)
			if len(f.asked) != 1 {
				t.Errorf("asked %d times", len(f.asked))
			}
			diff(t, "left", []string{"0"}, w.lines(`SELECT count(*) FROM wxgate_identity WHERE unionid IS NULL`))
		})
	}
}

// An account that is bound to no Open Platform account has no unionids: after a
// hundred followers that is clear, and not after a million.
func TestRepairOfAnAccountWithoutUnionIDs(t *testing.T) {
	w := newWorld(t, Rules{})
	f := w.crowd(250, func(int) string { return "" })
	got, _, err := w.repair(f)
	if !errors.Is(err, ErrNoUnionIDs) || len(f.asked) != 1 {
		t.Errorf("error %v after asking %d times", err, len(f.asked))
	}
	diff(t, "report", RepairReport{Waiting: 250, Followers: 0, NoUnionID: 100}, RepairReport{Waiting: got.Waiting, NoUnionID: got.NoUnionID})
}

// Nothing that waits: WeChat is not bothered.
func TestRepairOfNothing(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "identity oa x X U1")
	f := &fans{all: []Follower{{"x", "X", true}}}
	got, _, err := w.repair(f)
	must(t, err)
	diff(t, "report", RepairReport{Whole: true}, got)
	if f.pages > 0 {
		t.Error("the followers were asked for")
	}
}

// A visitor who comes while his row is being repaired is not repaired twice.
func TestRepairWhileVisitorsCome(t *testing.T) {
	w := newWorld(t, Rules{})
	f := w.crowd(120, unionIDOf)
	done := make(chan error)
	go func() {
		for i, one := range f.all {
			_, err := w.db.Link(context.Background(), w.rules, Input{AppID: "oa", OpenID: one.OpenID, UnionID: one.UnionID, Want: WantLogin})
			if err != nil || i == len(f.all)-1 {
				done <- err
				return
			}
		}
	}()
	got, conflicts, err := w.repair(f)
	must(t, err)
	must(t, <-done)
	if len(conflicts) > 0 || got.Filled > 120 {
		t.Errorf("%+v, conflicts %v", got, conflicts)
	}
	checkInvariants(t, w.db)
	diff(t, "linked", []string{"120 120"}, w.lines(`SELECT count(*) || ' ' || count(DISTINCT subject) FROM wxgate_event WHERE type = 'identity.linked'`))
}
