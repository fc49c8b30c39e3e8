package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrUnknownReceiver means that no receiver has that id.
var ErrUnknownReceiver = errors.New("unknown receiver")

// undeliveredKept bounds how long events are kept for a receiver that does not
// take them.
const undeliveredKept = 2 * EventsKept

// ReceiverState is how far a receiver has got.
type ReceiverState struct {
	Receiver
	Waiting int       // events that it was not sent yet, or not with success
	Parked  int       // events that were given up
	Oldest  time.Time // of the events that wait; zero: none waits
	Said    string    // how the last attempt ended of what waits or is parked, the newest of them
	Seen    time.Time // when it was in a configuration last, to the hour
}

// Receivers returns all receivers, by name, or only those with some ids. What
// waits is counted, which takes long for a receiver that has left the
// configuration: all that has happened since waits for it.
func (db *DB) Receivers(ctx context.Context, ids ...string) (all []ReceiverState, err error) {
	if err := db.placeEvents(ctx); err != nil {
		return nil, fmt.Errorf("placing events: %w", err)
	}
	only := ""
	if len(ids) > 0 {
		only = " WHERE r.id" + in(len(ids))
	}
	err = db.retry(ctx, func() error {
		rows, err := db.read.QueryContext(ctx, `SELECT r.id, r.name, r.seen,
			(SELECT count(*) FROM wxgate_delivery d WHERE d.receiver_id = r.id AND d.parked = 0),
			(SELECT count(*) FROM wxgate_event e WHERE e.seq > r.seq),
			(SELECT count(*) FROM wxgate_delivery d WHERE d.receiver_id = r.id AND d.parked > 0),
			coalesce((SELECT min(e.time) FROM wxgate_event e JOIN wxgate_delivery d ON d.seq = e.seq WHERE d.receiver_id = r.id AND d.parked = 0),
				(SELECT min(e.time) FROM wxgate_event e WHERE e.seq > r.seq), 0),
			coalesce((SELECT max(d.said) FROM wxgate_delivery d WHERE d.receiver_id = r.id AND d.seq =
				(SELECT max(l.seq) FROM wxgate_delivery l WHERE l.receiver_id = r.id AND l.attempts > 0)), '')
			FROM wxgate_receiver r`+only+` ORDER BY r.name, r.id`, anyOf(ids)...)
		if err != nil {
			return err
		}
		all, err = collect(rows, func(s *ReceiverState) error {
			var seen, oldest int64
			var behind int
			err := rows.Scan(&s.ID, &s.Name, &seen, &s.Waiting, &behind, &s.Parked, &oldest, &s.Said)
			s.Waiting += behind
			s.Seen, s.Oldest = fromMillis(seen), fromMillisOrNever(oldest)
			return err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading receivers: %w", err)
	}
	return all, nil
}

// ParkedDeliveries returns what was given up for a receiver, in the order of the
// feed, behind a place in it: at most limit.
func (db *DB) ParkedDeliveries(ctx context.Context, receiverID string, after int64, limit int) (all []Delivery, err error) {
	err = db.retry(ctx, func() error {
		all, err = readDeliveries(ctx, db.read, `d.receiver_id = ? AND d.parked > 0 AND d.seq > ? ORDER BY d.seq LIMIT ?`, receiverID, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading parked deliveries: %w", err)
	}
	return all, nil
}

// Replay asks for events to be sent once more.
type Replay struct {
	ReceiverID string
	// After, if it is given, is a place in the feed: all events behind it are
	// sent, delivered ones too. Otherwise what was given up is, and at once what
	// waits for its next attempt.
	After *int64
	By    By
}

// ReplayDeliveries has a receiver sent what it has missed. It returns how many
// events wait for it then.
// Errors: ErrUnknownReceiver, ErrNoReason.
func (db *DB) ReplayDeliveries(ctx context.Context, r Replay) (n int, err error) {
	if err := r.By.check(); err != nil {
		return 0, err
	}
	err = db.inTx(ctx, func(tx *sql.Tx) error { // of no account, so without their lock
		c := &change{ctx: ctx, tx: tx, db: db, at: time.Now()}
		var name string
		err := tx.QueryRowContext(ctx, `SELECT name FROM wxgate_receiver WHERE id = ?`, r.ReceiverID).Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrUnknownReceiver
		}
		if err != nil {
			return err
		}
		if r.After != nil {
			err = c.goBack(r.ReceiverID, *r.After)
		} else {
			err = c.exec(`UPDATE wxgate_delivery SET attempts = 0, first_tried = 0, due = 0, parked = 0 WHERE receiver_id = ?`, r.ReceiverID)
		}
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM wxgate_delivery WHERE receiver_id = ? AND parked = 0) +
			(SELECT count(*) FROM wxgate_event e, wxgate_receiver r WHERE r.id = ? AND e.seq > r.seq)`, r.ReceiverID, r.ReceiverID).Scan(&n)
		if err != nil {
			return err
		}
		return c.record(r.By, deed{ActionReplay, r.ReceiverID, replayDetail{name, r.After, n}})
	})
	if err != nil {
		return 0, fmt.Errorf("replaying events: %w", err)
	}
	return n, nil
}

type replayDetail struct {
	Receiver string `json:"receiver"`
	After    *int64 `json:"after,omitempty"`
	Events   int    `json:"events"`
}

// goBack has a receiver sent everything behind a place in the feed once more.
// It locks the receiver before it looks, as TakeDeliveries does: what that one
// is about to add must not be left behind, to be in the way later.
func (c *change) goBack(receiverID string, after int64) error {
	err := c.exec(`UPDATE wxgate_receiver SET seq = CASE WHEN seq > ? THEN ? ELSE seq END WHERE id = ?`, after, after, receiverID)
	if err != nil {
		return err
	}
	return c.exec(`DELETE FROM wxgate_delivery WHERE receiver_id = ? AND seq > ?`, receiverID, after)
}

// pruneDeliveries forgets what was parked long ago, and receivers that have not
// been in a configuration for as long.
func pruneDeliveries(ctx context.Context, tx *sql.Tx, before int64) error {
	for _, query := range []string{
		`DELETE FROM wxgate_delivery WHERE parked > 0 AND parked < ?`,
		`DELETE FROM wxgate_delivery WHERE receiver_id IN (SELECT id FROM wxgate_receiver WHERE seen < ?)`,
		`DELETE FROM wxgate_receiver WHERE seen < ?`,
	} {
		if _, err := tx.ExecContext(ctx, query, before); err != nil {
			return err
		}
	}
	return nil
}

// undelivered returns the place in the feed of the first event that a receiver
// has not had; 0 if there is none.
func (db *DB) undelivered(ctx context.Context) (seq int64, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT coalesce(min(e.seq), 0) FROM wxgate_event e WHERE e.seq >= (SELECT min(s) FROM (
		SELECT min(seq) + 1 AS s FROM wxgate_receiver UNION ALL SELECT min(seq) FROM wxgate_delivery) AS u)`).Scan(&seq)
	return seq, err
}
