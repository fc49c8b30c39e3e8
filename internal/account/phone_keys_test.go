package account

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// secrets is a Sealer that hides nothing, so that a test sees which secret
// sealed what. The first is the newest.
type secrets []string

func (s secrets) Seal(plaintext []byte) string { return s[0] + ":" + hex.EncodeToString(plaintext) }

func (s secrets) Open(sealed string) ([]byte, bool) {
	by, written, _ := strings.Cut(sealed, ":")
	plaintext, err := hex.DecodeString(written)
	return plaintext, err == nil && slices.Contains(s, by)
}

func (s secrets) Newest(sealed string) bool { return strings.HasPrefix(sealed, s[0]+":") }

const herPhone Phone = "+8613800138000"

// keyOf is the index of a number.
func keyOf(t *testing.T, db *DB, p Phone) string {
	t.Helper()
	kept, err := db.phone(p)
	must(t, err)
	return kept.key
}

// sealedBy are the secrets that seal the data key, oldest first.
func sealedBy(t *testing.T, db *DB) (by []string) {
	t.Helper()
	for _, sealed := range linesOf(t, db, `SELECT sealed FROM wxgate_data_key ORDER BY id`) {
		secret, _, _ := strings.Cut(sealed, ":")
		by = append(by, secret)
	}
	return by
}

func TestChangingTheSecretChangesNoPhone(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t) // unlocked with first
		key := keyOf(t, db, herPhone)
		stored, err := db.phone(herPhone)
		must(t, err)
		sealed, hidden := stored.sealed("U1"), db.Hide("a name")

		for _, step := range []struct {
			secrets secrets
			want    []string
		}{
			{secrets{"first"}, []string{"first"}},                              // restarted
			{secrets{"second", "first"}, []string{"first", "second"}},          // a new one in front
			{secrets{"second", "first"}, []string{"first", "second"}},          // restarted
			{secrets{"second"}, []string{"first", "second"}},                   // the old one taken away
			{secrets{"first"}, []string{"first", "second"}},                    // all of it taken back
			{secrets{"first", "second"}, []string{"first", "second"}},          // the other way round
			{secrets{"third", "second"}, []string{"first", "second", "third"}}, // two at once
		} {
			must(t, db.Unlock(t.Context(), step.secrets))
			diff(t, "copies", step.want, sealedBy(t, db))
			if got := keyOf(t, db, herPhone); got != key {
				t.Errorf("with %v the index is %s, it was %s", step.secrets, got, key)
			}
			if got := db.Hide("a name"); got != hidden {
				t.Errorf("with %v a name is %s, it was %s", step.secrets, got, hidden)
			}
			if got, err := db.openPhone("U1", sealed); err != nil || got != herPhone {
				t.Errorf("with %v: %q, %v", step.secrets, string(got), err)
			}
		}
	})
}

func TestHiddenNamesAreKnownToTheDatabaseAlone(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		one, other := open(t), open(t)
		hidden := one.Hide(string(herPhone))
		if hidden != one.Hide(string(herPhone)) || hidden == other.Hide(string(herPhone)) || hidden == one.Hide(string(herPhone)+"1") {
			t.Error("a name is another's, or not its own")
		}
		sum := sha256.Sum256([]byte(herPhone))
		if len(hidden) != 64 || hidden == hex.EncodeToString(sum[:]) || hidden == keyOf(t, one, herPhone) {
			t.Errorf("%s can be guessed, or is in the database", hidden)
		}
	})
}

func TestCopiesUnderOldSecretsGo(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		must(t, db.Unlock(t.Context(), secrets{"second", "first"}))
		must(t, db.Prune(t.Context(), time.Now().Add(secretKept-time.Minute)))
		diff(t, "a while after", []string{"first", "second"}, sealedBy(t, db))
		must(t, db.Prune(t.Context(), time.Now().Add(secretKept+time.Minute)))
		diff(t, "long after", []string{"second"}, sealedBy(t, db))
		must(t, db.Prune(t.Context(), time.Now().Add(10*secretKept)))
		diff(t, "the only copy", []string{"second"}, sealedBy(t, db))
		must(t, db.Unlock(t.Context(), secrets{"second"}))
		if err := db.Unlock(t.Context(), secrets{"first"}); err == nil {
			t.Error("a secret that was replaced long ago still opens")
		}
	})
}

// TestTheCopyOfARunningInstanceStays while another, with an older configuration,
// was the last to start.
func TestTheCopyOfARunningInstanceStays(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		must(t, db.Unlock(t.Context(), secrets{"second", "first"}))
		running := db.dataKey.Load()
		must(t, db.Unlock(t.Context(), secrets{"first"}))
		for day := range 40 {
			for _, id := range []int64{running, db.dataKey.Load()} {
				db.dataKey.Store(id)
				must(t, db.Prune(t.Context(), time.Now().Add(time.Duration(day)*24*time.Hour)))
			}
		}
		diff(t, "copies", []string{"first", "second"}, sealedBy(t, db))
		for day := range 40 { // the older one is gone
			db.dataKey.Store(running)
			must(t, db.Prune(t.Context(), time.Now().Add(time.Duration(40+day)*24*time.Hour)))
		}
		diff(t, "copies", []string{"second"}, sealedBy(t, db))
		must(t, db.Unlock(t.Context(), secrets{"second"}))
	})
}

func TestAWrongSecretIsAnErrorThatSaysWhatIsLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	db, err := Open(t.Context(), Config{URL: "sqlite:" + path})
	must(t, err)
	defer db.Close()
	if _, err := db.phone(herPhone); err != errPhonesLocked {
		t.Errorf("before Unlock: %v", err)
	}
	if _, err := db.openPhone("U1", "x"); err != errPhonesLocked {
		t.Errorf("before Unlock: %v", err)
	}
	must(t, db.Unlock(t.Context(), secrets{"first"}))
	key := keyOf(t, db, herPhone)

	err = db.Unlock(t.Context(), secrets{"wrong", "wrong too"})
	for _, word := range []string{"phone numbers", "secret", "not among those configured", "lost", "docs/operations.md"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	diff(t, "copies", []string{"first"}, sealedBy(t, db))
	if got := keyOf(t, db, herPhone); got != key {
		t.Error("a configuration that was refused has changed the index")
	}
}

func TestAMissingDataKeyIsNotMadeAnewUnderStoredNumbers(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1")
		givePhone(t, w.db, "U1", herPhone)
		w.exec(`DELETE FROM wxgate_data_key`)
		err := w.db.Unlock(t.Context(), secrets{"first"})
		if err == nil || !strings.Contains(err.Error(), "wxgate_data_key") || !strings.Contains(err.Error(), "docs/operations.md") {
			t.Errorf("unlocked: %v", err)
		}
		diff(t, "copies", []string(nil), sealedBy(t, w.db))

		// What docs/operations.md says.
		w.exec(`UPDATE wxgate_user SET phone_key = NULL, phone_sealed = NULL`)
		must(t, w.db.Unlock(t.Context(), secrets{"first"}))
	})
}

// Many instances start on a new database at once, and then change the secret.
func TestADatabaseHasOneDataKey(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "accounts.db") },
		"postgres": func(t *testing.T) string { return dbtest.Shared(t, dbtest.Postgres).Database(t) },
		"mariadb":  func(t *testing.T) string { return dbtest.Shared(t, dbtest.MariaDB).Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			at := url(t)
			all := make([]*DB, 6)
			for i := range all {
				db, err := Open(t.Context(), Config{URL: at})
				must(t, err)
				defer db.Close()
				all[i] = db
			}
			unlockAll(t, all, secrets{"first"})
			key := keyOf(t, all[0], herPhone)
			unlockAll(t, all, secrets{"second", "first"})
			for _, db := range all {
				if got := keyOf(t, db, herPhone); got != key {
					t.Errorf("one instance has the index %s, another %s", key, got)
				}
			}
			diff(t, "copies", []string{"first", "second"}, sealedBy(t, all[0]))
		})
	}
}

func unlockAll(t *testing.T, all []*DB, s secrets) {
	t.Helper()
	var wg sync.WaitGroup
	for _, db := range all {
		wg.Go(func() {
			if err := db.Unlock(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Attack: who can write to the database gives himself the number of another
// user, or finds numbers by trying all of them.
func TestStoredNumbersAreBoundToTheirUserAndDatabase(t *testing.T) {
	db, other := newDB(t), newDB(t)
	stored, err := db.phone(herPhone)
	must(t, err)
	sealed := stored.sealed("U1")
	changed := "A" + sealed[1:]
	if changed == sealed {
		changed = "B" + sealed[1:]
	}
	for what, open := range map[string]func() (Phone, error){
		"another user":     func() (Phone, error) { return db.openPhone("U2", sealed) },
		"another database": func() (Phone, error) { return other.openPhone("U1", sealed) },
		"changed":          func() (Phone, error) { return db.openPhone("U1", changed) },
		"cut":              func() (Phone, error) { return db.openPhone("U1", sealed[:8]) },
		"no base64":        func() (Phone, error) { return db.openPhone("U1", "!") },
		"empty":            func() (Phone, error) { return db.openPhone("U1", "") },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opened as %q", what, string(got))
		} else if strings.Contains(err.Error(), sealed) || strings.Contains(err.Error(), string(herPhone[3:])) {
			t.Errorf("%s: the error tells too much: %v", what, err)
		}
	}
	if stored.key == keyOf(t, other, herPhone) {
		t.Error("two databases have the same index")
	}
	if stored.sealed("U1") == sealed {
		t.Error("two users with one number could be told by what is sealed")
	}
	diff(t, "the number", herPhone, func() Phone { p, err := db.openPhone("U1", sealed); must(t, err); return p }())
}

func TestOnlyTheOneFormOfANumberIsStored(t *testing.T) {
	db := newDB(t)
	for _, p := range []Phone{"13800138000", "+86 13800138000", "8613800138000", "+861065529988", "x", "+"} {
		if got, err := db.phone(p); err == nil || got != (phone{}) {
			t.Errorf("%q was taken", string(p))
		}
	}
	none, err := db.phone("")
	if err != nil || none != (phone{}) {
		t.Errorf("no number: %v, %v", none, err)
	}
}
