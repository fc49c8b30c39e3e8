package account

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// opened is a database of the test that is opened again and again, as by one
// configuration after another.
type opened struct {
	t   *testing.T
	url string
}

// openedOnEach runs a test on each kind of database. newOne makes one.
func openedOnEach(t *testing.T, f func(t *testing.T, newOne func(*testing.T) opened)) {
	t.Run("sqlite", func(t *testing.T) {
		f(t, func(t *testing.T) opened { return opened{t, "sqlite:" + filepath.Join(t.TempDir(), "ids.db")} })
	})
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			url := dbtest.Shared(t, e).Database(t)
			f(t, func(t *testing.T) opened {
				o := opened{t, url}
				o.with(IDConfig{UUID: true}, func(db *DB) {
					w := newWorldIn(t, db, Rules{})
					w.exec(`DELETE FROM wxgate_id_block WHERE first > 0`)
				})
				return o
			})
		})
	}
}

func (o opened) open(ids IDConfig) (*DB, error) {
	return Open(o.t.Context(), Config{URL: o.url, IDs: ids})
}

// with runs f in a configuration.
func (o opened) with(ids IDConfig, f func(*DB)) {
	o.t.Helper()
	db, err := o.open(ids)
	must(o.t, err)
	f(db)
	must(o.t, db.Close())
}

func storeMember(t *testing.T, db *DB, id string) {
	t.Helper()
	_, err := db.write.Exec(`INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES (?, 'member', 0, 0)`, id)
	must(t, err)
}

func takeID(t *testing.T, db *DB) string {
	t.Helper()
	id, err := db.NewGuestID(t.Context())
	must(t, err)
	return id
}

// The ids of a shop, as an import or its own database brought them.
func TestStartUpRefusesABlockThatHoldsTheShopsIDs(t *testing.T) {
	openedOnEach(t, func(t *testing.T, newOne func(*testing.T) opened) {
		uuid := IDConfig{UUID: true}
		from := func(start int64) IDConfig { return IDConfig{Start: start} }
		for _, tt := range []struct {
			name    string
			shops   []string
			given   []IDConfig // configurations that were there before, each having given out an id
			then    IDConfig
			refused string // the id; empty: none
			next    string // the id given then
		}{
			{"ids below", []string{"1", "999", "4999"}, nil, from(5000), "", "5000"},
			{"an id at the start", []string{"5000"}, nil, from(5000), "5000", ""},
			{"an id above: the highest is named", []string{"7", "5001", "123456", "99999"}, nil, from(5000), "123456", ""},
			{"ids that are no numbers, or not as the gateway writes them", []string{"u5001", "05001", "5001a", "5001.0", "+5001", "-5001", "5 001",
				"５００１", "0x5001", "9e9", "10000000000000000000", "5001000000000000000000"}, nil, from(5000), "", "5000"},
			{"no numbers are given", []string{"5001"}, nil, uuid, "", ""},
			{"the gateway's own ids", nil, []IDConfig{from(5000)}, from(5000), "", "6000"},
			{"its own, and a lower start", nil, []IDConfig{from(5000)}, from(100), "", "6000"},
			{"its own, and a higher start", nil, []IDConfig{from(5000)}, from(9000), "", "9000"},
			{"its own, and a start among them", nil, []IDConfig{from(5000)}, from(5500), "", "6000"},
			{"its own from two starts, and the first again", nil, []IDConfig{from(5000), from(9000)}, from(5000), "", "10000"},
			{"the shop's between two starts, and the first again", []string{"7000"}, []IDConfig{from(9000)}, from(5000), "7000", ""},
			{"the shop's between two starts", []string{"7000"}, []IDConfig{from(9000)}, from(20_000), "", "20000"},
			{"a number too large to be given", []string{"2000000000000000000"}, nil, from(5000), "", "5000"},
			{"the largest that could be", []string{"1000000000000000000"}, nil, from(5000), "1000000000000000000", ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				o := newOne(t)
				o.with(uuid, func(db *DB) {
					for _, id := range tt.shops {
						storeMember(t, db, id)
					}
				})
				for _, ids := range tt.given {
					o.with(ids, func(db *DB) { storeMember(t, db, takeID(t, db)) })
				}
				db, err := o.open(tt.then)
				var block *IDBlockError
				switch {
				case tt.refused != "":
					if !errors.As(err, &block) || block.ID != tt.refused || !strings.Contains(err.Error(), "opening database") ||
						!strings.Contains(err.Error(), "user_ids") || !strings.Contains(err.Error(), tt.refused) {
						t.Errorf("error %v, want one that names %s and user_ids", err, tt.refused)
					}
				case err != nil:
					t.Error(err)
				default:
					if id := takeID(t, db); tt.next != "" {
						diff(t, "the next id", tt.next, id)
					}
					must(t, db.Close())
				}
			})
		}
	})
}

func TestRefusedBlockSaysWhichStartWouldDo(t *testing.T) {
	for id, want := range map[string]string{
		"5000": "user_ids integer 6000", "1000000005": "user_ids integer 2000000000", "999999999": "user_ids integer 1000000000", "7": "user_ids integer 8",
		"1000000000000000000": "user_ids integer 2000000000000000000",
	} {
		if err := (&IDBlockError{ID: id, Start: 5}); !strings.Contains(err.Error(), "`"+want+"`") {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}

func TestStartThatCannotBeIsRefused(t *testing.T) {
	openedOnEach(t, func(t *testing.T, newOne func(*testing.T) opened) {
		for _, start := range []int64{-1, maxStart + 1} {
			if db, err := newOne(t).open(IDConfig{Start: start}); err == nil || !strings.Contains(err.Error(), "user_ids: the start must lie between") {
				t.Errorf("%d: %v", start, err)
				must(t, db.Close())
			}
		}
	})
}

// What the shop may not name its members while the gateway counts: numbers that
// it has given out, and those that it will.
func TestShopsIDsKeepOutOfTheBlocks(t *testing.T) {
	openedOnEach(t, func(t *testing.T, newOne func(*testing.T) opened) {
		o := newOne(t)
		o.with(IDConfig{Start: 5000}, func(db *DB) { diff(t, "given", "5000", takeID(t, db)) })
		o.with(IDConfig{Start: 9000}, func(db *DB) { diff(t, "given", "9000", takeID(t, db)) })
		for _, tt := range []struct {
			ids  IDConfig
			want map[string]string
		}{
			{IDConfig{Start: 9000}, map[string]string{"4999": "free", "5000": "given", "5999": "given", "6000": "free", "8999": "free",
				"9000": "given", "9999": "given", "10000": "to come", "123456789": "to come",
				"09000": "free", "u9000": "free", "9000.0": "free", "10000000000000000000": "free"}},
			{IDConfig{Start: 20_000}, map[string]string{"6000": "free", "9999": "given", "10000": "free", "20000": "to come"}},
			{IDConfig{Start: 7000}, map[string]string{"5000": "given", "6999": "free", "7000": "to come", "8999": "to come"}},
			{IDConfig{UUID: true}, map[string]string{"5000": "given", "6000": "free", "9000": "given", "19999": "free", "20000": "to come"}},
		} {
			o.with(tt.ids, func(db *DB) {
				for id, want := range tt.want {
					if got := whereStands(t, db, id); got != want {
						t.Errorf("with %+v, %s is %s, want %s", tt.ids, id, got, want)
					}
				}
			})
		}
	})
}

func whereStands(t *testing.T, db *DB, id string) string {
	t.Helper()
	err := db.checkForeign(t.Context(), db.read, id)
	if err == nil {
		return "free"
	}
	var block *IDBlockError
	if !errors.As(err, &block) || block.ID != id || !strings.Contains(err.Error(), "user_ids") || !strings.Contains(err.Error(), id) {
		t.Errorf("%s: error %v", id, err)
	}
	if block.Given {
		return "given"
	}
	return "to come"
}

func TestMembersOfTheShopKeepOutOfTheBlocks(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for answer, want := range map[string]string{
			"999999999":  "999999999, ok, created 999999999, linked oa/x",
			"1000000000": "V+1, unavailable, linked oa/x", // given to somebody else
			"1000001000": "V+1, unavailable, linked oa/x", // to come
		} {
			shop := userTable{made: map[string]string{}}
			shop.before = func(n Newcomer) error { shop.made[n.Key] = answer; return nil }
			w := newWorldIn(t, db, Rules{MakeUserID: shop.make})
			w.names["999999999"] = "999999999"
			takeID(t, w.db)
			out := w.link(proved("oa", "x", "X").login())
			diff(t, "outcome of "+answer, want, w.said(out))
			if out.Code == CodeUnavailable && !strings.Contains(out.Unavailable.Error(), "`user_ids integer") {
				t.Errorf("the reason is %v", out.Unavailable)
			}
		}
	})
}

// Instances with different starts, as while a configuration is rolled out.
func TestInstancesNeverGiveOneNumberTwice(t *testing.T) {
	openedOnEach(t, func(t *testing.T, newOne func(*testing.T) opened) {
		o := newOne(t)
		o.with(IDConfig{Start: 5000}, func(*DB) {})
		var mu sync.Mutex
		givenBy := map[string]int64{}
		var wg sync.WaitGroup
		for start := int64(5000); start < 12_000; start += 700 {
			wg.Go(func() {
				db, err := o.open(IDConfig{Start: start})
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				for range 2500 {
					id, err := db.NewGuestID(t.Context())
					mu.Lock()
					if other, twice := givenBy[id]; twice || err != nil {
						t.Errorf("%s by %d and by %d, %v", id, start, other, err)
					}
					givenBy[id] = start
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		diff(t, "ids", 10*2500, len(givenBy))
	})
}
