package account

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAHundredThousandBrowserGuestsCostNoRow(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		seen := make(map[string]bool, 100_000)
		var last string
		for range 100_000 {
			id, err := w.db.NewGuestID(t.Context())
			must(t, err)
			if seen[id] {
				t.Fatalf("%s was given twice", id)
			}
			seen[id], last = true, id
		}
		diff(t, "rows of users, and the next block", []string{"0 1000100000"},
			w.lines(`SELECT (SELECT count(*) FROM wxgate_user) || ' ' || next FROM wxgate_id_block WHERE first > 0`))

		// A hundred of them log in.
		n, err := strconv.Atoi(last)
		must(t, err)
		for i := range 100 {
			in := proved("oa", "x"+strconv.Itoa(i), "X"+strconv.Itoa(i)).login()
			in.UserID, in.UserKind, in.UserBorn = strconv.Itoa(n-i), Guest, time.Now()
			out, err := w.db.Link(t.Context(), w.rules, in)
			must(t, err)
			var merged []Merged
			for _, e := range out.Events {
				if m, ok := e.Data.(Merged); ok {
					merged = append(merged, m)
				}
			}
			want := []Merged{{From: in.UserID, To: out.UserID, FromKind: Guest, ToKind: Member, Reason: "login", Aliases: []string{in.UserID}}}
			diff(t, "user.merged", want, merged)
			diff(t, "previous", []string{in.UserID}, w.previous(out.UserID))
		}
		diff(t, "merges, members, guests", []string{"100 100 100"}, w.lines(`SELECT
			(SELECT count(*) FROM wxgate_event WHERE type = 'user.merged') || ' ' ||
			(SELECT count(*) FROM wxgate_user WHERE kind = 'member') || ' ' || (SELECT count(*) FROM wxgate_user WHERE kind = 'guest')`))
		checkInvariants(t, w.db)
	})
}

func (w *world) previous(member string) []string {
	w.t.Helper()
	res, err := w.db.Resolve(w.t.Context(), SessionRef{UserID: member, Kind: Member, IssuedAt: time.Now()})
	must(w.t, err)
	return res.Previous
}

func TestAThousandCallersAtOnceGetAThousandIDs(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		ids, errs := make([]string, 1000), make([]error, 1000)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() { ids[i], errs[i] = w.db.NewGuestID(context.Background()) })
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		slices.Sort(ids)
		diff(t, "distinct ids", 1000, len(slices.Compact(ids)))
		diff(t, "one block was reserved", []string{"1000001000"}, w.lines(`SELECT '' || next FROM wxgate_id_block WHERE first > 0`))
	})
}

func TestNoIDIsGivenTwiceWhateverHappens(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		seen := map[string]bool{}
		for i, start := range []int64{5000, 5000, 1, 20_000, 5000, 0} {
			db, err := Open(t.Context(), Config{URL: url, IDs: IDConfig{Start: start}})
			must(t, err)
			for range 3 {
				id, err := db.NewGuestID(t.Context())
				must(t, err)
				if seen[id] {
					t.Errorf("opened for the %d. time, with start %d, it gives %s again", i+1, start, id)
				}
				seen[id] = true
			}
			// A new person who takes no guest id on the way uses none up in vain.
			out, err := db.Link(t.Context(), Rules{}, proved("oa", "x"+strconv.Itoa(i), "X"+strconv.Itoa(i)).login())
			must(t, err)
			if seen[out.UserID] {
				t.Errorf("a member gets %s again", out.UserID)
			}
			seen[out.UserID] = true
			must(t, db.Close())
		}
		if !seen["20000"] {
			t.Error("a higher start was not followed")
		}
	})
}

// An id that is taken, by an import for example, must not make the newcomer
// that person.
func TestAMintedIDThatIsTakenIsPassedOver(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member 1000000000", "identity mp m M 1000000000", "guest 1000000001 1", "visitor mp g 1000000001")
		for _, in := range []Input{proved("oa", "x", "X").login(), at("oa", "y"), proved("oa", "z", "Z")} {
			out, err := w.db.Link(t.Context(), w.rules, in)
			must(t, err)
			if out.UserID < "1000000002" {
				t.Errorf("a newcomer became %s", out.UserID)
			}
		}
	})
}

func TestWhatIsDecidedWithoutAnIDUsesNoneUp(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "guest V1 1", "visitor oa x V1")
		w.link(proved("oa", "x", "X"))
		w.link(proved("mp", "x", "X"))
		id, err := w.db.NewGuestID(t.Context())
		must(t, err)
		diff(t, "the first id", "1000000000", id)
	})
}

func TestUUIDs(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		db, err := Open(t.Context(), Config{URL: url, IDs: IDConfig{UUID: true}})
		must(t, err)
		defer db.Close()
		form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
		guest, err := db.NewGuestID(t.Context())
		must(t, err)
		out, err := db.Link(t.Context(), Rules{}, proved("oa", "x", "X").login())
		must(t, err)
		if !form.MatchString(guest) || !form.MatchString(out.UserID) || guest == out.UserID {
			t.Errorf("%s and %s are no two UUIDs", guest, out.UserID)
		}
		diff(t, "blocks reserved", 0, len(linesOf(t, db, `SELECT first FROM wxgate_id_block WHERE first > 0`)))
	})
}

func TestUserIDsAreOrderedTotally(t *testing.T) {
	in := []string{"b", "10", "9", "a", "007", "7", "10a", "", "5a"}
	slices.SortFunc(in, compareIDs)
	diff(t, "sorted", []string{"007", "7", "9", "10", "", "10a", "5a", "a", "b"}, in)
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[0-9]{0,3}[a0]{0,2}`)
		a, b, c := id.Draw(t, "a"), id.Draw(t, "b"), id.Draw(t, "c")
		if compareIDs(a, b) != -compareIDs(b, a) || (compareIDs(a, b) == 0) != (a == b) {
			t.Errorf("%q and %q: %d and %d", a, b, compareIDs(a, b), compareIDs(b, a))
		}
		if compareIDs(a, b) < 0 && compareIDs(b, c) < 0 && compareIDs(a, c) >= 0 {
			t.Errorf("%q < %q < %q", a, b, c)
		}
	})
}

func TestMoreThan20ChangedUnionIDsAnHourRaiseTheAlarmOnce(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		var alarms recorder
		db, err := Open(t.Context(), Config{URL: url})
		must(t, err)
		db.LogTo(alarms.logger())
		defer db.Close()
		for i := range 30 {
			n := strconv.Itoa(i)
			for _, in := range []Input{proved("oa", "x"+n, "X"+n), proved("oa", "x"+n, "Z"+n), proved("oa", "x"+n, "Z"+n)} {
				_, err := db.Link(t.Context(), Rules{}, in)
				must(t, err)
			}
			if got, want := alarms.count(), max(0, min(1, i-19)); got != want {
				t.Fatalf("%d alarms after %d visitors, want %d", got, i+1, want)
			}
		}
	})
}
