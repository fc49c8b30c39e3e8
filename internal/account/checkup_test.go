package account

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wxgate/wxgate/internal/dbtest"
)

func TestCheckupOfADatabaseInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{FirstLogin: FirstLoginWeChat, Linking: OneToOne},
			"member U1", "identity oa x X U1", "identity mp y X U1", "guest V1 1", "visitor oa z V1")
		before := w.lines(`SELECT session_id FROM wxgate_revocation`)
		must(t, w.db.CheckWrite(context.Background()))
		must(t, w.db.CheckRead(context.Background()))
		diff(t, "what it has written", before, w.lines(`SELECT session_id FROM wxgate_revocation`))
		started := time.Now().Truncate(time.Millisecond)
		now, found, err := w.db.Clock(context.Background())
		must(t, err)
		if found == w.db.embedded || found && (now.Before(started.Add(-time.Second)) || now.After(time.Now().Add(time.Second))) {
			t.Errorf("its clock is at %v, found %t; ours at %v", now, found, started)
		}
		if free, found := w.db.Space(); found != w.db.embedded || found && free == 0 {
			t.Errorf("its disk has %d bytes, found %t", free, found)
		}
		for app, want := range map[string]UnionIDCount{"oa": {Known: 1, Unknown: 1}, "mp": {Known: 1}, "other": {}} {
			got, err := w.db.CountUnionIDs(context.Background(), app)
			must(t, err)
			diff(t, app, want, got)
		}
	})
}

func TestCheckupNamesAFullDisk(t *testing.T) {
	db := newDB(t)
	ctx := context.Background()
	var pages int
	must(t, db.write.QueryRow("PRAGMA page_count").Scan(&pages))
	_, err := db.write.Exec("PRAGMA max_page_count = " + strconv.Itoa(pages))
	must(t, err)
	for n := 0; err == nil; n++ { // what is free in the pages there are
		_, err = db.write.Exec(`INSERT INTO wxgate_revocation (session_id, dies, forget) VALUES (?, 0, 0)`, "x"+strconv.Itoa(1_000_000+n))
	}
	if err := db.CheckWrite(ctx); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("%v", err)
	}
	must(t, db.CheckRead(ctx))
}

// TestFullDisksOfServersAreNamed by the error that each has for it.
func TestFullDisksOfServersAreNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		d   dialect
		err error
	}{
		"postgres": {postgresDialect(), &pgconn.PgError{Code: "53100", Message: "could not extend file: No space left on device"}},
		"mysql":    {mysqlDialect(), &mysql.MySQLError{Number: 1021, Message: "Disk full (/tmp); waiting for someone to free some space"}},
		"innodb":   {mysqlDialect(), &mysql.MySQLError{Number: 1114, Message: "The table 'wxgate_user' is full"}},
	} {
		if got := tt.d.explain(tt.err); !strings.Contains(got.Error(), "the server's disk is full") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCheckupNamesADatabaseThatOnlyReads(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		db := newDB(t)
		_, err := db.write.Exec("PRAGMA query_only = 1")
		must(t, err)
		if err := db.CheckWrite(context.Background()); err == nil || !strings.Contains(err.Error(), "cannot be written") {
			t.Errorf("%v", err)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		server := dbtest.Start(t, dbtest.Postgres)
		db := openURL(t, server.Create(t))
		server.Standby(t)
		if err := db.CheckWrite(context.Background()); err == nil || !strings.Contains(err.Error(), "the server only reads") {
			t.Errorf("%v", err)
		}
		must(t, db.CheckRead(context.Background()))
	})
	t.Run("mariadb", func(t *testing.T) {
		server := dbtest.Shared(t, dbtest.MariaDB)
		db := openURL(t, server.Create(t))
		server.Exec(t, "SET GLOBAL read_only = 1")
		defer server.Exec(t, "SET GLOBAL read_only = 0")
		if err := db.CheckWrite(context.Background()); err == nil || !strings.Contains(err.Error(), "the server only reads") {
			t.Errorf("%v", err)
		}
	})
}

func TestCheckupNamesADatabaseThatIsGone(t *testing.T) {
	server := dbtest.Shared(t, dbtest.Postgres)
	url := server.Create(t)
	db := openURL(t, url)
	must(t, db.Close())
	if err := db.CheckRead(context.Background()); err == nil {
		t.Error("it can be read")
	}
	if _, _, err := db.Clock(context.Background()); err == nil {
		t.Error("its clock can be read")
	}
}
