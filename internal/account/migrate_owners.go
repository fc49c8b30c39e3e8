package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"
)

// ownersVersion is that of the migration that fills what 00005_owners.sql adds.
const ownersVersion = 6

// ownersBatch is how many identities a statement fills: so few that it ends
// long before a server or its driver loses patience.
const ownersBatch = 10_000

// ownersMigration copies to each identity the user of its unionid. On a server
// it commits each batch: gateways of the version before may be at work, and
// need not wait for all of it.
func ownersMigration(d dialect) *goose.Migration {
	fill := &goose.GoFunc{RunDB: func(ctx context.Context, pool *sql.DB) error {
		return fillOwners(ctx, pool, ownersFill{ownersBatch, d.lockShared})
	}}
	if d.embedded { // the one connection that writes is taken
		fill = &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			return fillOwners(ctx, tx, ownersFill{ownersBatch, d.lockShared})
		}}
	}
	return goose.NewGoMigration(ownersVersion, fill, nil)
}

// ownersFill says how fillOwners goes about it.
type ownersFill struct {
	batch int
	lock  string // keeps operations out to the end of a transaction; empty: it is alone
}

// fillOwners may be run again, and beside gateways that link visitors: what it
// copies while it changes is passed over by whoever reads it. Operations wait
// for a batch, because they also take a unionid from its user.
func fillOwners(ctx context.Context, db execQuerier, how ownersFill) error {
	var apps []string
	err := queryRows(ctx, db, `SELECT DISTINCT appid FROM wxgate_identity`, nil, func(rows *sql.Rows) error {
		var appID string
		err := rows.Scan(&appID)
		apps = append(apps, appID)
		return err
	})
	for _, appID := range apps {
		for from, to := "", ""; err == nil; from = to {
			to, err = text(ctx, db, `SELECT max(openid) FROM (SELECT openid FROM wxgate_identity WHERE appid = ? AND openid > ?
				ORDER BY openid LIMIT ?) AS b`, appID, from, how.batch)
			if err != nil || to == "" {
				break
			}
			err = how.copyOwners(ctx, db, appID, from, to)
		}
	}
	if err != nil {
		return fmt.Errorf("copying the users of unionids: %w", err)
	}
	return nil
}

// copyOwners fills a batch.
func (how ownersFill) copyOwners(ctx context.Context, db execQuerier, batch ...any) error {
	if pool, ok := db.(*sql.DB); ok && how.lock != "" {
		tx, err := pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		err = lockRows(ctx, tx, how.lock, nil)
		if err == nil {
			err = ownersFill{}.copyOwners(ctx, tx, batch...)
		}
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	}
	_, err := db.ExecContext(ctx, `UPDATE wxgate_identity SET owner_id = (SELECT n.user_id FROM wxgate_unionid n
		WHERE n.scope = wxgate_identity.scope AND n.unionid = wxgate_identity.unionid)
		WHERE appid = ? AND openid > ? AND openid <= ?`, batch...)
	return err
}

// execQuerier is a transaction that writes, or a pool.
type execQuerier interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}
