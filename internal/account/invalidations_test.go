package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
)

// toldBy is whom the next reading of the log names.
func toldBy(t testing.TB, r *InvalidationReader) []string {
	t.Helper()
	names := []string{}
	must(t, r.Next(t.Context(), func(inv Invalidation) { names = append(names, inv.UserID+inv.SessionID) }))
	return names
}

// late is a reader with a clock of the test's own, and an instance whose
// transactions may stay open.
type late struct {
	t      *testing.T
	db     *DB
	reader *InvalidationReader
	at     time.Time
}

func newLate(t *testing.T, open opener) *late {
	l := &late{t: t, db: open(t), at: time.Now()}
	emptyDB(t, l.db)
	l.reader = l.db.ReadInvalidations()
	l.reader.now = func() time.Time { return l.at }
	return l
}

// begin writes to the log and leaves the transaction open.
func (l *late) begin(names ...string) *sql.Tx {
	l.t.Helper()
	tx, err := l.db.write.BeginTx(context.Background(), &l.db.writes)
	must(l.t, err)
	l.t.Cleanup(func() { _ = tx.Rollback() })
	for _, name := range names {
		must(l.t, invalidate(l.t.Context(), tx, Invalidation{UserID: name}))
	}
	return tx
}

func (l *late) log(names ...string) { l.t.Helper(); must(l.t, l.begin(names...).Commit()) }

func (l *late) reads(what string, want ...string) {
	l.t.Helper()
	diff(l.t, what, append([]string{}, want...), toldBy(l.t, l.reader))
}

// A server commits in another order than it numbers. What was committed late is
// told all the same, once.
func TestAnInvalidationThatIsCommittedLateIsTold(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		l := newLate(t, open)
		l.log("a")
		l.reads("first", "a")
		first, second := l.begin("b", "c"), l.begin("d", "e")
		l.log("f")
		l.reads("while two are under way", "f")
		l.log("g")
		l.reads("still", "g")
		must(t, second.Commit())
		l.log("h")
		l.reads("the second has come", "d", "e", "h")
		l.reads("nothing new")
		l.at = l.at.Add(settled - time.Second)
		l.reads("for as long as a transaction may take")
		must(t, first.Commit())
		l.reads("the first has come", "b", "c")
		l.reads("nothing is told twice")
		diff(t, "gaps", 0, len(l.reader.gaps))
	})
}

// A reader who begins between the two does not take the number that he sees
// first for the first.
func TestAReaderWhoBeginsInTheMiddleMissesNoLateCommit(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		for _, before := range []string{"", "long ago"} {
			l := newLate(t, open)
			if before != "" {
				l.log(before)
				_, err := l.db.write.Exec(`UPDATE wxgate_invalidation SET time = ?`, millis(l.at.Add(-time.Hour)))
				must(t, err)
			}
			open := l.begin("a")
			l.log("b")
			l.reads("the later one", "b")
			must(t, open.Commit())
			l.reads("the earlier one", "a")
		}
	})
}

// A transaction that is rolled back leaves a number that never comes. Nobody
// waits for it for ever.
func TestARolledBackNumberIsPassed(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		l := newLate(t, open)
		l.log("a")
		l.reads("first", "a")
		for i := range 20 {
			must(t, l.begin("never", "never").Rollback())
			l.log(strconv.Itoa(i))
			l.reads("told", strconv.Itoa(i))
		}
		diff(t, "gaps", 20, len(l.reader.gaps))
		l.at = l.at.Add(settled - time.Nanosecond)
		l.reads("a moment before the time")
		diff(t, "gaps", 20, len(l.reader.gaps))
		l.at = l.at.Add(time.Nanosecond)
		l.reads("the last time")
		diff(t, "gaps", 0, len(l.reader.gaps))
		l.log("b")
		l.reads("afterwards", "b")
	})
}

// A number is passed only by a reading that began when its transaction could
// not be under way any more: the one before may have been long ago.
func TestANumberIsLookedForOnceMoreBeforeItIsPassed(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		l := newLate(t, open)
		under := l.begin("late")
		l.log("a")
		l.reads("first", "a")
		must(t, under.Commit())
		l.at = l.at.Add(time.Hour)
		l.reads("after an hour without a reading", "late")
	})
}

// Whatever the gaps are, a reader remembers few of them, and misses nothing.
func TestAReaderRemembersABoundedNumberOfGaps(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		l := newLate(t, open)
		under := l.begin("late")
		tx := l.begin()
		for i := range 2 * maxGaps {
			_, err := tx.Exec(`INSERT INTO wxgate_invalidation (seq, user_id, time) VALUES (?, 'x', ?)`, 10+2*i, millis(l.at))
			must(t, err)
		}
		must(t, tx.Commit())
		diff(t, "told", 2*maxGaps, len(toldBy(t, l.reader)))
		if n := len(l.reader.gaps); n != maxGaps {
			t.Errorf("%d gaps are remembered", n)
		}
		must(t, under.Commit())
		if names := toldBy(t, l.reader); !slices.Contains(names, "late") {
			t.Errorf("the late one is not among %d", len(names))
		}
	})
}

// What breaks off in the middle is made up for.
func TestAReadingThatFailsIsMadeUpFor(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		l := newLate(t, open)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l.log("a")
		if err := l.reader.Next(ctx, func(Invalidation) { t.Error("told") }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		l.reads("then", "a")
		l.log("b")
		if err := l.reader.Next(ctx, func(Invalidation) { t.Error("told") }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		l.reads("then", "b")
	})
}

// Reading the log again and again must not make caches forget what is up to
// date, or a quiet site would sign for its visitors every two seconds.
func TestReadingTheInvalidationLogOnReturnsOnlyWhatIsNew(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1")
		reader := w.db.ReadInvalidations()
		diff(t, "nothing", []string{}, toldBy(t, reader))
		must(t, w.db.RevokeUser(t.Context(), "U1", By{}))
		diff(t, "first", []string{"U1"}, toldBy(t, reader))
		diff(t, "again", []string{}, toldBy(t, reader))
		diff(t, "another reader", []string{"U1"}, toldBy(t, w.db.ReadInvalidations()))
		w.exec(`UPDATE wxgate_invalidation SET time = ?`, millis(time.Now().Add(-catchUp-time.Second)))
		diff(t, "another reader later", []string{}, toldBy(t, w.db.ReadInvalidations()))
	})
}

// A server that takes over may have known less than the one before, and counts on
// from there. What it tells is not believed to be known for having a low number.
func TestALogThatEndsBeforeWhatWasReadBeginsAnew(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		l := newLate(t, open)
		l.log("a", "b", "c")
		l.reads("at first", "a", "b", "c")
		_, err := l.db.write.Exec(`DELETE FROM wxgate_invalidation WHERE user_id <> 'a'`)
		must(t, err)
		_, err = l.db.write.Exec(`UPDATE wxgate_invalidation SET user_id = 'd'`)
		must(t, err)
		l.reads("after it was taken over", "d")
		l.reads("again")
		l.log("e")
		l.reads("then", "e")
	})
}

// What a reader takes for granted: no transaction of ours is committed later
// than txTimeout after it began, or the server has ended it.
func TestATransactionThatTakesTooLongIsNotCommitted(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		emptyDB(t, db)
		db.txTimeout = 50 * time.Millisecond
		t.Cleanup(func() { db.txTimeout = txTimeout })
		err := db.inTx(t.Context(), func(tx *sql.Tx) error {
			if err := invalidate(t.Context(), tx, Invalidation{UserID: "x"}); err != nil {
				return err
			}
			time.Sleep(2 * db.txTimeout)
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		diff(t, "stored", []string(nil), linesOf(t, db, `SELECT user_id FROM wxgate_invalidation`))
	})
}

func TestAServerEndsWhatAProcessCannot(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		db := open(t)
		want, query := "30s 30s", `SELECT current_setting('statement_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')`
		if db.name == "mysql" {
			want, query = "30.000000 30", `SELECT @@max_statement_time || ' ' || @@idle_transaction_timeout`
		}
		diff(t, "of a statement, of an idle transaction", want, linesOf(t, db, query)[0])
		diff(t, "in all", fmt.Sprint(txTimeout+statementTimeout+idleTxTimeout), fmt.Sprint(settled))
	})
}

func TestInvalidationsNameWhatCachesMustForget(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) { invalidationsNameWhatCachesMustForget(t, open) })
}

func invalidationsNameWhatCachesMustForget(t *testing.T, open opener) {
	w := newWorldOn(t, open, Rules{}, "guest V3 3", "visitor oa x V3", "guest V4 4", "merged V4 V3")
	var heard []Invalidation
	w.db.OnChange(func(inv Invalidation) { heard = append(heard, inv) })
	ctx, now := t.Context(), time.Now()
	out := w.link(proved("oa", "x", "X").as("V1").login())
	must(t, w.db.RevokeSession(ctx, "s", now, now.Add(time.Hour)))
	must(t, w.db.RevokeUser(ctx, out.UserID, By{}))
	names := func(names []string) []string { return slices.Compact(sorted(names)) }
	want := sorted([]string{"V1", "V3", "V4", "s", out.UserID})
	diff(t, "in the log", want, names(w.logged()))
	var told []string
	for _, inv := range heard {
		told = append(told, inv.UserID+inv.SessionID)
	}
	diff(t, "told after the commit", want, names(told))
	w.db.OnChange(nil)
	heardBefore := len(heard)
	must(t, w.db.RevokeUser(ctx, out.UserID, By{}))
	if len(heard) != heardBefore {
		t.Error("told after nil took the function away")
	}
}
