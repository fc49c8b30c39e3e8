package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const invalidateSQL = `INSERT INTO wxgate_invalidation (user_id, session_id, time) VALUES (nullif(?, ''), nullif(?, ''), ?)`

// invalidate appends to the log.
func invalidate(ctx context.Context, tx *sql.Tx, inv Invalidation) error {
	_, err := tx.ExecContext(ctx, invalidateSQL, inv.UserID, inv.SessionID, millis(time.Now()))
	return err
}

const (
	// catchUp is how far back a reader begins, for what was cached while its
	// process started.
	catchUp = 5 * time.Minute
	// invalidationKept bounds how long a reader may be away.
	invalidationKept = 24 * time.Hour

	// settled is after how long a transaction that has taken a number is
	// committed or will never be: its process sends nothing after txTimeout. If
	// it stands still, the server ends the last statement and then the wait for
	// a further one.
	settled = txTimeout + statementTimeout + idleTxTimeout
	// maxGaps bounds what a reader remembers.
	maxGaps = 500
)

// InvalidationReader reads the log of what caches have to forget on and on. On a
// server a transaction may commit after one that has taken a higher number, so
// the reader looks for the numbers that he has not seen until none of their
// transactions can be under way any more. One goroutine at a time may use it.
type InvalidationReader struct {
	db    *DB
	now   func() time.Time
	begun bool
	last  int64 // the highest number so far
	gaps  []gap // below it, in order
}

// gap are numbers between two others that were not there when the upper one was
// seen.
type gap struct {
	after, before int64
	since         time.Time
}

// ReadInvalidations returns a reader that begins with the entries of the last
// five minutes.
func (db *DB) ReadInvalidations() *InvalidationReader {
	return &InvalidationReader{db: db, now: time.Now}
}

// Next tells what was committed since the last call, each entry once. What is
// cached is out of date when its session is named, or the user it stands for.
// After an error the next call goes on where this one broke off.
func (r *InvalidationReader) Next(ctx context.Context, tell func(Invalidation)) error {
	if err := r.begin(ctx); err != nil {
		return fmt.Errorf("reading the invalidation log: %w", err)
	}
	began := r.now()
	told, err := r.read(ctx, tell)
	if err == nil && told == 0 {
		err = r.beginAnew(ctx, tell)
	}
	if err != nil {
		return fmt.Errorf("reading the invalidation log: %w", err)
	}
	r.gaps = slices.DeleteFunc(r.gaps, func(g gap) bool { return began.Sub(g.since) >= settled })
	for len(r.gaps) > maxGaps { // what lies between the two is told again
		r.gaps[1].after, r.gaps = r.gaps[0].after, r.gaps[1:]
	}
	return nil
}

// begin finds the number to begin after.
func (r *InvalidationReader) begin(ctx context.Context) error {
	if r.begun {
		return nil
	}
	err := r.db.read.QueryRowContext(ctx, `SELECT seq FROM wxgate_invalidation WHERE time < ? ORDER BY seq DESC LIMIT 1`,
		millis(r.now().Add(-catchUp))).Scan(&r.last)
	r.begun = err == nil || errors.Is(err, sql.ErrNoRows)
	if r.begun {
		return nil
	}
	return err
}

func (r *InvalidationReader) read(ctx context.Context, tell func(Invalidation)) (told int, err error) {
	rows, err := r.db.read.QueryContext(ctx, r.query())
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for ; rows.Next(); told++ {
		var inv Invalidation
		if err := rows.Scan(&inv.Seq, &inv.UserID, &inv.SessionID); err != nil {
			return told, err
		}
		r.take(inv.Seq)
		tell(inv)
	}
	return told, rows.Err()
}

// beginAnew begins like a new reader where the log ends before the number that
// was seen last: another server has taken over that knew less, and counts on
// from there.
func (r *InvalidationReader) beginAnew(ctx context.Context, tell func(Invalidation)) error {
	var end int64
	err := r.db.read.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM wxgate_invalidation`).Scan(&end)
	if err != nil || end >= r.last {
		return err
	}
	r.begun, r.last, r.gaps = false, 0, nil
	if err := r.begin(ctx); err != nil {
		return err
	}
	_, err = r.read(ctx, tell)
	return err
}

// query asks for what is missing. It has its numbers in it, for each has others.
func (r *InvalidationReader) query() string {
	var q strings.Builder
	fmt.Fprintf(&q, `SELECT seq, coalesce(user_id, ''), coalesce(session_id, '') FROM wxgate_invalidation WHERE seq > %d`, r.last)
	for _, g := range r.gaps {
		fmt.Fprintf(&q, ` OR seq > %d AND seq < %d`, g.after, g.before)
	}
	return q.String() + ` ORDER BY seq`
}

// take notes that a number was seen.
func (r *InvalidationReader) take(seq int64) {
	if seq > r.last {
		if seq > r.last+1 {
			r.gaps = append(r.gaps, gap{r.last, seq, r.now()})
		}
		r.last = seq
		return
	}
	for i, g := range r.gaps {
		if seq <= g.after || seq >= g.before {
			continue
		}
		lower, upper := g, g
		lower.before, upper.after = seq, seq
		parts := slices.DeleteFunc([]gap{lower, upper}, func(g gap) bool { return g.before-g.after < 2 })
		r.gaps = slices.Replace(r.gaps, i, i+1, parts...)
		return
	}
}
