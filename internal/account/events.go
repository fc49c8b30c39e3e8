package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The feed never skips an event, though events become visible out of order.
// A number that a row draws while it is written (AUTO_INCREMENT, a sequence)
// says nothing of when its transaction commits: a reader who has seen 7 goes on
// behind it, and 6, committed a moment later, is lost to him. Waiting at a gap
// does not help, because a number drawn by a transaction that was rolled back
// stays a gap for ever, and how long the others may take nobody knows.
//
// So an event has no place in the feed when it is written (seq is NULL). It gets
// one behind all others after its commit, from whoever reads next, one at a
// time under the lock of the row in event_head. Whoever sees a place therefore
// sees all before it. Writers never take that lock and never wait for each
// other.
//
// Events of one user are in the order of their commits: such transactions wait
// for each other before they write events, so that the later one draws the
// higher number, and of those that are placed together the lower comes first.

const (
	maxEvents  = 1000 // of a page
	placeBatch = 512
	pruneBatch = 1000

	// EventsKept is how long an event stays in the feed. It is far more than
	// the 72 hours for which a delivery is tried, so that a shop whose programs
	// stood still can catch up.
	EventsKept = 90 * 24 * time.Hour
)

// EventPage is a part of the feed.
type EventPage struct {
	Events []Event // oldest first; their Data is json.RawMessage
	// Next is what to give as after for the page behind this one. It is the
	// same as before when there are no more events yet.
	Next int64
	// Lost says that the reader has missed events: he was away for EventsKept,
	// or the database is an older backup by now and its feed ends before the
	// cursor. Then the page begins with the oldest event. An event names all
	// ids that it is about, so later ones mend much; accounts that are not
	// heard of are to be looked up.
	Lost bool
}

// Events returns the feed behind a position: at most limit events, and 1000 at
// most. after 0 begins with the oldest that is kept. The page is empty when
// there is nothing yet. A reader who keeps Next after he has handled the events,
// not before, handles each, and a few twice.
func (db *DB) Events(ctx context.Context, after int64, limit int) (page EventPage, err error) {
	if err := db.placeEvents(ctx); err != nil {
		return EventPage{}, fmt.Errorf("placing events: %w", err)
	}
	err = db.retry(ctx, func() error {
		page, err = db.readEvents(ctx, after, min(max(limit, 1), maxEvents))
		return err
	})
	if err != nil {
		return EventPage{}, fmt.Errorf("reading events: %w", err)
	}
	return page, nil
}

// LastEvents returns the newest events of the feed, as Events does.
func (db *DB) LastEvents(ctx context.Context, limit int) (EventPage, error) {
	if err := db.placeEvents(ctx); err != nil {
		return EventPage{}, fmt.Errorf("placing events: %w", err)
	}
	limit = min(max(limit, 1), maxEvents)
	var before int64
	err := db.retry(ctx, func() error {
		return db.read.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM
			(SELECT seq FROM wxgate_event WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?) AS e`, limit).Scan(&before)
	})
	if err != nil {
		return EventPage{}, fmt.Errorf("reading events: %w", err)
	}
	return db.Events(ctx, before, limit)
}

// readEvents looks at the head after the events, for what is pruned or placed in
// between must not look as if it had been so before.
func (db *DB) readEvents(ctx context.Context, after int64, limit int) (EventPage, error) {
	page := EventPage{Next: after}
	rows, err := db.read.QueryContext(ctx, `SELECT seq, id, type, subject, time, data FROM wxgate_event WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
	if err != nil {
		return page, err
	}
	defer rows.Close()
	for rows.Next() {
		var e Event
		var ms int64
		var data string
		if err := rows.Scan(&e.Seq, &e.ID, &e.Type, &e.Subject, &ms, &data); err != nil {
			return page, err
		}
		e.Time, e.Data = fromMillis(ms), json.RawMessage(data)
		page.Events, page.Next = append(page.Events, e), e.Seq
	}
	if err := rows.Err(); err != nil {
		return page, err
	}
	var head, pruned int64
	if err := db.read.QueryRowContext(ctx, `SELECT seq, pruned FROM wxgate_event_head`).Scan(&head, &pruned); err != nil {
		return page, err
	}
	if after > head {
		page, err = db.readEvents(ctx, 0, limit)
		page.Lost = true
		return page, err
	}
	page.Lost = after > 0 && after < pruned
	return page, nil
}

// placeEvents gives a place to every event that has none and is committed.
func (db *DB) placeEvents(ctx context.Context) error {
	for {
		var unplaced int
		err := db.retry(ctx, func() error {
			return db.read.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM wxgate_event WHERE seq IS NULL LIMIT 1) AS e`).Scan(&unplaced)
		})
		if err != nil || unplaced == 0 {
			return err
		}
		if err := db.inTx(ctx, func(tx *sql.Tx) error { return placeSome(ctx, tx) }); err != nil {
			return err
		}
	}
}

// placeSome takes the lock before it looks for events, in whatever isolation
// the transaction runs: a view of the database from before the lock would not
// know what the holder before has placed.
func placeSome(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `UPDATE wxgate_event_head SET seq = seq`); err != nil {
		return err
	}
	var head int64
	if err := tx.QueryRowContext(ctx, `SELECT seq FROM wxgate_event_head`).Scan(&head); err != nil {
		return err
	}
	written, err := unplacedEvents(ctx, tx)
	if err != nil || len(written) == 0 {
		return err
	}
	// A place is the number drawn, moved up if that one is behind the head
	// already. The rows are named one by one: a range would have to wait for
	// transactions that are writing into it. The last is named again until
	// their number is a power of two, for a database remembers each statement.
	up, last := max(0, head+1-written[0].(int64)), written[len(written)-1].(int64)
	if _, err := tx.ExecContext(ctx, `UPDATE wxgate_event_head SET seq = ?`, last+up); err != nil {
		return err
	}
	for len(written)&(len(written)-1) != 0 {
		written = append(written, last)
	}
	_, err = tx.ExecContext(ctx, `UPDATE wxgate_event SET seq = written + ? WHERE written IN (?`+strings.Repeat(", ?", len(written)-1)+`)`,
		append([]any{up}, written...)...)
	return err
}

// unplacedEvents returns the numbers of the first events without a place.
func unplacedEvents(ctx context.Context, tx *sql.Tx) (written []any, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT written FROM wxgate_event WHERE seq IS NULL ORDER BY written LIMIT ?`, placeBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		written = append(written, n)
	}
	return written, rows.Err()
}

// pruneEvents removes the oldest events, in the order of the feed, so that a
// reader can be told where it begins now. What a receiver has not had is waited
// for, up to undeliveredKept; a reader who was away for EventsKept is told that
// he has lost some.
func (db *DB) pruneEvents(ctx context.Context, now time.Time) error {
	if err := db.placeEvents(ctx); err != nil {
		return err
	}
	for {
		last, more, err := db.lastOldEvent(ctx, now)
		if err != nil || last == 0 {
			return err
		}
		err = db.inTx(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `UPDATE wxgate_event_head SET pruned = ? WHERE pruned < ?`, last, last); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM wxgate_delivery WHERE seq <= ?`, last); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `DELETE FROM wxgate_event WHERE seq <= ?`, last)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
}

// lastOldEvent looks through the oldest events of the feed and returns the place
// of the last one before the first that is to be kept; 0 if there is none.
func (db *DB) lastOldEvent(ctx context.Context, now time.Time) (last int64, more bool, err error) {
	undelivered, err := db.undelivered(ctx)
	if err != nil {
		return 0, false, err
	}
	rows, err := db.read.QueryContext(ctx, `SELECT seq, time FROM wxgate_event WHERE seq IS NOT NULL ORDER BY seq LIMIT ?`, pruneBatch)
	if err != nil {
		return 0, false, err
	}
	defer rows.Close()
	n, lost := 0, 0
	for ; rows.Next(); n++ {
		var seq, ms int64
		if err := rows.Scan(&seq, &ms); err != nil {
			return 0, false, err
		}
		kept := EventsKept
		if undelivered > 0 && seq >= undelivered {
			kept = undeliveredKept
		}
		if ms >= millis(now.Add(-kept)) {
			break
		}
		if kept == undeliveredKept {
			lost++
		}
		last = seq
	}
	if lost > 0 {
		db.log.Load().Error("events are removed that a webhook has not been sent", "events", lost)
	}
	return last, n == pruneBatch, rows.Err()
}
