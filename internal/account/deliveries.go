package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Receiver is a program of the shop that is sent each event.
type Receiver struct {
	ID   string // at most 64 bytes; the same for the same program
	Name string // for people; at most 1024 bytes
}

// AddReceiver makes a receiver known. A new one is sent what happens from about
// now on; one that is known already goes on where it was, and is noted to be in
// use still, as it has to be now and then: one that was not for EventsKept is
// forgotten.
func (db *DB) AddReceiver(ctx context.Context, r Receiver, now time.Time) error {
	err := db.inRepeatableTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE wxgate_receiver SET name = ?, seen = ? WHERE id = ?`, r.Name, millis(now), r.ID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n > 0 || err != nil {
			return err
		}
		var head int64
		if err := tx.QueryRowContext(ctx, `SELECT seq FROM wxgate_event_head`).Scan(&head); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO wxgate_receiver (id, name, seq, holder, held_until, seen) VALUES (?, ?, ?, '', 0, ?)`,
			r.ID, r.Name, head, millis(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("adding a receiver: %w", err)
	}
	return nil
}

// Delivery is an event on its way to one receiver.
type Delivery struct {
	Event
	Attempts   int       // so far
	FirstTried time.Time // zero: not yet
	Due        time.Time // of the next attempt
	Parked     time.Time // when it was given up; zero: it is not
	Origin     string    // the span in which it happened (span.Origin); empty: nobody recorded it
	Said       string    // how the last attempt ended, for people; at most 1024 bytes
}

// Taking asks for what a receiver is to be sent.
type Taking struct {
	ReceiverID string
	Holder     string // who asks; his alone
	Now        time.Time
	Until      time.Time // nobody else is given anything before, unless it is put back
	Limit      int
}

// DeliveryBatch is what to send now, those of one subject in the order of the
// feed. What follows a delivery of the same subject must wait for it.
type DeliveryBatch struct {
	Deliveries []Delivery
	// Taken says that it has to be put back, even if it is empty.
	Taken bool
}

// readyDeliveries selects what is due. What follows a delivery of the same
// subject is never due before it (pullEvents, PutBack), so that what is behind a
// failure need not be looked through, however much that is.
const readyDeliveries = `d.receiver_id = ? AND d.parked = 0 AND d.due <= ?`

// TakeDeliveries gives what a receiver is to be sent now to one at a time: an
// empty batch means that there is nothing, or that somebody else has it. While
// nothing is to be done it only reads.
func (db *DB) TakeDeliveries(ctx context.Context, t Taking) (batch DeliveryBatch, err error) {
	if err := db.placeEvents(ctx); err != nil {
		return batch, fmt.Errorf("placing events: %w", err)
	}
	idle, err := db.nothingToTake(ctx, t)
	if err != nil || idle {
		return batch, err
	}
	err = db.inRepeatableTx(ctx, func(tx *sql.Tx) error {
		batch = DeliveryBatch{}
		res, err := tx.ExecContext(ctx, `UPDATE wxgate_receiver SET holder = ?, held_until = ? WHERE id = ? AND (held_until <= ? OR holder = ?)`,
			t.Holder, millis(t.Until), t.ReceiverID, millis(t.Now), t.Holder)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return err
		}
		batch.Taken = true
		if batch.Deliveries, err = nextDeliveries(ctx, tx, t); err != nil || len(batch.Deliveries) == t.Limit {
			return err
		}
		if err := pullEvents(ctx, tx, t); err != nil {
			return err
		}
		batch.Deliveries, err = nextDeliveries(ctx, tx, t)
		return err
	})
	if err != nil {
		return DeliveryBatch{}, fmt.Errorf("taking deliveries: %w", err)
	}
	return batch, nil
}

// nextDeliveries reads what has been due for longest.
func nextDeliveries(ctx context.Context, tx *sql.Tx, t Taking) ([]Delivery, error) {
	return readDeliveries(ctx, tx, readyDeliveries+` ORDER BY d.due, d.seq LIMIT ?`, t.ReceiverID, millis(t.Now), t.Limit)
}

// nothingToTake says that a transaction would be in vain.
func (db *DB) nothingToTake(ctx context.Context, t Taking) (idle bool, err error) {
	err = db.retry(ctx, func() error {
		var others, behind, ready int
		err := db.read.QueryRowContext(ctx, `SELECT
			(SELECT count(*) FROM wxgate_receiver WHERE id = ? AND held_until > ? AND holder <> ?),
			(SELECT count(*) FROM wxgate_receiver r, wxgate_event_head h WHERE r.id = ? AND r.seq < h.seq),
			(SELECT count(*) FROM (SELECT 1 FROM wxgate_delivery d WHERE `+readyDeliveries+` LIMIT 1) AS e)`,
			t.ReceiverID, millis(t.Now), t.Holder, t.ReceiverID, t.ReceiverID, millis(t.Now)).
			Scan(&others, &behind, &ready)
		idle = others > 0 || ready == 0 && behind == 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for deliveries: %w", err)
	}
	return idle, nil
}

// pullEvents makes deliveries of the next events of the feed. They are due now,
// or with the last of the same subject if that waits. With the sums no
// database looks for that among all that waits, by when it is due.
func pullEvents(ctx context.Context, tx *sql.Tx, t Taking) error {
	var last int64
	err := tx.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM (SELECT e.seq FROM wxgate_event e
		WHERE e.seq > (SELECT r.seq FROM wxgate_receiver r WHERE r.id = ?) ORDER BY e.seq LIMIT ?) AS p`, t.ReceiverID, t.Limit).Scan(&last)
	if err != nil || last == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO wxgate_delivery (receiver_id, seq, subject, attempts, first_tried, due, parked, said)
		SELECT r.id, e.seq, e.subject, 0, 0, coalesce((SELECT max(d.due) FROM wxgate_delivery d
			WHERE d.receiver_id = r.id AND d.subject = e.subject AND d.parked + 0 = 0 AND d.due + 0 > ?), ?), 0, ''
		FROM wxgate_receiver r, wxgate_event e WHERE r.id = ? AND e.seq > r.seq AND e.seq <= ?`,
		millis(t.Now), millis(t.Now), t.ReceiverID, last)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE wxgate_receiver SET seq = ? WHERE id = ?`, last, t.ReceiverID)
	return err
}

// readDeliveries reads what a clause selects of wxgate_delivery d.
func readDeliveries(ctx context.Context, q querier, clause string, args ...any) ([]Delivery, error) {
	rows, err := q.QueryContext(ctx, `SELECT d.seq, e.id, e.type, e.subject, e.time, e.data, d.attempts, d.first_tried, d.due, d.parked, d.said, coalesce(e.traceparent, '')
		FROM wxgate_delivery d JOIN wxgate_event e ON e.seq = d.seq WHERE `+clause, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(d *Delivery) error {
		var at, tried, due, parked int64
		var data string
		err := rows.Scan(&d.Seq, &d.ID, &d.Type, &d.Subject, &at, &data, &d.Attempts, &tried, &due, &parked, &d.Said, &d.Origin)
		d.Time, d.Data = fromMillis(at), json.RawMessage(data)
		d.FirstTried, d.Due, d.Parked = fromMillisOrNever(tried), fromMillisOrNever(due), fromMillisOrNever(parked)
		return err
	})
}

func fromMillisOrNever(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMillis(ms)
}

func millisOrNever(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return millis(t)
}

// ErrTakenOver means that a batch was held for so long that it was given to
// somebody else.
var ErrTakenOver = errors.New("the deliveries were given to somebody else")

// PutBack ends a taking: what was delivered goes, what was not is to be sent
// again when it is due, unless it is parked. What was not tried may be left out.
// The error is ErrTakenOver where nothing was stored.
func (db *DB) PutBack(ctx context.Context, t Taking, delivered []int64, failed []Delivery) error {
	err := db.inRepeatableTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE wxgate_receiver SET held_until = 0 WHERE id = ? AND holder = ?`, t.ReceiverID, t.Holder)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return ErrTakenOver
		}
		for _, seq := range delivered {
			if _, err := tx.ExecContext(ctx, `DELETE FROM wxgate_delivery WHERE receiver_id = ? AND seq = ?`, t.ReceiverID, seq); err != nil {
				return err
			}
		}
		for _, d := range failed {
			if err := postpone(ctx, tx, t.ReceiverID, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("putting deliveries back: %w", err)
	}
	return nil
}

// postpone stores an attempt in vain. What follows of the subject waits too,
// unless the event was given up.
func postpone(ctx context.Context, tx *sql.Tx, receiverID string, d Delivery) error {
	_, err := tx.ExecContext(ctx, `UPDATE wxgate_delivery SET attempts = ?, first_tried = ?, due = ?, parked = ?, said = ? WHERE receiver_id = ? AND seq = ?`,
		d.Attempts, millisOrNever(d.FirstTried), millisOrNever(d.Due), millisOrNever(d.Parked), d.Said, receiverID, d.Seq)
	if err != nil || !d.Parked.IsZero() {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE wxgate_delivery SET due = ? WHERE receiver_id = ? AND subject = ? AND seq > ? AND parked = 0 AND due < ?`,
		millis(d.Due), receiverID, d.Subject, d.Seq, millis(d.Due))
	return err
}
