package account

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// opener opens a new database of one kind.
type opener func(testing.TB) *DB

// onEach runs a test on each kind of database.
func onEach(t *testing.T, f func(*testing.T, opener)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newDB) })
	onServers(t, f)
}

// onServers runs a test on each kind of database that is a server.
func onServers(t *testing.T, f func(*testing.T, opener)) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) { f(t, serverDB(t, e)) })
	}
}

// idle are databases that tests have used and emptied: a schema takes a server
// longer to make than most tests take. They are open, to the end of the process.
var idle struct {
	sync.Mutex
	dbs map[dbtest.Engine][]*DB
}

func serverDB(t testing.TB, e dbtest.Engine) opener {
	server := dbtest.Shared(t, e)
	return func(t testing.TB) *DB {
		t.Helper()
		idle.Lock()
		defer idle.Unlock()
		if idle.dbs == nil {
			idle.dbs = map[dbtest.Engine][]*DB{}
		}
		var db *DB
		if n := len(idle.dbs[e]); n > 0 {
			db, idle.dbs[e] = idle.dbs[e][n-1], idle.dbs[e][:n-1]
		} else {
			var err error
			db, err = Open(context.Background(), Config{URL: server.Create(t)})
			must(t, err)
		}
		must(t, db.Unlock(context.Background(), secrets{"first"}))
		t.Cleanup(func() {
			db.OnChange(nil)
			if empty(db) == nil { // a test may have closed it
				idle.Lock()
				defer idle.Unlock()
				idle.dbs[e] = append(idle.dbs[e], db)
			}
		})
		return db
	}
}

func openURL(t testing.TB, url string) *DB {
	t.Helper()
	db, err := Open(context.Background(), Config{URL: url})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.Unlock(context.Background(), secrets{"first"}))
	return db
}

// empty makes a database as if it had just been made.
func empty(db *DB) error {
	ctx := context.Background()
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var queries []string
	if db.name == "postgres" {
		var names []string
		for name := range tables() {
			names = append(names, "wxgate_"+name)
		}
		queries = append(queries, "TRUNCATE "+strings.Join(names, ", ")+" RESTART IDENTITY")
	} else {
		queries = append(queries, "SET foreign_key_checks = 0")
		for name := range tables() {
			queries = append(queries, "DELETE FROM wxgate_"+name)
		}
		queries = append(queries, "SET foreign_key_checks = 1",
			"ALTER TABLE wxgate_event AUTO_INCREMENT = 1", "ALTER TABLE wxgate_invalidation AUTO_INCREMENT = 1")
	}
	queries = append(queries, "INSERT INTO wxgate_event_head (id, seq, pruned) VALUES (1, 0, 0)", "INSERT INTO wxgate_id_block (first, next) VALUES (0, 0)",
		"INSERT INTO wxgate_event_settled (id, seq) VALUES (1, 0)")
	for _, q := range queries {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	db.ids = newIDSource(db, IDConfig{})
	return db.ids.claim(ctx)
}

// newWorldOn is newWorld in a database of one kind.
func newWorldOn(t testing.TB, open opener, rules Rules, given ...string) *world {
	return newWorldIn(t, open(t), rules, given...)
}
