package account

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// AssertionKey is a key that assertions are signed with, at rest. What is
// sealed in it is not this package's to know.
type AssertionKey struct {
	ID, Algorithm, Sealed            string
	CreatedAt, ActiveFrom, ExpiresAt time.Time
}

// AssertionKeys returns every stored key.
func (db *DB) AssertionKeys(ctx context.Context) ([]AssertionKey, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT id, algorithm, sealed, created, active_from, expires FROM wxgate_assertion_key ORDER BY active_from, id`)
	if err != nil {
		return nil, fmt.Errorf("reading assertion keys: %w", err)
	}
	defer rows.Close()
	var all []AssertionKey
	for rows.Next() {
		var k AssertionKey
		var created, from, expires int64
		if err := rows.Scan(&k.ID, &k.Algorithm, &k.Sealed, &created, &from, &expires); err != nil {
			return nil, err
		}
		k.CreatedAt, k.ActiveFrom, k.ExpiresAt = fromMillis(created), fromMillis(from), fromMillis(expires)
		all = append(all, k)
	}
	return all, rows.Err()
}

// AddAssertionKey stores k unless there is a key of the same algorithm and
// time already: of two instances that both make one, the first wins.
func (db *DB) AddAssertionKey(ctx context.Context, k AssertionKey) (added bool, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		there, err := text(ctx, tx, `SELECT id FROM wxgate_assertion_key WHERE id = ? OR algorithm = ? AND active_from = ?`,
			k.ID, k.Algorithm, millis(k.ActiveFrom))
		if added = there == "" && err == nil; !added {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO wxgate_assertion_key (id, algorithm, sealed, created, active_from, expires) VALUES (?, ?, ?, ?, ?, ?)`,
			k.ID, k.Algorithm, k.Sealed, millis(k.CreatedAt), millis(k.ActiveFrom), millis(k.ExpiresAt))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("storing an assertion key: %w", err)
	}
	return added, nil
}

// ResealAssertionKey stores k.Sealed in the place of sealed, if k still has that.
func (db *DB) ResealAssertionKey(ctx context.Context, k AssertionKey, sealed string) error {
	err := db.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE wxgate_assertion_key SET sealed = ? WHERE id = ? AND sealed = ?`, k.Sealed, k.ID, sealed)
		return err
	})
	if err != nil {
		return fmt.Errorf("sealing an assertion key anew: %w", err)
	}
	return nil
}

// DeleteAssertionKey removes a key; one that is not there is no error.
func (db *DB) DeleteAssertionKey(ctx context.Context, id string) error {
	err := db.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM wxgate_assertion_key WHERE id = ?`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting an assertion key: %w", err)
	}
	return nil
}
