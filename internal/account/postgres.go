package account

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

func postgresDialect() dialect {
	return dialect{
		name: "postgres", system: "postgresql", goose: goose.DialectPostgres, open: openPostgres, locksRows: true, remembers: true,
		reads:         sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead},
		writes:        sql.TxOptions{Isolation: sql.LevelReadCommitted},
		lockShared:    "SELECT pg_advisory_xact_lock_shared(" + postgresLock + ")",
		lockNumbers:   postgresLockNumbers,
		numbers:       math.MaxInt64,
		lockExclusive: "SELECT pg_advisory_xact_lock(" + postgresLock + ")",
		lockSchema:    "SELECT 1 FROM (SELECT pg_advisory_lock(" + postgresSchemaLock + ")) AS l",
		unlockSchema:  "SELECT CASE WHEN pg_advisory_unlock(" + postgresSchemaLock + ") THEN 1 END",
		clock:         "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
		lostRace:      postgresLostRace, broken: postgresBroken, explain: explainPostgres, check: checkPostgres,
	}
}

// Numbers that others are unlikely to lock: "wxgate" in ASCII, and the next.
const (
	postgresLock       = "131359014220901"
	postgresSchemaLock = "131359014220902"
)

func postgresLockNumbers(n int) string {
	return "SELECT pg_advisory_xact_lock_shared(" + postgresLock + "), pg_advisory_xact_lock(n) " +
		"FROM (VALUES (CAST(? AS bigint))" + strings.Repeat(", (CAST(? AS bigint))", n-1) + ") AS l (n)"
}

// checkPostgres refuses a database that cannot hold every name.
func checkPostgres(ctx context.Context, pool *sql.DB) error {
	var encoding string
	if err := pool.QueryRowContext(ctx, "SELECT current_setting('server_encoding')").Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("its encoding is %s; create it with ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	return nil
}

func openPostgres(s location) (write, read *sql.DB, err error) {
	cfg, err := pgx.ParseConfig(s.url)
	if err != nil {
		// Its own text shows the URL; what it wraps is about one option.
		return nil, nil, fmt.Errorf("its options are not understood: %w", cmp.Or(errors.Unwrap(err), errors.New("see the manual of libpq")))
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"search_path":                         cmp.Or(cfg.RuntimeParams["search_path"], "public"),
		"client_encoding":                     "UTF8",
		"timezone":                            "UTC",
		"default_transaction_isolation":       "read committed",
		"default_transaction_read_only":       "off",
		"default_transaction_deferrable":      "off",
		"statement_timeout":                   strconv.FormatInt(statementTimeout.Milliseconds(), 10),
		"lock_timeout":                        strconv.FormatInt(lockTimeout.Milliseconds(), 10),
		"idle_in_transaction_session_timeout": strconv.FormatInt(idleTxTimeout.Milliseconds(), 10),
		"application_name":                    cmp.Or(cfg.RuntimeParams["application_name"], "wxgate"),
	} {
		cfg.RuntimeParams[name] = value
	}
	pool := limit(sql.OpenDB(&connector{
		Connector: stdlib.GetConnector(*cfg), numbers: true, native: true, broken: postgresBroken, send: sendPostgres,
		spans: s.spans,
		// What is acknowledged is on disk; a stronger setting stays.
		setup: []string{"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"},
	}))
	return pool, pool, nil
}

func postgresLostRace(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "40001", // serialization_failure
		"40P01", // deadlock_detected
		"55P03", // lock_not_available
		"23505": // unique_violation
		return true
	}
	return false
}

func postgresBroken(err error) bool {
	var unreachable *pgconn.ConnectError
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &unreachable):
		return false
	case errors.As(err, &refused):
		// admin_shutdown, crash_shutdown, connection_exception and the like
		return refused.Code == "57P01" || refused.Code == "57P02" || strings.HasPrefix(refused.Code, "08")
	}
	return pgconn.SafeToRetry(err) || lostStream(err)
}

func explainPostgres(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return explainNetwork(err)
	}
	switch refused.Code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return fmt.Errorf("the server refuses the user or his password: %s", refused.Message)
	case "3D000": // invalid_catalog_name
		return fmt.Errorf("%s; create it first", refused.Message)
	case "42501": // insufficient_privilege
		return fmt.Errorf("the user lacks rights: %s; he needs CREATE on the schema, or SELECT, INSERT, UPDATE and DELETE "+
			"on tables that another user has made", refused.Message)
	case "53100": // disk_full
		return fmt.Errorf("the server's disk is full: %s", refused.Message)
	case "25006": // read_only_sql_transaction
		return fmt.Errorf("the server only reads, as a standby does: %s", refused.Message)
	}
	return err
}
