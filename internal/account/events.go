package account

import (
	"context"
	"encoding/json"
	"fmt"
)

// Events returns up to limit events after a position, oldest first. Their Data
// is the JSON of the event's data.
func (db *DB) Events(ctx context.Context, after int64, limit int) ([]Event, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT seq, id, type, subject, time, data FROM event WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	defer rows.Close()
	var all []Event
	for rows.Next() {
		var e Event
		var ms int64
		var data string
		if err := rows.Scan(&e.Seq, &e.ID, &e.Type, &e.Subject, &ms, &data); err != nil {
			return nil, err
		}
		e.Time, e.Data = fromMillis(ms), json.RawMessage(data)
		all = append(all, e)
	}
	return all, rows.Err()
}
