package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func tryOpen(t *testing.T, path string) (*DB, error) {
	t.Helper()
	db, err := Open(t.Context(), Config{URL: "sqlite:" + path})
	if err == nil {
		t.Cleanup(func() { must(t, db.Close()) })
	}
	return db, err
}

func TestOpenSaysWhatToMend(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	// A database of ours, to be spoilt.
	ours := filepath.Join(dir, "ours.db")
	db, err := Open(t.Context(), Config{URL: "sqlite:" + ours})
	must(t, err)
	_, err = db.write.Exec(`INSERT INTO wxgate_schema (version_id, is_applied) VALUES (99, 1)`)
	must(t, err)
	must(t, db.Close())
	sound := filepath.Join(dir, "sound.db")
	db, err = Open(t.Context(), Config{URL: "sqlite:" + sound})
	must(t, err)
	must(t, db.Close())
	image, err := os.ReadFile(sound)
	must(t, err)
	image[18] = 3 // a write version from the future: SQLite reads such a file and never writes it

	for _, c := range []struct{ name, path, want string }{
		{"no path", "", "no path"},
		{"no directory", filepath.Join(dir, "missing", "a.db"), filepath.Join(dir, "missing") + " does not exist"},
		{"a directory without room for files", "/proc/a.db", "no file can be made in the directory /proc"},
		{"a directory", dir, "is a directory"},
		{"not a database", write("text.db", []byte(strings.Repeat("this is a text file\n", 100))), "not a SQLite database"},
		{"a newer schema", ours, fmt.Sprint("schema has version 99 and this program knows ", presentVersion(t, sqliteDialect()))},
		{"read-only", write("readonly.db", image), "cannot be written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tryOpen(t, c.path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("got %v, want it to name %q and say %q", err, c.path, c.want)
			}
		})
	}
}

func TestOpenSetsUpEveryConnection(t *testing.T) {
	// Characters that mean something in a URI are part of the name.
	path := filepath.Join(t.TempDir(), "a b?c#d%20e&f.db")
	db, err := tryOpen(t, path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %o", info.Mode().Perm())
	}
	must(t, db.Ping(t.Context()))
	for name, pool := range map[string]*sql.DB{"read": db.read, "write": db.write} {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "wal_autocheckpoint": "4000"} {
			var got string
			must(t, pool.QueryRow("PRAGMA "+pragma).Scan(&got))
			diff(t, name+" "+pragma, want, got)
		}
	}
	if _, err := db.read.Exec(`DELETE FROM wxgate_user`); err == nil {
		t.Error("a reading connection writes")
	}
	must(t, db.Close())
	if err := db.Ping(t.Context()); err == nil {
		t.Error("a closed database answers")
	}
	again, err := tryOpen(t, path)
	must(t, err)
	must(t, again.Ping(t.Context()))
}

// What another process holds must not hold a visitor beyond his deadline.
func TestADeadlineEndsTheWaitForALockedDatabase(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "identity oa x X U1")
	path := w.lines(`SELECT file FROM pragma_database_list WHERE name = 'main'`)[0]
	other, err := tryOpen(t, path)
	must(t, err)
	tx, err := other.write.BeginTx(t.Context(), nil)
	must(t, err)
	var letGo atomic.Bool
	holder := time.AfterFunc(4*time.Second, func() { letGo.Store(true); _ = tx.Rollback() })

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	now := time.Now()
	for _, f := range []func() error{
		func() error { _, err := w.db.Link(ctx, Rules{}, proved("oa", "y", "Y")); return err },
		func() error { _, err := w.db.NewGuestID(ctx); return err },
		func() error { return w.db.RevokeSession(ctx, "s", now, now) },
	} {
		if err := f(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline to be exceeded", err)
		}
	}
	if letGo.Load() {
		t.Error("the callers waited for the lock and not for their deadline")
	}
	out, err := w.db.Link(t.Context(), Rules{}, proved("oa", "x", "X"))
	must(t, err)
	diff(t, "a known visitor meanwhile", "U1, ok", w.said(out))
	if holder.Stop() {
		must(t, tx.Rollback())
	}
	diff(t, "afterwards", "V+1, guest, linked oa/y", w.said(w.link(proved("oa", "y", "Y"))))
}

func TestConstraintsHaveTheLastWord(t *testing.T) { onEach(t, constraintsHaveTheLastWord) }

func constraintsHaveTheLastWord(t *testing.T, open opener) {
	w := newWorldOn(t, open, Rules{}, "member U1", "member U2", "identity oa x X U1", "guest V1 1", "visitor oa y V1")
	for what, query := range map[string]string{
		"a second user of a unionid":         `INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES ('', 'X', 'U2')`,
		"a second unionid of a user":         `INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES ('', 'Y', 'U1')`,
		"a second member of a phone":         `UPDATE wxgate_user SET phone_key = 'k'`,
		"a second openid of a unionid":       `INSERT INTO wxgate_identity (appid, openid, unionid, created) VALUES ('oa', 'z', 'X', 0)`,
		"a second identity of an openid":     `INSERT INTO wxgate_identity (appid, openid, user_id, created) VALUES ('oa', 'x', 'U2', 0)`,
		"an identity with a user of its own": `UPDATE wxgate_identity SET user_id = 'U2' WHERE openid = 'x'`,
		"an identity of nobody":              `INSERT INTO wxgate_identity (appid, openid, created) VALUES ('oa', 'z', 0)`,
		"an identity of an unknown unionid":  `INSERT INTO wxgate_identity (appid, openid, unionid, created) VALUES ('oa', 'z', 'Q', 0)`,
		"a user who is not there":            `INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES ('', 'Y', 'U9')`,
		"a second guest of a visitor":        `INSERT INTO wxgate_visitor (appid, openid, guest_id, created) VALUES ('oa', 'y', 'V1', 0)`,
		"a merge without a time":             `UPDATE wxgate_user SET merged_into = 'U1' WHERE id = 'V1'`,
		"another kind of user":               `UPDATE wxgate_user SET kind = 'admin' WHERE id = 'U1'`,
		"a user who is pointed at goes":      `DELETE FROM wxgate_user WHERE id = 'U1'`,
	} {
		if _, err := w.db.write.Exec(query); err == nil {
			t.Errorf("%s was stored", what)
		}
	}
	w.exec(`INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES ('', 'x', NULL)`) // differs from X
	w.exec(`INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES ('mp', 'Y', 'U1')`)
}

func TestAssertionKeysAtRest(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		ctx := t.Context()
		at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.FixedZone("CST", 8*3600))
		key := AssertionKey{ID: "k1", Algorithm: "ES256", Sealed: "sealed", CreatedAt: at, ActiveFrom: at.Add(time.Hour), ExpiresAt: at.Add(48 * time.Hour)}
		add := func(k AssertionKey) bool {
			t.Helper()
			added, err := w.db.AddAssertionKey(ctx, k)
			must(t, err)
			return added
		}
		rival, other := key, key
		rival.ID = "k2"
		other.ID, other.Algorithm = "k3", "RS256"
		diff(t, "added: the first, itself again, a rival, another algorithm", []bool{true, false, false, true},
			[]bool{add(key), add(key), add(rival), add(other)})
		must(t, w.db.DeleteAssertionKey(ctx, "k3"))
		must(t, w.db.DeleteAssertionKey(ctx, "k3"))
		late := key
		late.Sealed = "by who comes late"
		key.Sealed = "anew"
		must(t, w.db.ResealAssertionKey(ctx, key, "sealed"))
		must(t, w.db.ResealAssertionKey(ctx, late, "sealed"))
		keys, err := w.db.AssertionKeys(ctx)
		must(t, err)
		key.CreatedAt, key.ActiveFrom, key.ExpiresAt = key.CreatedAt.UTC(), key.ActiveFrom.UTC(), key.ExpiresAt.UTC()
		if len(keys) != 1 || keys[0] != key {
			t.Errorf("stored %+v, want %+v", keys, key)
		}
	})
}

func TestOneOfManyMakersOfTheFirstKeyWins(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		added, errs := make([]bool, 8), make([]error, 8)
		var wg sync.WaitGroup
		for i := range added {
			wg.Go(func() {
				added[i], errs[i] = w.db.AddAssertionKey(t.Context(), AssertionKey{ID: string(rune('a' + i)), Algorithm: "ES256", ActiveFrom: birthday(0)})
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		var won int
		for _, a := range added {
			if a {
				won++
			}
		}
		keys, err := w.db.AssertionKeys(t.Context())
		must(t, err)
		diff(t, "winners and keys", []int{1, 1}, []int{won, len(keys)})
	})
}
