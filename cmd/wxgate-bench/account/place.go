package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/dbtest"
)

// place is where databases of one kind are made.
type place struct {
	engine string
	dir    string         // of SQLite files
	server *dbtest.Server // nil for SQLite
	made   int
}

// The servers keep a million accounts in memory, as one that holds them should.
// All else is as they come; every answer is on disk.
func newPlace(engine string) (*place, error) {
	p := &place{engine: engine}
	var err error
	switch e := dbtest.Engine(engine); {
	case engine == "sqlite":
		p.dir, err = os.MkdirTemp("", "wxgate-bench")
	case e == dbtest.Postgres:
		p.server, err = dbtest.Run(e, "-c", "shared_buffers=1GB")
	case e == dbtest.MariaDB:
		p.server, err = dbtest.Run(e, "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=96M")
	default:
		err = fmt.Errorf("%q is none of sqlite, postgres and mariadb", engine)
	}
	return p, err
}

func (p *place) close() {
	if p.server != nil {
		p.server.Close()
		return
	}
	_ = os.RemoveAll(p.dir)
}

// url is that of a new database.
func (p *place) url() (string, error) {
	if p.server != nil {
		return p.server.Make()
	}
	p.made++
	return "sqlite:" + filepath.Join(p.dir, strconv.Itoa(p.made)+".db"), nil
}

// connections are as many as a pool of the accounts has to a server.
const connections = 16

// open opens a database through the driver alone, as durable as the accounts and
// with the limits of time that they have.
func (p *place) open(databaseURL string) (*sql.DB, error) {
	db, err := p.connect(databaseURL)
	if err == nil {
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
	}
	return db, err
}

func (p *place) connect(databaseURL string) (*sql.DB, error) {
	switch dbtest.Engine(p.engine) {
	case dbtest.Postgres:
		return sql.Open("pgx", databaseURL+"?statement_timeout=30000&lock_timeout=5000&idle_in_transaction_session_timeout=30000")
	case dbtest.MariaDB:
		at, err := url.Parse(databaseURL)
		if err != nil {
			return nil, err
		}
		cfg := mysql.NewConfig()
		cfg.User, cfg.Net, cfg.Addr, cfg.DBName = at.User.Username(), "tcp", at.Host, at.Path[1:]
		cfg.Passwd, _ = at.User.Password()
		cfg.Params = map[string]string{"max_statement_time": "30", "innodb_lock_wait_timeout": "5", "idle_transaction_timeout": "30"}
		return sql.Open("mysql", cfg.FormatDSN())
	}
	return sql.Open("sqlite", "file:"+strings.TrimPrefix(databaseURL, "sqlite:")+
		"?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=mmap_size(1073741824)&_pragma=wal_autocheckpoint(4000)")
}

// accounts is a database of the product's with many people in it.
type accounts struct {
	*account.DB
	people int
	driver *sql.DB // the same database through the driver alone
}

func (a *accounts) close() {
	if a.DB != nil {
		_ = a.DB.Close()
	}
	_ = a.driver.Close()
}

// accounts makes a database with so many members, each with one identity.
func (p *place) accounts(ctx context.Context, people int) (*accounts, error) {
	databaseURL, err := p.url()
	if err != nil {
		return nil, err
	}
	a := &accounts{people: people}
	if a.DB, err = account.Open(ctx, account.Config{URL: databaseURL}); err != nil {
		return nil, err
	}
	if a.driver, err = p.open(databaseURL); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.fill(ctx, a.driver, people); err != nil {
		return nil, fmt.Errorf("filling a database: %w", err)
	}
	if err := p.settle(ctx, a.driver); err != nil {
		return nil, fmt.Errorf("preparing a database: %w", err)
	}
	fmt.Printf("%s: %d identities stored in %v\n", p.engine, people, time.Since(began).Round(time.Second))
	return a, nil
}

// bare makes a database with the one table that a bare INSERT writes to.
func (p *place) bare(ctx context.Context) (*accounts, error) {
	databaseURL, err := p.url()
	if err != nil {
		return nil, err
	}
	db, err := p.open(databaseURL)
	if err != nil {
		return nil, err
	}
	if p.server == nil {
		db.SetMaxOpenConns(1) // a crowd waits here more cheaply than in SQLite
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE bare (id VARCHAR(64) PRIMARY KEY, kind VARCHAR(64) NOT NULL, created BIGINT NOT NULL)`)
	return &accounts{driver: db}, err
}

const (
	appID    = "wx1111111111111111"
	rows     = 500 // of a statement
	together = 40  // statements of a transaction
)

// fill stores people as an import does.
func (p *place) fill(ctx context.Context, pool *sql.DB, people int) error {
	db, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if p.server == nil {
		if _, err := db.ExecContext(ctx, "PRAGMA cache_size=-400000"); err != nil {
			return err
		}
		defer db.Raw(func(any) error { return driver.ErrBadConn }) // the cache goes with the connection
	}
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	for first := 0; first < people; first += rows * together {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for from := first; from < min(first+rows*together, people); from += rows {
			var users, unionIDs, identities []string
			for i := from; i < min(from+rows, people); i++ {
				id, openID, unionID := strconv.Itoa(i+1), wechatID("o", i), wechatID("u", i)
				users = append(users, "('"+id+"','member',"+now+","+now+")")
				unionIDs = append(unionIDs, "('','"+unionID+"','"+id+"')")
				identities = append(identities, "('"+appID+"','"+openID+"','','"+unionID+"','"+id+"',"+now+")")
			}
			for _, query := range []string{
				"INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES " + strings.Join(users, ","),
				"INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES " + strings.Join(unionIDs, ","),
				"INSERT INTO wxgate_identity (appid, openid, scope, unionid, owner_id, created) VALUES " + strings.Join(identities, ","),
			} {
				if _, err := tx.ExecContext(ctx, query); err != nil {
					return err
				}
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// settle does what the databases do by themselves in time.
func (p *place) settle(ctx context.Context, db *sql.DB) error {
	queries := []string{"PRAGMA wal_checkpoint(TRUNCATE)"}
	switch dbtest.Engine(p.engine) {
	case dbtest.Postgres:
		queries = []string{"VACUUM ANALYZE"}
	case dbtest.MariaDB:
		queries = []string{"ANALYZE TABLE wxgate_user, wxgate_unionid, wxgate_identity"}
	}
	for _, q := range queries {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}
