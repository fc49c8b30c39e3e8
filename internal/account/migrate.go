package account

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// The schema of each dialect: the same tables and rules, in its own words. A
// released migration is never changed; a test compares it with the dump that
// `make schema-dump` has written when it was new.
//
//go:embed migrations
var migrations embed.FS

const schemaTable = "wxgate_schema"

// migrate brings the schema up to date. Two processes may do so at once: the
// second waits for the first. On SQLite, which has no lock to wait for, each
// migration is a transaction, and whoever comes second finds it done; so a
// migration must fail there where it was applied already, as CREATE and ALTER
// do. On MySQL, which commits each statement, it must not fail then, so that it
// can go on where a process has died.
func migrate(ctx context.Context, d dialect, pool *sql.DB) error {
	var provider *goose.Provider
	var err error
	for attempt := 1; ; attempt++ {
		// A provider remembers what it has tried, and would then complain of
		// something else.
		if provider, err = newMigrator(d, pool); err != nil {
			return err
		}
		_, err = provider.Up(ctx)
		// While another process migrates, the lock is busy, and then what it
		// has made is there already; or goose, which looks before it locks,
		// sees its table without a row yet. Anything else will not go away.
		race := err != nil && (d.lostRace(err) || errors.Is(err, errSchemaLocked) || attempt < 5)
		if !race || ctx.Err() != nil || attempt == maxAttempts {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	version, err := provider.GetDBVersion(ctx)
	if known := provider.ListSources()[len(provider.ListSources())-1].Version; err == nil && version > known {
		return fmt.Errorf("its schema has version %d and this program knows %d: it was used by a newer version", version, known)
	}
	return err
}

// newMigrator returns what runs the migrations of a dialect.
func newMigrator(d dialect, pool *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations/"+d.name)
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithTableName(schemaTable), goose.WithGoMigrations(ownersMigration(d))}
	if d.lockSchema != "" {
		options = append(options, goose.WithSessionLocker(sessionLock{d.lockSchema, d.unlockSchema}))
	}
	return goose.NewProvider(d.goose, pool, dir, options...)
}

// tables returns all tables, without their prefix, each with one of its columns.
func tables() map[string]string {
	return map[string]string{
		"user": "id", "unionid": "user_id", "identity": "user_id", "visitor": "guest_id", "event": "seq", "event_head": "seq",
		"conflict": "closed", "revocation": "dies", "invalidation": "time", "id_block": "next", "assertion_key": "expires",
		"data_key": "sealed", "newcomer": "created", "operation": "time", "receiver": "seen", "delivery": "due", "event_settled": "seq",
		"profile": "changed",
	}
}

// checkRights tries what the user must be allowed to do, without doing any of
// it: with nothing to migrate nothing else does at the start.
func checkRights(ctx context.Context, db *DB) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		for table, column := range tables() {
			for _, query := range []string{
				"INSERT INTO wxgate_" + table + " SELECT * FROM wxgate_" + table + " WHERE 1 = 0",
				"UPDATE wxgate_" + table + " SET " + column + " = " + column + " WHERE 1 = 0",
				"DELETE FROM wxgate_" + table + " WHERE 1 = 0",
			} {
				if _, err := tx.ExecContext(ctx, query); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
