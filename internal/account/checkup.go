package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"
)

// CheckWrite stores something and takes it away again. An error says what to
// mend: a disk that is full, a database that only reads.
func (db *DB) CheckWrite(ctx context.Context) error {
	id := "checkup " + rand.Text() // no session has it, and Prune would remove it
	for _, query := range []string{
		`INSERT INTO wxgate_revocation (session_id, dies, forget) VALUES (?, 0, 0)`, `DELETE FROM wxgate_revocation WHERE session_id = ? AND forget = 0`,
	} {
		err := db.inTx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, query, id)
			return err
		})
		if err != nil {
			return fmt.Errorf("writing to the database: %w", db.explain(err))
		}
	}
	return nil
}

// CheckRead reads, and says what to mend where that fails.
func (db *DB) CheckRead(ctx context.Context) error {
	if err := db.Ping(ctx); err != nil {
		return fmt.Errorf("reading the database: %w", db.explain(err))
	}
	return nil
}

// Clock is the time of the server that the database runs on; found=false means
// that it runs in this process.
func (db *DB) Clock(ctx context.Context) (now time.Time, found bool, err error) {
	if db.clock == "" {
		return now, false, nil
	}
	var ms int64
	if err := db.read.QueryRowContext(ctx, db.clock).Scan(&ms); err != nil {
		return now, false, fmt.Errorf("reading the database's clock: %w", db.explain(err))
	}
	return time.UnixMilli(ms), true, nil
}

// Space is how many bytes the disk still has room for that the database is on;
// found=false means that it is a server's, or cannot be found out.
func (db *DB) Space() (free uint64, found bool) {
	if db.path == "" {
		return 0, false
	}
	return freeBytes(db.path)
}

// UnionIDCount says of how many people an app has told what.
type UnionIDCount struct {
	Known   int // WeChat has told a unionid
	Unknown int // it has told none
}

// CountUnionIDs counts the openids of an app.
func (db *DB) CountUnionIDs(ctx context.Context, appID string) (n UnionIDCount, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM wxgate_identity WHERE appid = ? AND unionid IS NOT NULL AND scope = ''),
		(SELECT count(*) FROM wxgate_identity WHERE appid = ? AND unionid IS NULL) + (SELECT count(*) FROM wxgate_visitor WHERE appid = ?)`,
		appID, appID, appID).Scan(&n.Known, &n.Unknown)
	if err != nil {
		return n, fmt.Errorf("counting unionids: %w", db.explain(err))
	}
	return n, nil
}
