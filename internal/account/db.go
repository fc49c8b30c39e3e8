package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a database.
type Config struct {
	// URL says where the database is: sqlite:<path of a file in a directory that
	// exists>, postgres://user:password@host:port/database or mysql://... with
	// the same parts (MySQL 8.0 or MariaDB 10.6 and later).
	URL string
	IDs IDConfig
}

// DB is an account database. Its methods may be called by many goroutines. An
// error of theirs means that the database is broken or too slow, unless they
// say otherwise.
type DB struct {
	dialect
	write     *sql.DB
	read      *sql.DB // the same, where one pool can do both
	ids       *idSource
	arrivals  gatherer[*arrival]
	strangers gatherer[*stranger]
	path      string // of a SQLite file; empty: it is a server's

	txTimeout time.Duration
	log       atomic.Pointer[slog.Logger]
	phoneKeys atomic.Pointer[phoneKeys] // nil before Unlock
	dataKey   atomic.Int64              // the copy they were read from; 0 before Unlock
	onChange  atomic.Pointer[func(Invalidation)]
	closing   sync.Once
}

// Open opens the database and brings its schema up to date; a SQLite file is
// made (mode 0600) if there is none. The error says what to mend, and nothing of
// a password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	src, d, err := locate(cfg.URL)
	if err != nil {
		return nil, err
	}
	db := &DB{dialect: d, path: src.path, txTimeout: txTimeout}
	db.arrivals = gatherer[*arrival]{spans: src.spans, timeout: txTimeout}
	db.strangers = gatherer[*stranger]{spans: src.spans, timeout: txTimeout}
	db.LogTo(slog.New(slog.DiscardHandler))
	if db.write, db.read, err = d.open(src); err != nil {
		return nil, fmt.Errorf("opening database %s: %w", src.name(), err)
	}
	if d.check != nil {
		err = d.check(ctx, db.write)
	}
	if err == nil {
		err = migrate(ctx, d, db.write)
	}
	if err == nil {
		err = checkRights(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", src.name(), d.explain(err)), db.Close())
	}
	db.ids = newIDSource(db, cfg.IDs)
	if err := db.ids.claim(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", src.name(), err), db.Close())
	}
	return db, nil
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

// LogTo makes the database log to l from now on, and to nothing before. An open
// database outlives configurations, and each brings its own log.
func (db *DB) LogTo(l *slog.Logger) { db.log.Store(l) }

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

// inTx runs f in a transaction that writes, again if it lost a race or its
// connection. If the connection is lost while it commits, nobody knows whether
// it was stored, and the caller gets an error.
func (db *DB) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	return db.retry(ctx, func() error { return db.tryTx(ctx, f) })
}

// inRepeatableTx is inTx for what may be stored twice. It is done again also
// where nobody knows.
func (db *DB) inRepeatableTx(ctx context.Context, f func(*sql.Tx) error) error {
	return db.retry(ctx, func() error {
		err := db.tryTx(ctx, f)
		if errors.Is(err, errUnknown) {
			return errors.Join(err, errBroken)
		}
		return err
	})
}

// inReadTx runs f in a transaction that sees one state of the database and
// changes nothing.
func (db *DB) inReadTx(ctx context.Context, f func(*sql.Tx) error) error {
	return db.retry(ctx, func() error {
		tx, err := db.read.BeginTx(ctx, &db.reads)
		if err != nil {
			return err
		}
		return db.meaning(ctx, errors.Join(f(tx), tx.Rollback()), errBroken)
	})
}

var (
	// errBroken means that the connection was lost, and with it what was not
	// committed.
	errBroken = errors.New("the connection to the database is lost")
	// errUnknown means that the connection was lost with the answer to a commit.
	errUnknown = errors.New("the connection to the database is lost: whether the change is stored is not known")
)

// meaning adds what a lost connection means to its error.
func (db *DB) meaning(ctx context.Context, err, of error) error {
	if err != nil && ctx.Err() == nil && db.broken != nil && db.broken(err) {
		return errors.Join(of, err)
	}
	return err
}

// readBriefly runs a few short reads. Waiting for a connection may be cancelled.
// In an embedded database the reads may not: they are over before anybody could
// stop them, and to be ready for that would take longer than they do.
func (db *DB) readBriefly(ctx context.Context, read func(context.Context, querier) error) error {
	if !db.embedded {
		return read(ctx, db.read)
	}
	conn, err := db.read.Conn(ctx)
	if err != nil {
		return err
	}
	return errors.Join(read(context.WithoutCancel(ctx), conn), conn.Close())
}

// maxAttempts bounds a retry where the caller has no deadline, to some seconds
// of waiting for the lock of another process.
const maxAttempts = 50

// retry runs f again while it loses races, or connections, which a server that
// was restarted takes from all that were open.
func (db *DB) retry(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		again := err != nil && (db.isRace(err) || errors.Is(err, errBroken))
		if !again || attempt == maxAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(min(time.Duration(attempt), 10) * time.Millisecond):
		}
	}
}

// tryTx runs f in a transaction that ends within txTimeout.
func (db *DB) tryTx(ctx context.Context, f func(*sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.txTimeout)
	defer cancel()
	tx, err := db.write.BeginTx(ctx, &db.writes)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return db.meaning(ctx, errors.Join(err, tx.Rollback()), errBroken)
	}
	if err := tx.Commit(); err != nil {
		return db.meaning(ctx, errors.Join(err, ctx.Err()), errUnknown)
	}
	return nil
}

// isRace says that another transaction came first.
func (db *DB) isRace(err error) bool { return errors.Is(err, errMoved) || db.lostRace(err) }

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
