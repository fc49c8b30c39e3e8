package account

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// linkAll links many at once and says what became of each.
func (w *world) linkAll(all []Input) []Outcome {
	w.t.Helper()
	outs, errs := make([]Outcome, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for i, in := range all {
		wg.Go(func() { outs[i], errs[i] = w.db.Link(w.t.Context(), w.rules, in) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			w.t.Fatalf("%+v: %v", all[i], err)
		}
	}
	return outs
}

// Strangers of all kinds who come at once, each twice, become one user each, and
// all that is stored is what it would be had they come one after the other.
func TestACrowdOfStrangersIsStoredAsOneByOne(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		rules := phoneMode()
		rules.StandIns = map[string]bool{"mp": true}
		var all []Input
		for i := range 15 {
			n := strconv.Itoa(i)
			all = append(all, proved("oa", "o"+n, "U"+n), at("oa", "v"+n), at("mp", "m"+n), proved("web", "o"+n, "W"+n).login())
		}
		w := newWorldOn(t, open, rules)
		outs := w.linkAll(slices.Concat(all, all))
		checkInvariants(t, w.db)
		users := map[string]bool{}
		for i, out := range outs[:len(all)] {
			if again := outs[len(all)+i]; out.UserID != again.UserID {
				t.Errorf("%+v is %s and %s", all[i], out.UserID, again.UserID)
			}
			users[out.UserID] = true
		}
		diff(t, "users", len(all), len(users))
		diff(t, "rows of users", len(all), len(w.lines(`SELECT id FROM wxgate_user`)))
		found := w.kinds()

		w = newWorldIn(t, w.db, rules)
		for _, in := range all {
			_, err := w.db.Link(t.Context(), rules, in)
			must(t, err)
		}
		diff(t, "all that is stored", w.kinds(), found)
	})
}

// kinds is what is stored, but for the ids of users and the order in which they
// came.
func (w *world) kinds() (all []string) {
	w.t.Helper()
	for _, query := range []string{
		`SELECT 'identity ' || i.appid || ' ' || i.openid || ' ' || i.scope || ' ' || i.unionid || ' ' || u.kind FROM wxgate_identity i
			JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid JOIN wxgate_user u ON u.id = n.user_id`,
		`SELECT 'visitor ' || v.appid || ' ' || v.openid || ' ' || u.kind FROM wxgate_visitor v JOIN wxgate_user u ON u.id = v.guest_id`,
		`SELECT e.type || ' ' || u.kind FROM wxgate_event e JOIN wxgate_user u ON u.id = e.subject`,
	} {
		all = append(all, w.lines(query)...)
	}
	slices.Sort(all)
	return all
}

// gatherBehind has strangers come while another is being stored, so that they
// are stored together, and says whether each was.
func (w *world) gatherBehind(ctx context.Context, all []Input, meanwhile func()) []bool {
	w.t.Helper()
	w.keepBusy()
	stored := make([]bool, len(all))
	var wg sync.WaitGroup
	for i, in := range all {
		call, f, p := w.decided(in)
		wg.Go(func() { _, stored[i] = w.db.storeStranger(ctx, call, f, p) })
		w.wait(i + 1)
	}
	meanwhile()
	w.db.strangers.runAll(w.db.strangers.next(), w.db.storeStrangers)
	wg.Wait()
	return stored
}

// somebody takes his time to be stored.
func somebody() []*gathered[*stranger] { return []*gathered[*stranger]{{part: &stranger{}}} }

// keepBusy has somebody stored, once the gatherer is done with all before.
func (w *world) keepBusy() {
	w.t.Helper()
	for {
		w.db.strangers.mu.Lock()
		free := w.db.strangers.going == nil
		if free {
			w.db.strangers.going = somebody()
		}
		w.db.strangers.mu.Unlock()
		if free {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// wait waits until so many are waiting.
func (w *world) wait(n int) {
	w.t.Helper()
	waiting := func() int {
		w.db.strangers.mu.Lock()
		defer w.db.strangers.mu.Unlock()
		return len(w.db.strangers.waiting)
	}
	for waiting() != n {
		time.Sleep(time.Millisecond)
	}
}

func TestWhoFitsIsStoredTogether(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode())
		all := []Input{proved("oa", "x1", "X1"), at("oa", "v1"), proved("oa", "x2", "X2"), proved("mp", "x4", "X4")}
		var took []int
		diff(t, "stored", []bool{true, true, true, true}, w.gatherBehind(t.Context(), all, func() {
			waiting := slices.Clone(w.db.strangers.waiting)
			for w.db.strangers.next() != nil {
				took = append(took, len(waiting)-len(w.db.strangers.waiting))
			}
			w.db.strangers.waiting, w.db.strangers.going = waiting, somebody()
		}))
		diff(t, "how many are gone after each", []int{3, 4}, took)
		checkInvariants(t, w.db)
		if w.db.strangers.going != nil {
			t.Error("it stays busy")
		}
	})
}

// One who is no stranger any more takes the others with him; all of them are
// stored in the ordinary way then.
func TestOneOfACrowdWhoHasBecomeKnownHarmsNobody(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		for what, meanwhile := range map[string][]string{
			"his openid is stored":      {"guest V1 1", "identity oa x3 X3 V1"},
			"his openid is a visitor's": {"guest V1 1", "visitor oa x3 V1"},
			"his unionid is stored":     {"member U1", "identity mp y X3 U1"},
		} {
			t.Run(what, func(t *testing.T) {
				w := newWorldOn(t, open, phoneMode())
				var all []Input
				for i := range 5 {
					all = append(all, proved("oa", fmt.Sprint("x", i), fmt.Sprint("X", i)))
				}
				diff(t, "stored", make([]bool, 5), w.gatherBehind(t.Context(), all, func() {
					for _, line := range meanwhile {
						w.given(line)
					}
				}))
				for i, out := range w.linkAll(all) {
					if out.Code != CodeOK && out.Code != CodeGuest {
						t.Errorf("%d: %+v", i, out)
					}
				}
				checkInvariants(t, w.db)
				diff(t, "identities of this app", 5, len(w.lines(`SELECT openid FROM wxgate_identity WHERE appid = 'oa'`)))
			})
		}
	})
}

// Who gives up does not take those with him who wait beside him, and nobody
// waits for what is stored for nobody.
func TestWhoGivesUpWaitingIsAlone(t *testing.T) {
	w := newWorldOn(t, newDB, phoneMode())
	ctx, cancel := context.WithCancel(t.Context())
	call, f, p := w.decided(proved("oa", "x1", "X1"))
	given := make(chan bool)
	stored := w.gatherBehind(t.Context(), []Input{proved("oa", "x2", "X2")}, func() {
		go func() { _, ok := w.db.storeStranger(ctx, call, f, p); given <- ok }()
		w.wait(2)
		cancel()
		if <-given {
			t.Error("he was told that he is stored")
		}
		diff(t, "how many wait", 1, len(w.db.strangers.waiting))
	})
	diff(t, "the other is stored", []bool{true}, stored)
	diff(t, "openids", []string{"x2"}, w.lines(`SELECT openid FROM wxgate_identity`))
}

// One who comes twice at once is stored in the ordinary way the second time, and
// takes nobody with him.
func TestTwinsAreNotStoredTogether(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode())
		first, other := proved("oa", "x1", "X1"), proved("oa", "x2", "X2")
		for name, with := range map[string]func(){
			"he waits":           func() {},
			"he is being stored": func() { w.db.strangers.next() },
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorldIn(t, w.db, phoneMode())
				call, f, p := w.decided(first)
				diff(t, "stored", []bool{true, true}, w.gatherBehind(t.Context(), []Input{first, other}, func() {
					before := slices.Clone(w.db.strangers.waiting)
					with()
					if _, stored := w.db.storeStranger(t.Context(), call, f, p); stored {
						t.Error("the second was stored as a stranger")
					}
					w.db.strangers.waiting = before
				}))
				out, err := w.db.Link(t.Context(), w.rules, first)
				must(t, err)
				diff(t, "the second", "V+1, guest", w.said(out))
				checkInvariants(t, w.db)
			})
		}
	})
}

// What cannot be stored with others waits for nobody's turn.
func TestAMemberByPhoneDoesNotQueue(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode())
		call, f, p := w.decided(proved("oa", "x", "X").with("p7").login())
		w.keepBusy()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, stored := w.db.storeStranger(ctx, call, f, p); !stored {
			t.Error("he was not stored")
		}
		w.db.strangers.going = nil
	})
}

// A driver that panics must not leave all later strangers waiting.
func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	db := &DB{}
	func() {
		defer func() { _ = recover() }()
		_ = db.strangers.together(t.Context(), &stranger{}, db.storeStrangers)
		t.Error("without a database it should have panicked")
	}()
	if db.strangers.going != nil {
		t.Error("it stays busy")
	}
}

func TestAStatementForSeveralIsAboutEach(t *testing.T) {
	parts := []*stranger{}
	for i := range 7 {
		parts = append(parts, &stranger{writes: []write{
			{strangerSQL + "t WHERE (a = ?)", []any{i}}, {"INSERT INTO t (a, b) VALUES (?, 1)", []any{i}},
		}})
	}
	var got []string
	for _, w := range append(inPieces(parts, 0), inPieces(parts, 1)...) {
		got = append(got, strings.TrimPrefix(w.query, strangerSQL)+fmt.Sprint(w.args))
	}
	diff(t, "statements", []string{
		"t WHERE (a = ?) OR (a = ?) OR (a = ?) OR (a = ?)[0 1 2 3]", "t WHERE (a = ?) OR (a = ?)[4 5]", "t WHERE (a = ?)[6]",
		"INSERT INTO t (a, b) VALUES (?, 1), (?, 1), (?, 1), (?, 1)[0 1 2 3]", "INSERT INTO t (a, b) VALUES (?, 1), (?, 1)[4 5]", "INSERT INTO t (a, b) VALUES (?, 1)[6]",
	}, got)
}
