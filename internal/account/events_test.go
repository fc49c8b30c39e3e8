package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// tell writes an event in a transaction of its own, without a place.
func tell(ctx context.Context, db *DB, subject string, n int) error {
	return db.inTx(ctx, func(tx *sql.Tx) error { return tellIn(ctx, tx, subject, n) })
}

func tellIn(ctx context.Context, tx *sql.Tx, subject string, n int) error {
	c := &change{ctx: ctx, tx: tx, at: time.Now()}
	return c.emit(EventUserCreated, subject, map[string]int{"n": n})
}

// told is an event that tell has written.
func told(e Event) string {
	var data struct{ N int }
	if err := json.Unmarshal(e.Data.(json.RawMessage), &data); err != nil {
		return err.Error()
	}
	return fmt.Sprint(e.Subject, " ", data.N)
}

func pageOf(t *testing.T, db *DB, after int64, limit int) (lines []string, page EventPage) {
	t.Helper()
	page, err := db.Events(t.Context(), after, limit)
	must(t, err)
	lines = []string{}
	for _, e := range page.Events {
		lines = append(lines, told(e))
	}
	return lines, page
}

func TestFeedGoesOnBehindTheCursor(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		lines, page := pageOf(t, db, 0, 10)
		if len(lines) != 0 || page.Next != 0 || page.Lost {
			t.Fatalf("an empty feed: %v %+v", lines, page)
		}
		var all []string
		must(t, db.inTx(t.Context(), func(tx *sql.Tx) error {
			all = nil
			for n := range 1300 {
				all = append(all, fmt.Sprint("U ", n))
				if err := tellIn(t.Context(), tx, "U", n); err != nil {
					return err
				}
			}
			return nil
		}))
		lines, first := pageOf(t, db, 0, 3)
		diff(t, "a page", all[:3], lines)
		lines, second := pageOf(t, db, first.Next, 5000)
		diff(t, "the largest page", all[3:1003], lines)
		lines, third := pageOf(t, db, second.Next, 5000)
		diff(t, "the rest", all[1003:], lines)
		lines, fourth := pageOf(t, db, third.Next, 5000)
		if len(lines) != 0 || fourth.Next != third.Next || fourth.Lost {
			t.Errorf("behind the end: %v %+v", lines, fourth)
		}
		lines, _ = pageOf(t, db, first.Next, 0)
		diff(t, "a limit of none is one", all[3:4], lines)
		must(t, tell(t.Context(), db, "U", 1300))
		lines, _ = pageOf(t, db, fourth.Next, 10)
		diff(t, "what has come since", []string{"U 1300"}, lines)
	})
}

// A reader must not go on behind a number whose transaction is still open, and
// need not wait for one that was rolled back.
func TestEventsThatCommitLateStandBehindTheOthers(t *testing.T) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} { // SQLite has one writer at a time
		t.Run(string(e), func(t *testing.T) {
			db := serverDB(t, e)(t)
			begin := func(n int) *sql.Tx {
				tx, err := db.write.BeginTx(t.Context(), &db.dialect.writes)
				must(t, err)
				must(t, tellIn(t.Context(), tx, "U", n))
				return tx
			}
			first := begin(0)
			must(t, tell(t.Context(), db, "U", 1))
			second := begin(2)
			gone := begin(3)
			must(t, tell(t.Context(), db, "U", 4))

			lines, page := pageOf(t, db, 0, 10)
			diff(t, "while three are being written", []string{"U 1", "U 4"}, lines)
			must(t, second.Commit())
			must(t, gone.Rollback())
			must(t, tell(t.Context(), db, "U", 5))
			lines, page = pageOf(t, db, page.Next, 10)
			diff(t, "while one is being written", []string{"U 2", "U 5"}, lines)
			must(t, first.Commit())
			lines, page = pageOf(t, db, page.Next, 10)
			diff(t, "what has come late", []string{"U 0"}, lines)
			must(t, tell(t.Context(), db, "U", 6))
			lines, _ = pageOf(t, db, page.Next, 10)
			diff(t, "and then", []string{"U 6"}, lines)
			lines, _ = pageOf(t, db, 0, 10)
			diff(t, "from the beginning", []string{"U 1", "U 4", "U 2", "U 5", "U 0", "U 6"}, lines)
		})
	}
}

// Writers whose transactions overlap, some rolled back, and readers who follow:
// each reader sees each event once, all in one order, and each subject's in the
// order in which they were written.
func TestReadersWhoFollowWritersMissNothing(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		const writers, each, readers = 8, 40, 3
		db := open(t)
		var writing, reading sync.WaitGroup
		done := make(chan struct{})
		for w := range writers {
			writing.Go(func() {
				for n := range each {
					if n%5 == 4 { // rolled back: the numbers it drew stay gaps
						tx, err := db.write.BeginTx(t.Context(), nil)
						if err == nil {
							err = tellIn(t.Context(), tx, "nobody", n)
							_ = tx.Rollback()
						}
						if err != nil {
							t.Error(err)
						}
					}
					if err := tell(t.Context(), db, fmt.Sprint("U", w), n); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := make([][]string, readers)
		for r := range readers {
			reading.Go(func() { seen[r] = follow(t, db, done, 3+r) })
		}
		writing.Wait()
		close(done)
		reading.Wait()

		for r := range readers {
			diff(t, "what another reader saw", seen[0], seen[r])
		}
		var want []string
		got := map[string][]string{}
		for w := range writers {
			for n := range each {
				want = append(want, fmt.Sprintf("U%d %d", w, n))
			}
		}
		for _, line := range seen[0] {
			subject := line[:2]
			got[subject] = append(got[subject], line)
		}
		var all []string
		for w := range writers {
			all = append(all, got[fmt.Sprint("U", w)]...)
		}
		diff(t, "each subject's events", want, all)
	})
}

// follow reads until the feed is at its end after done.
func follow(t *testing.T, db *DB, done <-chan struct{}, limit int) (seen []string) {
	for after := int64(0); ; {
		over := false
		select {
		case <-done:
			over = true
		default:
		}
		page, err := db.Events(t.Context(), after, limit)
		if err != nil || page.Lost {
			t.Errorf("lost: %v, %v", page.Lost, err)
			return seen
		}
		for _, e := range page.Events {
			if e.Seq <= after {
				t.Errorf("%d follows %d", e.Seq, after)
			}
			after = e.Seq
			seen = append(seen, told(e))
		}
		if after != page.Next {
			t.Errorf("next is %d after %d", page.Next, after)
		}
		if over && len(page.Events) == 0 {
			return seen
		}
	}
}

func TestOldEventsArePrunedAndReadersAreTold(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		now := time.Now()
		write := func(n int, age time.Duration) {
			must(t, db.inTx(t.Context(), func(tx *sql.Tx) error {
				c := &change{ctx: t.Context(), tx: tx, at: now.Add(-age)}
				return c.emit(EventUserCreated, "U", map[string]int{"n": n})
			}))
		}
		for n := range pruneBatch + 10 {
			write(n, EventsKept+time.Hour)
		}
		write(5000, time.Hour)
		write(5001, EventsKept+time.Hour) // late: its transaction was slow, or its clock
		_, read := pageOf(t, db, 0, 10)

		must(t, db.Prune(t.Context(), now))
		lines, page := pageOf(t, db, 0, 10)
		diff(t, "what is left", []string{"U 5000", "U 5001"}, lines)
		if page.Lost {
			t.Error("a reader who begins has lost nothing")
		}
		lines, page = pageOf(t, db, read.Next, 10)
		if diff(t, "behind a pruned cursor", []string{"U 5000", "U 5001"}, lines); !page.Lost {
			t.Error("a reader who was away too long is not told")
		}
		lines, page = pageOf(t, db, page.Next, 10)
		if len(lines) != 0 || page.Lost {
			t.Errorf("at the end: %v %+v", lines, page)
		}

		must(t, db.Prune(t.Context(), now.Add(2*EventsKept)))
		write(6000, 0)
		lines, page = pageOf(t, db, page.Next, 10)
		if diff(t, "after everything was pruned", []string{"U 6000"}, lines); page.Lost {
			t.Error("a reader who has read everything has lost nothing")
		}
	})
}

func TestEventsThatNobodyReadsArePruned(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		must(t, tell(t.Context(), db, "U", 1))
		must(t, db.Prune(t.Context(), time.Now().Add(EventsKept+time.Hour)))
		diff(t, "events", []string(nil), linesOf(t, db, `SELECT id FROM wxgate_event`))
	})
}

// After a backup was put back, the feed uses the places behind it again.
func TestACursorAheadOfTheFeedBeginsAnew(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for n := range 3 {
			must(t, tell(t.Context(), db, "U", n))
		}
		lines, page := pageOf(t, db, 1000, 2)
		if diff(t, "events", []string{"U 0", "U 1"}, lines); !page.Lost {
			t.Error("the reader is not told")
		}
		lines, page = pageOf(t, db, page.Next, 2)
		if diff(t, "the next page", []string{"U 2"}, lines); page.Lost {
			t.Error("told again")
		}
	})
}

// Whoever wants to see what goes on now does not begin 90 days ago.
func TestLastEvents(t *testing.T) {
	db := newDB(t)
	last := func(limit int) (lines []string, page EventPage) {
		t.Helper()
		page, err := db.LastEvents(t.Context(), limit)
		must(t, err)
		for _, e := range page.Events {
			lines = append(lines, told(e))
		}
		return lines, page
	}
	if lines, page := last(2); len(lines) != 0 || page.Next != 0 {
		t.Errorf("of none: %v %+v", lines, page)
	}
	for n := range 3 {
		must(t, tell(t.Context(), db, "U", n))
	}
	lines, _ := last(3)
	diff(t, "all", []string{"U 0", "U 1", "U 2"}, lines)
	lines, page := last(2)
	if diff(t, "the last two", []string{"U 1", "U 2"}, lines); page.Lost {
		t.Error("a reader who begins has lost nothing")
	}
	must(t, tell(t.Context(), db, "U", 3))
	lines, _ = pageOf(t, db, page.Next, 10)
	diff(t, "what follows", []string{"U 3"}, lines)
}
