package account

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ConflictRecord is a conflict as operators see it.
type ConflictRecord struct {
	Conflict
	AppID  string     `json:"appid,omitempty"` // where it was met
	OpenID string     `json:"openid,omitempty"`
	Opened time.Time  `json:"opened"`
	Closed *time.Time `json:"closed,omitempty"`
}

// Conflicts lists the open or the closed conflicts, the newest first. After an
// id that is unknown there is nothing.
func (db *DB) Conflicts(ctx context.Context, closed bool, page Page) ([]ConflictRecord, error) {
	state := `open_as IS NOT NULL`
	if closed {
		state = `closed IS NOT NULL`
	}
	return readConflictRecords(ctx, db.read, `WHERE `+state+` AND (? = '' OR EXISTS (
		SELECT 1 FROM wxgate_conflict p WHERE p.id = ? AND (wxgate_conflict.opened < p.opened OR wxgate_conflict.opened = p.opened AND wxgate_conflict.id < p.id)))
		ORDER BY opened DESC, id DESC LIMIT ?`, page.After, page.After, page.limit())
}

// namesUsers selects the conflicts whose parties are users. The others are about
// an app that was rebound, and may be as many as it has visitors.
const namesUsers = `WHERE code IN ('` + string(CodeRepairConflict) + `', '` + string(CodePhoneOwnedByOtherUser) + `', '` +
	string(CodePhoneBoundToOtherWeChat) + `', '` + string(CodeWeChatBoundToOtherUser) + `', '` + string(CodeUserIDBoundToOtherWeChat) + `')`

// readConflictRecords reads the conflicts that a clause selects.
func readConflictRecords(ctx context.Context, q querier, clause string, args ...any) ([]ConflictRecord, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, code, parties, appid, openid, opened, closed FROM wxgate_conflict `+clause, args...)
	if err != nil {
		return nil, fmt.Errorf("reading conflicts: %w", err)
	}
	return collect(rows, func(c *ConflictRecord) error {
		var parties string
		var opened int64
		var closed sql.NullInt64
		err := rows.Scan(&c.ID, &c.Code, &parties, &c.AppID, &c.OpenID, &opened, &closed)
		c.Parties, c.Opened = strings.Split(parties, "\n"), fromMillis(opened)
		if closed.Valid {
			at := fromMillis(closed.Int64)
			c.Closed = &at
		}
		return err
	})
}

// openConflictsOf reads the open conflicts that name all of some users.
func openConflictsOf(ctx context.Context, q querier, ids ...string) ([]ConflictRecord, error) {
	all, err := readConflictRecords(ctx, q, namesUsers+` AND open_as IS NOT NULL ORDER BY opened, id`)
	return slices.DeleteFunc(all, func(c ConflictRecord) bool {
		return slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(c.Parties, id) })
	}), err
}

// closeConflicts closes open conflicts that are over.
func (c *change) closeConflicts(over []ConflictRecord) error {
	for _, x := range over {
		if err := c.exec(`UPDATE wxgate_conflict SET closed = ?, open_as = NULL WHERE id = ?`, millis(c.at), x.ID); err != nil {
			return fmt.Errorf("closing a conflict: %w", err)
		}
		if err := c.emit(EventConflictClosed, x.ID, x.Conflict); err != nil {
			return err
		}
	}
	return nil
}

// CloseConflict closes a conflict that an operator has looked at, with
// conflict.closed. One that is closed already stays as it is.
//
// Errors: ErrUnknownConflict, ErrNoReason.
func (db *DB) CloseConflict(ctx context.Context, id string, by By) error {
	_, err := db.operate(ctx, by, func(c *change) error {
		found, err := readConflictRecords(ctx, c.tx, `WHERE id = ?`, id)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return ErrUnknownConflict
		case found[0].Closed != nil:
			return nil
		}
		if err := c.closeConflicts(found); err != nil {
			return err
		}
		return c.record(by, deed{ActionCloseConflict, id, found[0].Conflict})
	})
	if err != nil {
		return fmt.Errorf("closing a conflict: %w", err)
	}
	return nil
}
