package account

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// shopWithUsers is a shop that has had a table of users with AUTO_INCREMENT for
// years, in the database where the gateway now keeps its accounts.
type shopWithUsers struct {
	t    *testing.T
	pool *sql.DB
	url  string // of the database
}

func newShopWithUsers(t *testing.T) *shopWithUsers {
	t.Helper()
	s := &shopWithUsers{t: t, url: dbtest.Shared(t, dbtest.MariaDB).Database(t)}
	where, _, err := locate(s.url)
	must(t, err)
	s.pool, _, err = openMySQL(where)
	must(t, err)
	t.Cleanup(func() { must(t, s.pool.Close()) })
	s.exec(`CREATE TABLE users (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20), wxgate_key VARCHAR(64) UNIQUE) ENGINE=InnoDB`)
	return s
}

func (s *shopWithUsers) exec(query string, args ...any) {
	s.t.Helper()
	_, err := s.pool.Exec(query, args...)
	must(s.t, err)
}

// register is a registration on the shop's own page.
func (s *shopWithUsers) register(ctx context.Context) (int64, error) {
	res, err := s.pool.ExecContext(ctx, `INSERT INTO users (name) VALUES ('registered')`)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// ServeHTTP answers the gateway's questions, as docs/backends.md shows it.
func (s *shopWithUsers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n Newcomer
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, json.Unmarshal(body, &n)); err != nil {
		s.t.Error(err)
	}
	res, err := s.pool.ExecContext(r.Context(),
		`INSERT INTO users (wxgate_key) VALUES (?) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)`, n.Key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError) // the gateway asks again
		return
	}
	id, err := res.LastInsertId()
	if err != nil {
		s.t.Error(err)
	}
	fmt.Fprintf(w, `{"user_id":%d}`, id)
}

// makeUserID asks the shop over HTTP.
func (s *shopWithUsers) makeUserID() func(context.Context, Newcomer) (string, error) {
	s.t.Helper()
	srv := httptest.NewServer(s)
	s.t.Cleanup(srv.Close)
	return func(ctx context.Context, n Newcomer) (string, error) {
		body, err := json.Marshal(n)
		if err != nil {
			return "", err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		resp, err := srv.Client().Do(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		var made struct {
			UserID json.Number `json:"user_id"`
		}
		err = json.NewDecoder(resp.Body).Decode(&made)
		return made.UserID.String(), err
	}
}

func (s *shopWithUsers) gateway(ids IDConfig) *DB {
	s.t.Helper()
	db, err := Open(s.t.Context(), Config{URL: s.url, IDs: ids})
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, db.Close()) })
	return db
}

// inTurns lets half of the workers log in new members at the gateway while the
// other half registers users at the shop, and returns all ids that were given:
// of members, of their guests, of the shop's own users.
func (s *shopWithUsers) inTurns(db *DB, rules Rules, each int) (members, guests, users []string) {
	s.t.Helper()
	var next, registered atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(each); n = next.Add(1) {
				guest, err := db.NewGuestID(s.t.Context())
				if err != nil {
					s.t.Error(err)
					return
				}
				in := proved("oa", fmt.Sprintf("o%d", n), fmt.Sprintf("u%d", n)).login()
				in.UserID, in.UserKind, in.UserBorn = guest, Guest, epoch
				out, err := db.Link(s.t.Context(), rules, in)
				for try := 0; err == nil && out.Code == CodeUnavailable && try < 10; try++ { // the visitor taps again
					out, err = db.Link(s.t.Context(), rules, in)
				}
				if err != nil || out.Kind != Member {
					s.t.Errorf("visitor %d: %+v, %v", n, out, err)
					return
				}
				mu.Lock()
				members, guests = append(members, out.UserID), append(guests, guest)
				mu.Unlock()
			}
		})
		wg.Go(func() {
			for registered.Add(1) <= int64(each) {
				id, err := s.register(s.t.Context())
				if err != nil {
					s.t.Error(err)
					return
				}
				mu.Lock()
				users = append(users, strconv.FormatInt(id, 10))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return members, guests, users
}

// distinct checks that no id stands in two of the lists, nor twice in one.
func distinct(t *testing.T, lists map[string][]string) {
	t.Helper()
	seen := map[string]string{}
	for whose, ids := range lists {
		for _, id := range ids {
			if other, twice := seen[id]; twice {
				t.Fatalf("%s is an id of %s and of %s", id, whose, other)
			}
			seen[id] = whose
		}
	}
}

const eachOf = 10_000 // members, and registrations

func TestShopsTableMakesTheIDsOfTenThousandMembers(t *testing.T) {
	s := newShopWithUsers(t)
	db := s.gateway(IDConfig{})
	members, guests, users := s.inTurns(db, Rules{MakeUserID: s.makeUserID()}, eachOf)
	distinct(t, map[string][]string{"a member": members, "a guest": guests, "a user of the shop": users})
	diff(t, "members, guests, the shop's own", []int{eachOf, eachOf, eachOf}, []int{len(members), len(guests), len(users)})
	diff(t, "members, and rows of the shop that are members", linesOf(t, db, `SELECT id FROM wxgate_user WHERE kind = 'member' ORDER BY id`),
		sorted(linesOf(t, db, `SELECT '' || id FROM users WHERE wxgate_key IS NOT NULL`)))
	checkInvariants(t, db)
}

func TestBlocksLieBesideTheShopsTable(t *testing.T) {
	s := newShopWithUsers(t)
	db := s.gateway(IDConfig{})
	members, guests, users := s.inTurns(db, Rules{}, eachOf)
	distinct(t, map[string][]string{"a member": members, "a guest": guests, "a user of the shop": users})
	for whose, ids := range map[string][]string{"the gateway's": append(members, guests...), "the shop's": users} {
		for _, id := range ids {
			if n, ok := integerID(id); !ok || (n >= defaultStart) != (whose == "the gateway's") {
				t.Fatalf("%s is %s", id, whose)
			}
		}
	}
	checkInvariants(t, db)
}

// The numbers of a shop grow into the block: its new users are refused as
// members and by an import, and a gateway that has them does not start so.
func TestShopsTableThatReachesTheBlock(t *testing.T) {
	s := newShopWithUsers(t)
	db := s.gateway(IDConfig{})
	rules := Rules{MakeUserID: s.makeUserID()}
	for _, tt := range []struct {
		next int64 // id of the shop
		want string
	}{
		{999_999_999, "999999999, ok"},
		{1_000_000_999, "unavailable: the shop's answer cannot be used: " + (&IDBlockError{ID: "1000000999", Given: true}).Error()},
		{1_000_005_000, "unavailable: the shop's answer cannot be used: " + (&IDBlockError{ID: "1000005000", Start: 1_000_000_000}).Error()},
	} {
		s.exec(fmt.Sprintf(`ALTER TABLE users AUTO_INCREMENT = %d`, tt.next))
		out, err := db.Link(t.Context(), rules, proved("oa", fmt.Sprintf("o%d", tt.next), fmt.Sprintf("u%d", tt.next)).login())
		must(t, err)
		said := out.UserID + ", " + string(out.Code)
		if out.Unavailable != nil {
			said = fmt.Sprintf("%s: %v", out.Code, out.Unavailable)
		}
		diff(t, "outcome", tt.want, said)
	}
	file := "user_id\n" + strings.Join(linesOf(t, db, `SELECT CAST(id AS CHAR) FROM users ORDER BY id`), "\n") + "\n"
	report, err := db.Import(t.Context(), rules, ImportConfig{Source: strings.NewReader(file), Format: CSV})
	must(t, err)
	diff(t, "imported", Tally{Known: 1, LeftOut: 2}, report.Users)
	diff(t, "problems", map[ProblemCode]int{IDReserved: 2}, report.Problems)

	// A gateway that counts elsewhere takes them, and cannot be made to count
	// there again.
	elsewhere := s.gateway(IDConfig{Start: 2 * defaultStart})
	report, err = elsewhere.Import(t.Context(), rules, ImportConfig{Source: strings.NewReader(file), Format: CSV})
	must(t, err)
	diff(t, "imported elsewhere", Tally{New: 1, Known: 1, LeftOut: 1}, report.Users)
	_, err = Open(t.Context(), Config{URL: s.url})
	var block *IDBlockError
	if !errors.As(err, &block) || block.ID != "1000005000" || !strings.Contains(err.Error(), "`user_ids integer 2000000000`") {
		t.Errorf("opened again: %v", err)
	}
}
