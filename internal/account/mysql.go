package account

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

func mysqlDialect() dialect {
	return dialect{
		name: "mysql", system: "mysql", goose: goose.DialectMySQL, open: openMySQL, locksRows: true,
		reads:      sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead},
		writes:     sql.TxOptions{}, // READ COMMITTED, by setupMySQL
		lockShared: "SELECT id FROM wxgate_lock WHERE id = 0 LOCK IN SHARE MODE",
		lockNumbers: func(n int) string {
			return "SELECT id FROM wxgate_lock" + mysqlByKey + " WHERE id" + in(n) + " FOR UPDATE"
		},
		numbers:       1023,
		byKey:         mysqlByKey,
		lockExclusive: "SELECT id FROM wxgate_lock" + mysqlByKey + " ORDER BY id FOR UPDATE",
		lockSchema:    "SELECT GET_LOCK(CONCAT('wxgate ', MD5(DATABASE())), 5)",
		unlockSchema:  "SELECT RELEASE_LOCK(CONCAT('wxgate ', MD5(DATABASE())))",
		clock:         "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
		lostRace:      mysqlLostRace, broken: mysqlBroken, explain: explainMySQL,
	}
}

const mysqlByKey = " FORCE INDEX (PRIMARY)"

// setupMySQL sets what statements depend on. In the comments are settings that
// only MariaDB or only MySQL has. MySQL cannot end idle transactions alone, so
// there all idle connections end, and the driver opens others. MariaDB's cache of
// subqueries takes two texts for one that differ by spaces at their end.
func setupMySQL() []string {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }
	return []string{
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
		"SET SESSION autocommit = 1, foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0" +
			", sql_select_limit = 18446744073709551615, sql_auto_is_null = 0, sql_big_selects = 1, completion_type = 0" +
			", sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'" +
			", time_zone = '+00:00', innodb_lock_wait_timeout = " + seconds(lockTimeout) +
			" /*M!100300 , max_statement_time = " + seconds(statementTimeout) + ", idle_transaction_timeout = " + seconds(idleTxTimeout) +
			", optimizer_switch = 'subquery_cache=off' */" +
			" /*!80000 , max_execution_time = " + strconv.FormatInt(statementTimeout.Milliseconds(), 10) + ", wait_timeout = " + seconds(idleTxTimeout) + " */",
	}
}

func openMySQL(s location) (write, read *sql.DB, err error) {
	cfg, err := mysqlConfig(s.at)
	if err != nil {
		return nil, nil, fmt.Errorf("its options are not understood: %w", err)
	}
	inner, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("its options are not understood: %w", err)
	}
	pool := limit(sql.OpenDB(&connector{
		Connector: inner, setup: setupMySQL(), broken: mysqlBroken, timeout: cfg.Timeout, send: sendMySQL,
		spans: s.spans,
	}))
	return pool, pool, nil
}

// mysqlConfig reads a URL, whose options are those of the driver, and `socket`
// for the path of a Unix socket.
func mysqlConfig(at *url.URL) (*mysql.Config, error) {
	options := at.Query()
	socket := options.Get("socket")
	options.Del("socket")
	cfg, err := mysql.ParseDSN("/?" + options.Encode())
	if err != nil {
		return nil, err
	}
	cfg.User = at.User.Username()
	cfg.Passwd, _ = at.User.Password()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(cmp.Or(at.Hostname(), "127.0.0.1"), cmp.Or(at.Port(), "3306"))
	if socket != "" {
		cfg.Net, cfg.Addr = "unix", socket
	}
	cfg.DBName = at.Path[1:]
	cfg.Timeout = cmp.Or(cfg.Timeout, connectTimeout)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, statementTimeout+lockTimeout)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, statementTimeout)
	cfg.ClientFoundRows = true // an UPDATE that changes nothing has found its row
	cfg.ParseTime, cfg.InterpolateParams, cfg.ColumnsWithAlias = false, false, false
	cfg.MultiStatements = true        // for sendMySQL
	cfg.Logger = new(mysql.NopLogger) // what goes wrong is returned
	return cfg, cfg.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin"))
}

func mysqlLostRace(err error) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Number {
	case 1213, // ER_LOCK_DEADLOCK
		1205, // ER_LOCK_WAIT_TIMEOUT
		1020, // ER_CHECKREAD: the row has changed since the transaction read it
		1062: // ER_DUP_ENTRY
		return true
	}
	return false
}

func mysqlBroken(err error) bool {
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		switch refused.Number {
		case 1053, // ER_SERVER_SHUTDOWN
			1927, // ER_CONNECTION_KILLED
			4031: // ER_CLIENT_INTERACTION_TIMEOUT
			return true
		}
		return false
	}
	return errors.Is(err, mysql.ErrInvalidConn) || lostStream(err)
}

func explainMySQL(err error) error {
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) {
		return explainNetwork(err)
	}
	switch refused.Number {
	case 1045, 1698: // ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR
		return fmt.Errorf("the server refuses the user or his password: %s", refused.Message)
	case 1049: // ER_BAD_DB_ERROR
		return fmt.Errorf("%s; create it first", refused.Message)
	case 1044: // ER_DBACCESS_DENIED_ERROR
		return fmt.Errorf("the database does not exist or the user may not use it: %s", refused.Message)
	case 1142, 1143, 1227, 1370: // ER_TABLEACCESS_DENIED_ERROR and the like
		return fmt.Errorf("the user lacks rights: %s; he needs CREATE, ALTER, DROP, INDEX, REFERENCES, SELECT, INSERT, UPDATE "+
			"and DELETE on the database, or the last four where another user makes the tables", refused.Message)
	case 1290, 1836: // ER_OPTION_PREVENTS_STATEMENT, ER_READ_ONLY_MODE
		return fmt.Errorf("the server only reads, as a replica does: %s", refused.Message)
	case 1021, 1114: // ER_DISK_FULL, ER_RECORD_FILE_FULL
		return fmt.Errorf("the server's disk is full: %s", refused.Message)
	case 1665: // ER_BINLOG_STMT_MODE_AND_ROW_ENGINE
		return fmt.Errorf("the server's binlog_format must be MIXED or ROW: %s", refused.Message)
	}
	return err
}
