package account

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/wxgate/wxgate/internal/span"
)

// dialect is all in which the databases differ, besides their migrations.
type dialect struct {
	name   string // of the folder of its migrations
	system string // its name in traces
	goose  goose.Dialect

	// open returns the pools to write and to read with, which may be one.
	open func(location) (write, read *sql.DB, err error)

	// The transactions that read see one state of the database, those that
	// write see at each statement what is committed by then, so also what was
	// committed while they waited for a lock.
	reads, writes sql.TxOptions
	// embedded says that the database runs in this process.
	embedded bool
	// remembers says that statements which are stored together are prepared, and
	// not sent as a text.
	remembers bool
	// locksRows is false where whoever writes has the whole database to himself.
	locksRows bool
	// check refuses a database that is not fit; nil: any is.
	check func(context.Context, *sql.DB) error
	// What a Link locks first: the statement of lockNumbers with so many numbers,
	// in order, or lockShared where it has none. An operation takes lockExclusive,
	// which waits for both and keeps both waiting.
	lockShared, lockExclusive string
	lockNumbers               func(n int) string
	numbers                   uint64 // from 1 on
	// byKey, behind the name of a table, has rows looked up by its primary key.
	// A server that scans a small table instead may lock what it passes.
	byKey string
	// lockSchema and unlockSchema hold a lock of the session that makes whoever
	// migrates wait for whoever else does.
	lockSchema, unlockSchema string

	// clock reads the server's clock, in milliseconds since 1970; empty: there is
	// no server.
	clock string

	// lostRace says that another transaction came first: a deadlock, a lock
	// waited for in vain, a unique key that is there by now.
	lostRace func(error) bool
	// broken says that an open connection was lost, for example because the
	// server was restarted; nil: there is no connection.
	broken func(error) bool
	// explain puts the commonest errors of opening a database into words.
	explain func(error) error
}

// location is where a database is, as the operator wrote it.
type location struct {
	url  string
	path string   // of a SQLite file
	at   *url.URL // of a server

	spans span.Database // of its statements
}

// name is the location without anything secret.
func (s location) name() string {
	if s.at == nil {
		return s.path
	}
	shown := url.URL{Scheme: s.at.Scheme, Host: s.at.Host, Path: s.at.Path}
	if user := s.at.User.Username(); user != "" {
		shown.User = url.User(user)
	}
	return shown.String()
}

// locate parses the URL of a database. An error shows nothing of it but a scheme
// that it knows, for the rest may hold a password.
func locate(databaseURL string) (location, dialect, error) {
	scheme, rest, _ := strings.Cut(databaseURL, ":")
	var d dialect
	switch scheme {
	case "sqlite":
		d = sqliteDialect()
		return location{path: strings.TrimPrefix(rest, "//"), spans: span.NewDatabase(d.system, nil)}, d, nil
	case "postgres", "postgresql":
		d = postgresDialect()
	case "mysql":
		d = mysqlDialect()
	case "":
		return location{}, d, errors.New("opening database: no URL")
	default:
		return location{}, d, errors.New("opening database: the URL must begin with sqlite:, postgres:// or mysql://")
	}
	at, err := url.Parse(databaseURL)
	if err != nil || at.Opaque != "" || len(at.Path) < 2 {
		return location{}, d, fmt.Errorf("opening database: this is not a URL like %s://user:password@host/database "+
			"(signs such as @ / ? # %% in a password are written as %%40 %%2F %%3F %%23 %%25)", scheme)
	}
	return location{url: databaseURL, at: at, spans: span.NewDatabase(d.system, at)}, d, nil
}

// Limits of a pool of connections to a server. An instance holds no more than
// these, also while a configuration is loaded anew.
const (
	maxConnections  = 16
	connectionLives = 30 * time.Minute // so that a server that was moved is found
	connectTimeout  = 5 * time.Second
)

// txTimeout bounds a transaction that writes, from its begin to its commit.
const txTimeout = 30 * time.Second

// What a server does by itself, should this process not be there to stop it.
const (
	statementTimeout = 30 * time.Second
	lockTimeout      = 5 * time.Second
	idleTxTimeout    = 30 * time.Second
)

// limit sets the limits of a pool.
func limit(pool *sql.DB) *sql.DB {
	pool.SetMaxOpenConns(maxConnections)
	pool.SetMaxIdleConns(maxConnections)
	pool.SetConnMaxLifetime(connectionLives)
	return pool
}

// explainNetwork puts into words that a server is not reached.
func explainNetwork(err error) error {
	var unreachable *net.OpError
	var unknown *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNoAnswer):
		return errNoAnswer
	case errors.As(err, &unreachable):
		return fmt.Errorf("the server cannot be reached: %w", unreachable)
	case errors.As(err, &unknown):
		return fmt.Errorf("the server cannot be reached: %w", unknown)
	}
	return err
}

// lostStream says that the other end of a stream has gone, one that was there.
func lostStream(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	for _, lost := range []error{driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// sessionLock makes goose hold the lock of a dialect while it migrates.
type sessionLock struct{ lock, unlock string }

// SessionLock implements lock.SessionLocker.
func (l sessionLock) SessionLock(ctx context.Context, c *sql.Conn) error {
	return l.ask(ctx, c, l.lock)
}

// SessionUnlock implements lock.SessionLocker.
func (l sessionLock) SessionUnlock(ctx context.Context, c *sql.Conn) error {
	return l.ask(ctx, c, l.unlock)
}

func (sessionLock) ask(ctx context.Context, c *sql.Conn, query string) error {
	var got sql.NullInt64
	if err := c.QueryRowContext(ctx, query).Scan(&got); err != nil {
		return fmt.Errorf("locking the schema: %w", err)
	}
	if got.Int64 != 1 {
		return errSchemaLocked
	}
	return nil
}

// errSchemaLocked is a lost race.
var errSchemaLocked = errors.New("another instance is bringing the schema up to date")
