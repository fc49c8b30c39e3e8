package account

import (
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// opener opens a new database of one kind.
type opener func(testing.TB) *DB

// onEach runs a test on each kind of database.
func onEach(t *testing.T, f func(*testing.T, opener)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newDB) })
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) { f(t, serverDB(t, e)) })
	}
}

// serverDB has the first database made beforehand, for a test that opens it
// where time does not pass.
func serverDB(t testing.TB, e dbtest.Engine) opener {
	server := dbtest.Shared(t, e)
	made := server.Database(t)
	return func(t testing.TB) *DB {
		t.Helper()
		url := made
		if made = ""; url == "" {
			url = server.Database(t)
		}
		return openURL(t, url)
	}
}

func openURL(t testing.TB, url string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{URL: url})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.Unlock(t.Context(), secrets{"first"}))
	return db
}

// newWorldOn is newWorld in a database of one kind.
func newWorldOn(t testing.TB, open opener, rules Rules, given ...string) *world {
	return newWorldIn(t, open(t), rules, given...)
}
