package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// refused opens a database that cannot be opened, and returns what is said.
func refused(t *testing.T, databaseURL string) string {
	t.Helper()
	db, err := Open(t.Context(), Config{URL: databaseURL})
	if err == nil {
		must(t, db.Close())
		t.Error("opened")
		return ""
	}
	u, parsed := url.Parse(databaseURL)
	must(t, parsed)
	secret, _ := u.User.Password()
	_, written, _ := strings.Cut(u.User.String(), ":")
	for _, s := range []string{secret, written} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the password stands in %q", err)
		}
	}
	return err.Error()
}

// with changes the URL of a database.
func with(t *testing.T, databaseURL string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	change(u)
	return u.String()
}

// login is a user of the server who has no rights but those that are granted.
func login(t *testing.T, e dbtest.Engine, databaseURL string, grants ...string) string {
	t.Helper()
	server := dbtest.Shared(t, e)
	name := "u" + strings.TrimPrefix(with(t, databaseURL, func(u *url.URL) { *u = url.URL{Path: u.Path} }), "/")
	create := "CREATE ROLE %s LOGIN PASSWORD 'hush!'"
	if e == dbtest.MariaDB {
		create = "CREATE USER %s@'127.0.0.1' IDENTIFIED BY 'hush!'"
	}
	server.Exec(t, fmt.Sprintf(create, name))
	for _, g := range grants {
		server.Exec(t, strings.ReplaceAll(g, "USER", name))
	}
	return with(t, databaseURL, func(u *url.URL) { u.User = url.UserPassword(name, "hush!") })
}

func TestAServerThatCannotBeOpenedIsToldOf(t *testing.T) {
	// One that accepts connections and says nothing.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer mute.Close()
	go func() {
		for {
			c, err := mute.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			there := dbtest.Shared(t, e).Database(t)
			soon := map[dbtest.Engine]string{dbtest.Postgres: "connect_timeout=1&sslmode=disable", dbtest.MariaDB: "timeout=1s"}[e]
			for _, c := range []struct {
				name, want string
				change     func(*url.URL)
			}{
				{"nobody listens", "the server cannot be reached", func(u *url.URL) { u.Host = "127.0.0.1:1" }},
				{"nobody answers", "the server does not answer", func(u *url.URL) { u.Host, u.RawQuery = mute.Addr().String(), soon }},
				{"no such host", "the server cannot be reached", func(u *url.URL) { u.Host = "nobody.invalid" }},
				{"another password", "the server refuses the user or his password", func(u *url.URL) { u.User = url.UserPassword("wxgate", "another one") }},
				{"no password", "the server refuses the user or his password", func(u *url.URL) { u.User = url.User("wxgate") }},
				{"nobody of that name", "the server refuses the user or his password", func(u *url.URL) { u.User = url.UserPassword("nobody", "hush!") }},
				{"no such database", map[dbtest.Engine]string{dbtest.Postgres: "create it first", dbtest.MariaDB: "the database does not exist or the user may not use it"}[e],
					func(u *url.URL) { u.Path = "/nothing" }},
				{"an option that is none", "its options are not understood", func(u *url.URL) {
					u.RawQuery = map[dbtest.Engine]string{dbtest.Postgres: "sslmode=hush", dbtest.MariaDB: "parseTime=hush"}[e]
				}},
			} {
				t.Run(c.name, func(t *testing.T) {
					changed := with(t, there, c.change)
					u, err := url.Parse(changed)
					must(t, err)
					said := ""
					if _, ok := u.User.Password(); ok {
						said = refused(t, changed)
					} else if _, err := Open(t.Context(), Config{URL: changed}); err != nil {
						said = err.Error()
					}
					if !strings.Contains(said, c.want) || !strings.Contains(said, u.Host) {
						t.Errorf("got %q, want it to name %q and say %q", said, u.Host, c.want)
					}
				})
			}
		})
	}
}

func TestAUserWhoLacksRightsIsToldWhatHeNeeds(t *testing.T) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			server := dbtest.Shared(t, e)
			there := server.Database(t)
			database := with(t, there, func(u *url.URL) { *u = url.URL{Path: u.Path} })[1:]
			var few string
			if e == dbtest.Postgres {
				few = login(t, e, there, "GRANT CONNECT ON DATABASE "+database+" TO USER")
			} else {
				few = login(t, e, there, "GRANT SELECT, INSERT ON "+database+".* TO USER@'127.0.0.1'")
			}
			if said := refused(t, few); !strings.Contains(said, "the user lacks rights") || !strings.Contains(said, "CREATE") {
				t.Errorf("on an empty database: %q", said)
			}
			owner := openURL(t, there)
			if said := refused(t, few); !strings.Contains(said, "the user lacks rights") {
				t.Errorf("on tables of another user: %q", said)
			}
			if e == dbtest.Postgres {
				u, err := url.Parse(few)
				must(t, err)
				for _, grant := range []string{"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"} {
					_, err = owner.write.Exec("GRANT " + grant + " IN SCHEMA public TO " + u.User.Username())
					must(t, err)
				}
			} else {
				few = with(t, few, func(u *url.URL) {
					server.Exec(t, "GRANT UPDATE, DELETE ON "+database+".* TO "+u.User.Username()+"@'127.0.0.1'")
				})
			}
			out, err := openURL(t, few).Link(t.Context(), Rules{}, proved("oa", "x", "X").login())
			must(t, err)
			diff(t, "with rights on the tables", Member, out.Kind)
		})
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		db := openURL(t, url)
		_, err := db.write.Exec(`INSERT INTO wxgate_schema (version_id, is_applied) VALUES (99, ?)`, true)
		must(t, err)
		want := fmt.Sprint("schema has version 99 and this program knows ", presentVersion(t, sqliteDialect()))
		if _, err := Open(t.Context(), Config{URL: url}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	})
}

// Around a reload two configurations open one database, and two processes may.
func TestManyOpenersOfANewDatabase(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		dbs, errs := make([]*DB, 8), make([]error, 8)
		var wg sync.WaitGroup
		for i := range dbs {
			wg.Go(func() { dbs[i], errs[i] = Open(t.Context(), Config{URL: url}) })
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		for i, db := range dbs {
			t.Cleanup(func() { must(t, db.Close()) })
			out, err := db.Link(t.Context(), Rules{}, proved("oa", "x", "X"))
			must(t, err)
			if first := i == 0; first != (len(out.Events) == 1) {
				t.Errorf("opener %d sees %+v", i, out)
			}
		}
		want := []string{"0"} // of goose's own
		for n := range presentVersion(t, sqliteDialect()) {
			want = append(want, fmt.Sprint(n+1))
		}
		diff(t, "versions applied", want, linesOf(t, dbs[0], `SELECT version_id FROM wxgate_schema ORDER BY id`))
	})
}

func TestADatabaseOfAnotherEncoding(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		server := dbtest.Shared(t, dbtest.Postgres)
		for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
			there := server.Database(t)
			name := with(t, there, func(u *url.URL) { *u = url.URL{Path: u.Path} })[1:]
			server.Exec(t, "DROP DATABASE "+name)
			server.Exec(t, "CREATE DATABASE "+name+" OWNER wxgate ENCODING '"+encoding+"' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
			if said := refused(t, there); !strings.Contains(said, "its encoding is "+encoding+"; create it with ENCODING 'UTF8'") {
				t.Errorf("got %q", said)
			}
		}
	})
	t.Run("mariadb", func(t *testing.T) {
		server := dbtest.Shared(t, dbtest.MariaDB)
		there := server.Database(t)
		name := with(t, there, func(u *url.URL) { *u = url.URL{Path: u.Path} })[1:]
		server.Exec(t, "ALTER DATABASE "+name+" CHARACTER SET latin1 COLLATE latin1_swedish_ci")
		w := newWorldIn(t, openURL(t, there), Rules{}, "member U1")
		tellsIDsApart(t, w.db)
		must(t, w.db.RevokeUser(t.Context(), "U1", By{Operator: true, Reason: "他丢了手机 🙂", Name: "wang"}))
		diff(t, "recorded", []string{"revoke U1: 他丢了手机 🙂"}, w.operations())
	})
}

// lookalikes are ids that some collation takes for one.
func lookalikes() []string {
	return []string{"o", "O", "o ", "ó", "o\u0301", "ö", "o\u200b", "ｏ", "o_", "o%", "0"}
}

// tellsIDsApart makes a person of each of them.
func tellsIDsApart(t *testing.T, db *DB) {
	t.Helper()
	seen := map[string]string{}
	for round := range 2 {
		for _, id := range lookalikes() {
			out, err := db.Link(t.Context(), Rules{}, proved("oa", id, "u"+id).login())
			must(t, err)
			if known := seen[out.UserID]; known != "" && known != id {
				t.Errorf("%q and %q are one person", known, id)
			}
			if round == 1 && seen[out.UserID] != id {
				t.Errorf("%q is somebody else the second time", id)
			}
			seen[out.UserID] = id
		}
	}
	diff(t, "stored", sorted(lookalikes()), sorted(linesOf(t, db, `SELECT openid FROM wxgate_identity`)))
}

func TestIDsAreComparedByteForByte(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		emptyDB(t, db)
		tellsIDsApart(t, db)
	})
}

// Whatever the server, the database or the user presets, all goes as usual.
func TestSettingsOfTheServerChangeNothing(t *testing.T) {
	settings := map[dbtest.Engine][]string{
		dbtest.Postgres: {
			"ALTER ROLE wxgate SET timezone = 'Asia/Kolkata'", "ALTER ROLE wxgate SET default_transaction_isolation = 'serializable'",
			"ALTER ROLE wxgate SET default_transaction_read_only = on", "ALTER ROLE wxgate SET default_transaction_deferrable = on",
			"ALTER ROLE wxgate SET search_path = nowhere", "ALTER ROLE wxgate SET statement_timeout = 1", "ALTER ROLE wxgate SET lock_timeout = 1",
			"ALTER ROLE wxgate SET idle_in_transaction_session_timeout = 1", "ALTER ROLE wxgate SET client_encoding = 'LATIN1'",
			"ALTER ROLE wxgate SET standard_conforming_strings = off", "ALTER ROLE wxgate SET datestyle = 'German'",
			"ALTER ROLE wxgate SET synchronous_commit = off", "ALTER ROLE wxgate SET bytea_output = 'escape'",
		},
		dbtest.MariaDB: {
			"SET GLOBAL sql_mode = ''", "SET GLOBAL autocommit = 0", "SET GLOBAL tx_isolation = 'SERIALIZABLE'", "SET GLOBAL tx_read_only = 1",
			"SET GLOBAL time_zone = '+05:30'", "SET GLOBAL foreign_key_checks = 0", "SET GLOBAL unique_checks = 0",
			"SET GLOBAL sql_select_limit = 1", "SET GLOBAL sql_safe_updates = 1", "SET GLOBAL sql_auto_is_null = 1", "SET GLOBAL completion_type = 'RELEASE'",
			"SET GLOBAL max_statement_time = 0.001", "SET GLOBAL innodb_lock_wait_timeout = 1", "SET GLOBAL idle_transaction_timeout = 1",
			"SET GLOBAL character_set_server = latin1", "SET GLOBAL collation_server = latin1_swedish_ci", "SET GLOBAL collation_connection = latin1_swedish_ci",
			"SET GLOBAL default_storage_engine = 'MyISAM'", "SET GLOBAL max_join_size = 1",
		},
	}
	for e, queries := range settings {
		t.Run(string(e), func(t *testing.T) {
			server := dbtest.Start(t, e)
			for _, q := range queries {
				server.Exec(t, q)
			}
			db := openURL(t, server.Database(t))
			runCases(t, func(testing.TB) *DB { return db })
			emptyDB(t, db)
			tellsIDsApart(t, db)
			constraintsHaveTheLastWord(t, func(testing.TB) *DB { return db })
			if e == dbtest.Postgres {
				diff(t, "of a commit and of tables", []string{"on public"}, linesOf(t, db,
					`SELECT current_setting('synchronous_commit') || ' ' || schemaname FROM pg_tables WHERE tablename = 'wxgate_user'`))
			}
		})
	}
}

func TestTablesMayLieInASchemaOfTheirOwn(t *testing.T) {
	there := dbtest.Shared(t, dbtest.Postgres).Database(t)
	_, err := openURL(t, there).write.Exec(`CREATE SCHEMA gateway`)
	must(t, err)
	db := openURL(t, with(t, there, func(u *url.URL) { u.RawQuery = "search_path=gateway" }))
	diff(t, "schemas", []string{"gateway", "public"}, linesOf(t, db, `SELECT schemaname FROM pg_tables WHERE tablename = 'wxgate_user' ORDER BY 1`))
	tellsIDsApart(t, db)
}

func TestAPoolHoldsNoMoreThanItsConnections(t *testing.T) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			server := dbtest.Shared(t, e)
			url := server.Database(t)
			db := openURL(t, url)
			var inside, done sync.WaitGroup
			inside.Add(maxConnections)
			letGo := make(chan struct{})
			for range maxConnections {
				done.Go(func() {
					must(t, db.inReadTx(context.Background(), func(*sql.Tx) error { inside.Done(); <-letGo; return nil }))
				})
			}
			inside.Wait()
			for range 10 {
				done.Go(func() { must(t, db.Ping(context.Background())) })
			}
			diff(t, "connections", maxConnections, server.Connections(t, url))
			close(letGo)
			done.Wait()
			diff(t, "connections afterwards", maxConnections, server.Connections(t, url))
		})
	}
}
