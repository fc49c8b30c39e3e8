package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// SettleAfter is when user.merge_settled follows a user.merged. The last request
// under the old id begins when the old session's grace is over, and then has half
// a minute to write.
const SettleAfter = RotationGrace + 30*time.Second

const settleBatch = 256

// SettleMerges writes user.merge_settled for each merge that is SettleAfter old
// by now. Each gets one, however many instances call it, and none is left out
// because nobody called it for a while.
func (db *DB) SettleMerges(ctx context.Context, now time.Time) error {
	if err := db.placeEvents(ctx); err != nil {
		return fmt.Errorf("placing events: %w", err)
	}
	for {
		part, err := db.unsettled(ctx, now.Add(-SettleAfter))
		if err == nil && part.to > part.from {
			err = db.inTx(ctx, func(tx *sql.Tx) error { return settle(ctx, tx, part) })
		}
		if err != nil {
			return fmt.Errorf("settling merges: %w", err)
		}
		if !part.more {
			return nil
		}
	}
}

// unsettledPart is a part of the feed that was not looked at yet.
type unsettledPart struct {
	from, to int64 // the places behind from, up to to
	merges   []Event
	more     bool // behind it
}

// unsettled looks through the feed up to the first merge after before.
func (db *DB) unsettled(ctx context.Context, before time.Time) (part unsettledPart, err error) {
	if err := db.read.QueryRowContext(ctx, `SELECT seq FROM wxgate_event_settled`).Scan(&part.from); err != nil {
		return part, err
	}
	page, err := db.readEvents(ctx, part.from, settleBatch)
	if err != nil {
		return part, err
	}
	part.to = part.from
	for _, e := range page.Events {
		if e.Type == EventUserMerged {
			if e.Time.After(before) {
				return part, nil
			}
			part.merges = append(part.merges, e)
		}
		part.to = e.Seq
	}
	part.more = len(page.Events) == settleBatch
	return part, nil
}

// settle writes the events of a part, unless somebody has.
func settle(ctx context.Context, tx *sql.Tx, part unsettledPart) error {
	res, err := tx.ExecContext(ctx, `UPDATE wxgate_event_settled SET seq = ? WHERE seq = ?`, part.to, part.from)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return err
	}
	c := &change{ctx: ctx, tx: tx, at: time.Now()}
	for _, e := range part.merges {
		if err := c.emit(EventMergeSettled, e.Subject, e.Data.(json.RawMessage)); err != nil {
			return err
		}
	}
	return nil
}
