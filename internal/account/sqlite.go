package account

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func sqliteDialect() dialect {
	return dialect{
		name: "sqlite", system: "sqlite", goose: goose.DialectSQLite3, open: openSQLite, embedded: true, remembers: true, reads: sql.TxOptions{ReadOnly: true},
		lostRace: sqliteLostRace, explain: explainSQLite,
	}
}

const readConnections = 8

// openSQLite makes the file (mode 0600) if there is none. SQLite has one writer,
// so there is one connection to write with.
func openSQLite(s location) (write, read *sql.DB, err error) {
	if err := makeFile(s.path); err != nil {
		return nil, nil, err
	}
	if write, err = sqlitePool(s, "&_txlock=immediate", 1); err != nil {
		return nil, nil, err
	}
	if read, err = sqlitePool(s, "&_pragma=query_only(1)", readConnections); err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	return write, read, nil
}

// makeFile makes sure that the file exists and is its owner's alone.
func makeFile(path string) error {
	if path == "" {
		return errors.New("no path")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist) && isDir(filepath.Dir(path)): // as /proc says
		return fmt.Errorf("no file can be made in the directory %s", filepath.Dir(path))
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist", filepath.Dir(path))
	case err != nil:
		return err
	}
	return f.Close()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// sqlitePool opens a pool. Durability is SQLite's strongest: an answer is given
// only for what is on disk. The log is copied into the file every 16 MB, so that
// pages which many changes touch are copied once. SQLite waits for the lock of
// another process without looking at deadlines, so it waits briefly and retry does
// the rest.
func sqlitePool(s location, options string, connections int) (*sql.DB, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: s.path}).EscapedPath()}).String() +
		"?_pragma=busy_timeout(100)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=mmap_size(1073741824)&_pragma=wal_autocheckpoint(4000)" + options
	inner, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(&connector{Connector: inner, spans: s.spans})
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool, nil
}

func sqliteLostRace(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return true
	}
	return e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED
}

func explainSQLite(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is not a SQLite database: %w", err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("the file or its directory cannot be written: %w", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}
