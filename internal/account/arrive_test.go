package account

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// arrives has a visitor arrive and says what is read of him.
func (db *DB) arrives(ctx context.Context, in Input) string {
	f, err := db.readKnown(ctx, call{in: in})
	switch {
	case err != nil:
		return "an error"
	case f == nil:
		return "there is more to read"
	case f.isStranger():
		return fmt.Sprintf("a stranger with %+v", f.unionIDKey)
	}
	return fmt.Sprintf("%s with %+v", f.ownerOf.id, f.own.unionIDKey)
}

// arriveBehind has visitors arrive while another is read, so that run reads them
// together.
func arriveBehind(db *DB, all []func() string, run func(context.Context, []*arrival) error) []string {
	count := func(of *[]*gathered[*arrival]) int {
		db.arrivals.mu.Lock()
		defer db.arrivals.mu.Unlock()
		return len(*of)
	}
	for count(&db.arrivals.going) > 0 { // of those before
		time.Sleep(time.Millisecond)
	}
	db.arrivals.going = []*gathered[*arrival]{{part: &arrival{}}}
	told := make([]string, len(all))
	var wg sync.WaitGroup
	for i, arrives := range all {
		wg.Go(func() { told[i] = arrives() })
		for count(&db.arrivals.waiting) <= i {
			time.Sleep(time.Millisecond)
		}
	}
	db.arrivals.runAll(db.arrivals.next(), run)
	wg.Wait()
	return told
}

// crowd are visitors of all kinds, one of them twice, and what is to be read of
// them in the world that newArrivedWorld makes.
func (db *DB) crowd(ctx context.Context) (all []func() string, want []string) {
	for _, c := range []struct {
		in   Input
		want string
	}{
		{proved("oa", "x", "X"), "U1 with {scope: unionID:X}"},
		{proved("oa", "new", "N"), "a stranger with {scope: unionID:N}"},
		{proved("mp", "x", "X"), "there is more to read"},
		{proved("oa", "v", "V"), "there is more to read"},
		{proved("oa", "i", "I"), "there is more to read"},
		{proved("oa", "x", "Y"), "there is more to read"},
		{proved("oa", "new", "N"), "a stranger with {scope: unionID:N}"},
		{proved("mp", "v", "V"), "a stranger with {scope: unionID:V}"},
		{proved("oa", "x ", "X"), "there is more to read"}, // and nobody whom a space makes another
		{proved("oa ", "x", "X"), "there is more to read"},
		{proved("oa", `'?\n$1`, "客"), "a stranger with {scope: unionID:客}"},
	} {
		all, want = append(all, func() string { return db.arrives(ctx, c.in) }), append(want, c.want)
	}
	return all, want
}

func newArrivedWorld(t *testing.T, open opener) *world {
	return newWorldOn(t, open, phoneMode(), "member U1", "identity oa x X U1", "member U2", "imported oa i U2", "guest V1 1", "visitor oa v V1")
}

func TestThoseWhoArriveTogetherAreReadAsIfAlone(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := newArrivedWorld(t, open).db
		all, want := db.crowd(t.Context())
		for i, arrives := range all {
			diff(t, "alone", want[i:i+1], []string{arrives()})
		}
		if db.embedded {
			return // where nobody saves a round trip
		}
		for n := 1; n <= len(all); n++ {
			statements := 0
			told := arriveBehind(db, all[:n], func(ctx context.Context, some []*arrival) error {
				statements++
				return db.readArrivals(ctx, some)
			})
			diff(t, fmt.Sprintf("%d together", n), want[:n], told)
			diff(t, "statements", 1, statements)
		}
	})
}

// What no database takes as a text harms only who brings it, and so does an error
// that comes of the company.
func TestAnErrorOfThoseWhoArriveTogetherIsNobodysElse(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		db := newArrivedWorld(t, open).db
		all, want := db.crowd(t.Context())
		diff(t, "read", want, arriveBehind(db, all, func(_ context.Context, some []*arrival) error {
			for _, a := range some { // an answer that broke off
				a.stored, a.found = true, "nonsense"
			}
			return errors.New("too many")
		}))
		alone := db.arrives(t.Context(), proved("oa", "\xff", "F"))
		all, want = append(all, func() string { return db.arrives(t.Context(), proved("oa", "\xff", "F")) }), append(want, alone)
		diff(t, "read", want, arriveBehind(db, all, db.readArrivals))
	})
}

func TestWhoGivesUpArrivingIsAlone(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		db := newArrivedWorld(t, open).db
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		all, want := db.crowd(t.Context())
		all = append(all, func() string {
			defer close(gone)
			return db.arrives(ctx, proved("oa", "gone", "G"))
		})
		var first []string
		told := arriveBehind(db, all, func(run context.Context, some []*arrival) error {
			cancel() // while he is read
			<-gone
			for _, a := range some {
				first = append(first, a.in.OpenID)
			}
			return db.readArrivals(run, some)
		})
		diff(t, "read", append(want, "an error"), told)
		diff(t, "how many were read together", len(all), len(first))
	})
}

// Connections that are lost while visitors arrive, as when the server is
// restarted, cost nobody anything.
func TestThoseWhoArriveOutliveTheirConnections(t *testing.T) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			server := dbtest.Shared(t, e)
			url := server.Create(t)
			db := openURL(t, url)
			w := newWorldIn(t, db, phoneMode())
			var all []func() string
			var want []string
			for i := range 5 {
				in := proved("oa", fmt.Sprint("x", i), fmt.Sprint("X", i))
				all = append(all, func() string {
					out, err := db.Link(t.Context(), w.rules, in)
					if err != nil {
						return err.Error()
					}
					return string(out.Code)
				})
				want = append(want, string(CodeGuest))
			}
			told := arriveBehind(db, all, func(ctx context.Context, some []*arrival) error {
				server.Disconnect(t, url)
				return db.readArrivals(ctx, some)
			})
			diff(t, "linked", want, told)
			checkInvariants(t, db)
		})
	}
}
