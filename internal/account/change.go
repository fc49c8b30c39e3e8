package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wxgate/wxgate/internal/span"
)

// change is a transaction that changes accounts, with what it has to tell.
type change struct {
	ctx     context.Context
	tx      *sql.Tx // nil: the statements are only collected
	later   []write
	db      *DB
	at      time.Time
	events  []Event
	changed []Invalidation
}

func (c *change) exec(query string, args ...any) error {
	if c.tx == nil {
		c.later = append(c.later, write{query, args})
		return nil
	}
	_, err := c.tx.ExecContext(c.ctx, query, args...)
	return err
}

// emit writes an event in the transaction of what it tells of.
func (c *change) emit(typ EventType, subject string, data any) error {
	e := Event{ID: rand.Text(), Type: typ, Subject: subject, Time: fromMillis(millis(c.at)), Data: data}
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	query, args := `INSERT INTO wxgate_event (id, type, subject, time, data) VALUES (?, ?, ?, ?, ?)`, []any{e.ID, string(typ), subject, millis(c.at), string(raw)}
	if origin := span.Origin(c.ctx); origin != "" { // the others need not pay for it
		query, args = `INSERT INTO wxgate_event (id, type, subject, time, data, traceparent) VALUES (?, ?, ?, ?, ?, ?)`, append(args, origin)
	}
	if err := c.exec(query, args...); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	c.events = append(c.events, e)
	return nil
}

// survivor is the user who replaces another.
type survivor struct {
	id     string
	kind   Kind
	reason string // of the merge, for user.merged
}

// replace merges a user into another. Whoever answered to him answers to the
// survivor from now on, in one hop.
func (c *change) replace(from *user, to survivor) error {
	// Visitor rows of his, which an openid map may have made, become the
	// survivor's, or go where he is a member.
	query, args := `UPDATE wxgate_visitor SET guest_id = ? WHERE guest_id = ?`, []any{to.id, from.id}
	if to.kind == Member {
		query, args = `DELETE FROM wxgate_visitor WHERE guest_id = ?`, []any{from.id}
	}
	if err := c.exec(query, args...); err != nil {
		return fmt.Errorf("moving visitors: %w", err)
	}
	// An earlier merge counts anew, for the shop may not have heard of it yet,
	// and sorts just behind the user that it comes along with.
	err := c.exec(`UPDATE wxgate_user SET merged_into = ?, merged_at = ? WHERE merged_into = ?`, to.id, millis(c.at)-1, from.id)
	if err != nil {
		return fmt.Errorf("merging users: %w", err)
	}
	err = c.exec(`UPDATE wxgate_user SET merged_into = ?, merged_at = ? WHERE id = ?`, to.id, millis(c.at), from.id)
	if err != nil {
		return fmt.Errorf("merging users: %w", err)
	}
	aliases, err := c.aliases(to.id)
	if err != nil {
		return err
	}
	for _, id := range append(aliases, to.id) {
		c.changed = append(c.changed, Invalidation{UserID: id})
	}
	return c.emit(EventUserMerged, to.id, Merged{
		From: from.id, To: to.id, FromKind: from.kind, ToKind: to.kind, Reason: to.reason, Aliases: aliases,
	})
}

// aliases are the ids that answer to a user.
func (c *change) aliases(to string) ([]string, error) {
	rows, err := c.tx.QueryContext(c.ctx, `SELECT id FROM wxgate_user WHERE merged_into = ? ORDER BY id`, to)
	if err != nil {
		return nil, fmt.Errorf("reading aliases: %w", err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// log writes what caches have to forget.
func (c *change) log() error {
	for _, inv := range c.changed {
		if err := c.exec(invalidateSQL, inv.UserID, inv.SessionID, millis(c.at)); err != nil {
			return fmt.Errorf("writing the invalidation log: %w", err)
		}
	}
	return nil
}
