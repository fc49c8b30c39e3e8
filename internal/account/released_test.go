package account

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// Each version of the schema has, beside its migration, a dump of a database as
// that version leaves it, on each kind of database. A dump is never changed once
// its version is released.
var dumpSchema = flag.Bool("dump", false, "write the dumps of the present schema, unless they are there")

const dumps = "testdata/schemas"

// dumpPath is where the dump of a version is kept.
func dumpPath(version int64, dialect string) string {
	return filepath.Join(dumps, fmt.Sprintf("%05d", version), dialect+".sql")
}

// released are the versions that have dumps.
func released(t *testing.T) (versions []int64) {
	t.Helper()
	dirs, err := os.ReadDir(dumps)
	must(t, err)
	for _, d := range dirs {
		n, err := strconv.ParseInt(d.Name(), 10, 64)
		must(t, err)
		versions = append(versions, n)
	}
	return versions
}

// presentVersion is that of the last migration.
func presentVersion(t *testing.T, d dialect) int64 {
	t.Helper()
	pool := sql.OpenDB(&connector{}) // which nobody uses
	defer func() { must(t, pool.Close()) }()
	migrator, err := newMigrator(d, pool)
	must(t, err)
	return migrator.ListSources()[len(migrator.ListSources())-1].Version
}

func TestEveryReleasedSchemaIsBroughtUpToDate(t *testing.T) {
	onEachURL(t, func(t *testing.T, databaseURL string) {
		_, d, err := locate(databaseURL)
		must(t, err)
		present := presentVersion(t, d)
		if *dumpSchema {
			writeDump(t, databaseURL, dumpPath(present, d.name))
		}
		if _, err := os.Stat(dumpPath(present, d.name)); err != nil {
			t.Fatalf("version %d has no dump; write it: make schema-dump", present)
		}
		for _, version := range released(t) {
			t.Run(strconv.FormatInt(version, 10), func(t *testing.T) {
				old := another(t, databaseURL)
				load(t, old, dumpPath(version, d.name))
				diff(t, "the tables of the dump, and those that the migrations make (was a released migration changed? "+
					"add another one instead; before the release remove the dump and write it again: make schema-dump)",
					structureOf(t, old), structureAt(t, another(t, databaseURL), version))
				db := openURL(t, old)
				diff(t, "the tables after the start, and those of a new database", structureOf(t, old), structureAt(t, another(t, databaseURL), present))
				sampleIsServed(t, db)
			})
		}
	})
}

// another is a new database beside one.
func another(t *testing.T, databaseURL string) string {
	t.Helper()
	switch scheme, _, _ := strings.Cut(databaseURL, ":"); scheme {
	case "postgres":
		return dbtest.Shared(t, dbtest.Postgres).Database(t)
	case "mysql":
		return dbtest.Shared(t, dbtest.MariaDB).Database(t)
	}
	return "sqlite:" + filepath.Join(t.TempDir(), "accounts.db")
}

// sample are the people of a dump. Something stands in every table.
func sample(t *testing.T, db *DB) {
	w := newWorldIn(t, db, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "identity mp s s U1", "imported old i U1",
		"member U2", "identity oa y Y U2", "guest V1 1", "visitor oa v V1", "guest V2 2", "merged V2 U1", "member U3", "cancelled U3")
	ctx, ages := t.Context(), time.Now().AddDate(100, 0, 0)
	w.exec(`UPDATE wxgate_user SET last_seen = ?`, millis(ages))
	w.link(proved("oa", "y", "Y").as("U1")) // a conflict
	w.link(proved("oa", "new", "NEW").login())
	must(t, db.RevokeSession(ctx, "s", time.Now(), ages))
	must(t, db.RevokeUser(ctx, "U2", byOperator()))
	_, err := db.AddAssertionKey(ctx, AssertionKey{ID: "k", Algorithm: "ES256", Sealed: "sealed", CreatedAt: epoch, ActiveFrom: epoch, ExpiresAt: ages})
	must(t, err)
	k := join(t, db, "receiver", "a")
	w.link(proved("oa", "told", "TOLD"))
	must(t, tell(ctx, db, "U9", 9))
	k.park(batchOf(t, k))
	asks := Rules{MakeUserID: func(context.Context, Newcomer) (string, error) { return "", errors.New("the shop is busy") }}
	_, err = db.Link(ctx, asks, proved("oa", "asked", "ASKED").login())
	must(t, err)
	_, err = db.KeepProfile(ctx, Profile{AppID: "oa", OpenID: "x", Nickname: "li"})
	must(t, err)
	for table := range tables() {
		if len(w.lines(`SELECT 1 FROM wxgate_`+table)) == 0 {
			t.Errorf("nothing stands in %s", table)
		}
	}
}

// sampleIsServed finds the people of a dump again.
func sampleIsServed(t *testing.T, db *DB) {
	w := &world{t: t, db: db, rules: Rules{PhoneIdle: 200 * 365 * 24 * time.Hour}, names: map[string]string{}, made: map[Kind]int{}}
	for _, c := range []struct {
		what, want string
		in         Input
	}{
		{"by unionid", "U1, ok", proved("oa", "x", "X")},
		{"by openid", "U1, ok", at("oa", "x")},
		{"by a stand-in", "U1, ok", at("mp", "s")},
		{"by phone", "U1, ok", Input{Outside: true}.with("p1")},
		{"imported", "U1, unionid_missing", at("old", "i")},
		{"a guest", "V1, guest", at("oa", "v")},
		{"in another app", "U2, ok, linked mp/y", proved("mp", "y", "Y")},
	} {
		diff(t, c.what, c.want, w.said(w.link(c.in)))
	}
	diff(t, "revoked session", "dead", w.resolved(SessionRef{ID: "s", UserID: "U1", Kind: Member}))
	diff(t, "cancelled", "dead", w.resolved(SessionRef{ID: "t", UserID: "U3", Kind: Member}))
	diff(t, "merged", "member U1 with a phone", w.resolved(SessionRef{ID: "t", UserID: "V2", Kind: Guest, UnionID: "X"}))
	diff(t, "operations", []string{"revoke U2: ticket 12"}, w.operations())
	diff(t, "copies that are not true", []string(nil), readUntrue(t, db.read))
	conflicts, err := db.Conflicts(t.Context(), false, Page{})
	must(t, err)
	keys, err := db.AssertionKeys(t.Context())
	must(t, err)
	id, err := db.NewGuestID(t.Context())
	must(t, err)
	diff(t, "open conflicts, keys, a new id above those given out", []bool{true, true, true}, []bool{len(conflicts) == 1, len(keys) == 1, id > "1000000999"})
	out := w.link(proved("oa", "newer", "NEWER").login())
	diff(t, "a newcomer", Member, out.Kind)
}

// structureAt is the structure of a new database at a version.
func structureAt(t *testing.T, databaseURL string, version int64) []string {
	t.Helper()
	where, d, err := locate(databaseURL)
	must(t, err)
	write, read, err := d.open(where)
	must(t, err)
	defer func() { must(t, errors.Join(read.Close(), write.Close())) }()
	migrator, err := newMigrator(d, write)
	must(t, err)
	_, err = migrator.UpTo(t.Context(), version)
	must(t, err)
	return structureOf(t, databaseURL)
}

// structureOf describes the tables of a database, in its own words.
func structureOf(t *testing.T, databaseURL string) (lines []string) {
	t.Helper()
	where, d, err := locate(databaseURL)
	must(t, err)
	write, read, err := d.open(where)
	must(t, err)
	defer func() { must(t, errors.Join(read.Close(), write.Close())) }()
	db := &DB{dialect: d, write: write, read: read}
	switch d.name {
	case "sqlite":
		return linesOf(t, db, `SELECT sql FROM sqlite_master WHERE name LIKE 'wxgate_%' AND sql IS NOT NULL ORDER BY name`)
	case "postgres":
		return linesOf(t, db, `
			SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || coalesce(collation_name, '-') || ' ' || is_nullable || ' ' ||
				coalesce(column_default, '-') || ' ' || is_identity
			FROM information_schema.columns WHERE table_name LIKE 'wxgate_%'
			UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'wxgate_%'
			UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid::regclass::text LIKE 'wxgate_%'
			ORDER BY 1`)
	}
	for _, table := range linesOf(t, db, `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1`) {
		var name, made string
		must(t, write.QueryRow("SHOW CREATE TABLE "+table).Scan(&name, &made))
		lines = append(lines, regexp.MustCompile(` AUTO_INCREMENT=\d+`).ReplaceAllString(made, ""))
	}
	return lines
}

// load fills an empty database with a dump.
func load(t *testing.T, databaseURL, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	where, d, err := locate(databaseURL)
	must(t, err)
	switch d.name {
	case "postgres":
		conn, err := pgx.Connect(t.Context(), databaseURL)
		must(t, err)
		_, err = conn.PgConn().Exec(t.Context(), string(raw)).ReadAll()
		must(t, errors.Join(err, conn.Close(t.Context())))
		return
	case "mysql":
		cfg, err := mysqlConfig(where.at)
		must(t, err)
		cfg.MultiStatements = true
		connector, err := mysql.NewConnector(cfg)
		must(t, err)
		execAll(t, sql.OpenDB(connector), string(raw))
		return
	}
	pool, err := sql.Open("sqlite", where.path)
	must(t, err)
	execAll(t, pool, string(raw))
}

func execAll(t *testing.T, pool *sql.DB, query string) {
	t.Helper()
	_, err := pool.Exec(query)
	must(t, errors.Join(err, pool.Close()))
}

// writeDump makes the people of a dump and dumps them, unless there is one.
func writeDump(t *testing.T, databaseURL, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	sample(t, openURL(t, databaseURL))
	where, d, err := locate(databaseURL)
	must(t, err)
	var cmd *exec.Cmd
	switch d.name {
	case "postgres":
		cmd = exec.Command("pg_dump", "--inserts", "--no-owner", "--no-privileges", databaseURL)
	case "mysql":
		secret, _ := where.at.User.Password()
		cmd = exec.Command("mariadb-dump", "--no-defaults", "--host="+where.at.Hostname(), "--port="+where.at.Port(), "--user="+where.at.User.Username(),
			"--default-character-set=utf8mb4", "--skip-dump-date", "--single-transaction", "--no-tablespaces", where.at.Path[1:])
		cmd.Env = append(os.Environ(), "MYSQL_PWD="+secret)
	default:
		cmd = exec.Command("sqlite3", where.path, ".dump")
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	// What only the program of the database understands is left out.
	kept := regexp.MustCompile(`(?m)^(\\.*|--.*|/\*M!999999.*|)\n`).ReplaceAllString(out.String(), "")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(kept), 0o644))
}
