package account

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// Config of a database.
type Config struct {
	Path   string // of the SQLite file; its directory must exist
	IDs    IDConfig
	Logger *slog.Logger // nil means none
}

// DB is an account database. Its methods may be called by many goroutines. An
// error of theirs means that the database is broken or too slow, unless they
// say otherwise.
type DB struct {
	write *sql.DB // one connection: SQLite has one writer
	read  *sql.DB
	ids   *idSource
	log   *slog.Logger

	resolve *sql.Stmt // on read

	locksRows bool // false: whoever writes has the whole database to himself

	phoneKeys atomic.Pointer[phoneKeys] // nil before Unlock
	onChange  atomic.Pointer[func(Invalidation)]
	closing   sync.Once
}

const readConnections = 8

// Open opens the database, makes the file (mode 0600) if there is none, and
// brings its schema up to date. The error says what to mend.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := makeFile(cfg.Path); err != nil {
		return nil, err
	}
	db := &DB{log: cfg.Logger}
	var err error
	if db.write, err = open(cfg.Path, "&_txlock=immediate", 1); err != nil {
		return nil, err
	}
	if db.read, err = open(cfg.Path, "&_pragma=query_only(1)", readConnections); err != nil {
		return nil, errors.Join(err, db.write.Close())
	}
	err = migrate(ctx, db.write)
	if err == nil {
		// With nothing to migrate this is the first attempt to write. It
		// changes nothing, but SQLite lets nobody begin it who may not write.
		err = db.inTx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE wxgate_id_block SET next = next WHERE first < 0`)
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", cfg.Path, explain(err)), db.Close())
	}
	if db.resolve, err = db.read.PrepareContext(ctx, resolveSQL); err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", cfg.Path, err), db.Close())
	}
	db.ids = newIDSource(db, cfg.IDs)
	if err := db.ids.claim(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", cfg.Path, err), db.Close())
	}
	return db, nil
}

// makeFile makes sure that the file exists and is its owner's alone.
func makeFile(path string) error {
	if path == "" {
		return errors.New("opening database: no path")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("opening database %s: the directory %s does not exist", path, filepath.Dir(path))
	case err != nil:
		return fmt.Errorf("opening database: %w", err)
	}
	return f.Close()
}

// open opens a pool. Durability is SQLite's strongest: an answer is given only
// for what is on disk. SQLite waits for the lock of another process without
// looking at deadlines, so it waits briefly and retry does the rest.
func open(path, options string, connections int) (*sql.DB, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() +
		"?_pragma=busy_timeout(100)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)" + options
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", path, err)
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool, nil
}

// migrate brings the schema up to date. Two processes may do so at once: each
// migration is a transaction, and whoever comes second finds it done. So a
// migration must fail where it was applied already, as CREATE and ALTER do.
func migrate(ctx context.Context, pool *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, pool, dir, goose.WithTableName("wxgate_schema"))
	if err != nil {
		return err
	}
	known := provider.ListSources()[len(provider.ListSources())-1].Version
	for attempt := 1; ; attempt++ {
		_, err = provider.Up(ctx)
		// While another process migrates, the lock is busy, and then what it
		// has made is there already; anything else will not go away.
		if err == nil || ctx.Err() != nil || attempt >= 5 && !isRace(err) || attempt == maxAttempts {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	version, err := provider.GetDBVersion(ctx)
	if err == nil && version > known {
		return fmt.Errorf("its schema has version %d and this program knows %d: it was used by a newer version", version, known)
	}
	return err
}

// explain puts the commonest errors of SQLite into words.
func explain(err error) error {
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

// Close gives back everything. Calls after it fail.
func (db *DB) Close() (err error) {
	db.closing.Do(func() { err = errors.Join(db.read.Close(), db.write.Close()) })
	return err
}

// Ping says whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	return db.read.QueryRowContext(ctx, `SELECT 1 FROM wxgate_id_block UNION ALL SELECT 1 LIMIT 1`).Scan(&one)
}

// OnChange lets f know, after each commit of this process, what caches have to
// forget. There is one f; nil takes it away.
func (db *DB) OnChange(f func(Invalidation)) {
	if f == nil {
		db.onChange.Store(nil)
		return
	}
	db.onChange.Store(&f)
}

func (db *DB) changed(invs []Invalidation) {
	if f := db.onChange.Load(); f != nil {
		for _, inv := range invs {
			(*f)(inv)
		}
	}
}

// inTx runs f in a transaction of the writer, again if it lost a race.
func (db *DB) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	return retry(ctx, func() error { return db.tryTx(ctx, f) })
}

// maxAttempts bounds a retry where the caller has no deadline, to some seconds
// of waiting for the lock of another process.
const maxAttempts = 50

// retry runs f again while it loses races.
func retry(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !isRace(err) || attempt == maxAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(min(time.Duration(attempt), 10) * time.Millisecond):
		}
	}
}

func (db *DB) tryTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// isRace says that another transaction came first.
func isRace(err error) bool {
	if errors.Is(err, errMoved) {
		return true
	}
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

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
