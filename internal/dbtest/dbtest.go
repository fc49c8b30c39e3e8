// Package dbtest gives tests real database servers of their own. A server is
// private to the test process: it runs as an unprivileged user in a temporary
// folder on a free port of the loopback interface, and it ends with the
// process, however that ends. A server that cannot start fails the test.
package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the drivers that administer the servers
	_ "github.com/jackc/pgx/v5/stdlib"
)

// Engine is a kind of database server.
type Engine string

const (
	Postgres Engine = "postgres"
	MariaDB  Engine = "mariadb"
)

// The administrator may do everything, the user only what he owns.
const (
	admin         = "admin"
	adminPassword = "admin"
	user          = "wxgate"
	password      = "pass word/with:@signs?#%"
)

const startTimeout = 2 * time.Minute // a busy machine is slow, a broken server exits

// Server is one database server.
type Server struct {
	engine  Engine
	process *process
	sql     *sql.DB // of the administrator
	made    atomic.Int64
}

// shared holds the servers that the tests of this process have in common.
var shared struct {
	sync.Mutex
	servers map[Engine]*Server
	failed  map[Engine]error
}

// Shared returns the server that all tests of this process have in common. It
// does not wait for the disk.
func Shared(t testing.TB, e Engine) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if s := shared.servers[e]; s != nil {
		return s
	}
	if shared.servers == nil {
		shared.servers, shared.failed = map[Engine]*Server{}, map[Engine]error{}
	}
	if err := shared.failed[e]; err != nil {
		t.Fatal(err)
	}
	s, err := start(e, false)
	if err != nil {
		shared.failed[e] = err
		t.Fatal(err)
	}
	shared.servers[e] = s
	return s
}

// Start returns a server of the test's own, which it may kill. An answer of it
// is on disk.
func Start(t testing.TB, e Engine) *Server {
	t.Helper()
	s, err := Run(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Run is Start for a program that is no test, which has to Close the server.
// Options go to the server's command line.
func Run(e Engine, options ...string) (*Server, error) { return start(e, true, options...) }

// Close ends the server and removes what it has kept.
func (s *Server) Close() {
	_ = s.sql.Close()
	s.process.remove()
}

func start(e Engine, durable bool, options ...string) (*Server, error) {
	install := installPostgres
	if e == MariaDB {
		install = installMariaDB
	}
	var last error
	for range 5 { // another process may take the port first
		p, err := install(durable)
		if err != nil {
			return nil, fmt.Errorf("installing %s: %w", e, err)
		}
		p.args = append(p.args, options...)
		s := &Server{engine: e, process: p}
		if last = s.begin(); last == nil {
			return s, nil
		}
		p.remove()
		if !errors.Is(last, errEnded) {
			break
		}
	}
	return nil, fmt.Errorf("starting %s: %w", e, last)
}

var errEnded = errors.New("the server has ended")

// begin starts the new server and makes the user.
func (s *Server) begin() (err error) {
	driver, dsn := "pgx", "postgres://"+admin+":"+adminPassword+"@"+s.Addr()+"/postgres"
	queries := []string{"CREATE ROLE " + user + " LOGIN PASSWORD '" + password + "'"}
	if s.engine == MariaDB {
		driver, dsn = "mysql", admin+":"+adminPassword+"@tcp("+s.Addr()+")/"
		queries = []string{"CREATE USER " + user + "@'127.0.0.1' IDENTIFIED BY '" + password + "'"}
	}
	if s.sql, err = sql.Open(driver, dsn); err != nil {
		return err
	}
	if err = s.run(); err != nil {
		return err
	}
	for _, q := range queries {
		if _, err = s.sql.Exec(q); err != nil {
			return err
		}
	}
	return nil
}

// run starts the process and waits until the server answers.
func (s *Server) run() error {
	if err := s.process.start(); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := s.sql.PingContext(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-s.process.ended:
			return fmt.Errorf("%w; its log says:\n%s", errEnded, s.process.log())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(begun) > startTimeout {
			return fmt.Errorf("%w; its log says:\n%s", err, s.process.log())
		}
	}
}

// Addr is where the server listens, as host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.process.port) }

// Database makes an empty database that goes with the test, and returns its URL
// as an operator would write it. Its user owns it and has no other rights.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	made := s.Create(t)
	t.Cleanup(func() { // the server may be dead
		_, _ = s.sql.Exec("DROP DATABASE IF EXISTS " + nameOf(made) + map[Engine]string{Postgres: " WITH (FORCE)"}[s.engine])
	})
	return made
}

// Create is Database for one that goes with the server, to be used again.
func (s *Server) Create(t testing.TB) string {
	t.Helper()
	made, err := s.Make()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Make is Create for a program that is no test.
func (s *Server) Make() (databaseURL string, err error) {
	name := "t" + strconv.FormatInt(s.made.Add(1), 10)
	queries := []string{"CREATE DATABASE " + name + " OWNER " + user}
	if s.engine == MariaDB {
		queries = []string{"CREATE DATABASE " + name, "GRANT ALL ON " + name + ".* TO " + user + "@'127.0.0.1'"}
	}
	for _, q := range queries {
		if _, err := s.sql.Exec(q); err != nil {
			return "", fmt.Errorf("%s: %w", q, err)
		}
	}
	return s.url(user, name), nil
}

// Connections counts the connections to a database.
func (s *Server) Connections(t testing.TB, databaseURL string) (n int) {
	t.Helper()
	query := "SELECT count(*) FROM pg_stat_activity WHERE datname = '" + nameOf(databaseURL) + "'"
	if s.engine == MariaDB {
		query = "SELECT count(*) FROM information_schema.processlist WHERE db = '" + nameOf(databaseURL) + "'"
	}
	if err := s.sql.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("counting connections: %v", err)
	}
	return n
}

// Disconnect ends all connections to a database, as an administrator may.
func (s *Server) Disconnect(t testing.TB, databaseURL string) {
	t.Helper()
	if s.engine == Postgres {
		s.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", nameOf(databaseURL))
	} else {
		s.kill(t, nameOf(databaseURL))
	}
	for s.Connections(t, databaseURL) > 0 {
		time.Sleep(time.Millisecond)
	}
}

func (s *Server) kill(t testing.TB, database string) {
	t.Helper()
	rows, err := s.sql.Query("SELECT id FROM information_schema.processlist WHERE db = ?", database)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		_, _ = s.sql.Exec("KILL " + strconv.Itoa(id)) // may have ended by itself
	}
}

func nameOf(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(u.Path, "/")
}

// URLFor is the URL of a database for another user, one that the test has made.
func (s *Server) URLFor(databaseURL, user string) string {
	return s.url(user, nameOf(databaseURL))
}

// Password is that of all users.
func (*Server) Password() string { return password }

// Exec runs a statement as the administrator.
func (s *Server) Exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := s.sql.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func (s *Server) url(user, database string) string {
	scheme := "postgres"
	if s.engine == MariaDB {
		scheme = "mysql"
	}
	u := url.URL{Scheme: scheme, User: url.UserPassword(user, password), Host: s.Addr(), Path: "/" + database}
	return u.String()
}

// Kill ends the server with SIGKILL, in the middle of whatever it does.
func (s *Server) Kill() { s.process.kill() }

// Freeze stops the server where it is: connections stay open and nothing
// answers. Thaw lets it go on.
func (s *Server) Freeze() { s.process.freeze() }

// Thaw ends a Freeze.
func (s *Server) Thaw() { s.process.thaw() }

// Restart starts a killed server again with what is on its disk.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatalf("restarting %s: %v", s.engine, err)
	}
}

// Standby kills a PostgreSQL server and starts it again as one that waits for a
// primary, and only reads.
func (s *Server) Standby(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := os.WriteFile(filepath.Join(s.process.dir, "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
}
