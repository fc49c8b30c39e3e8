package soaktest

import (
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	_ "modernc.org/sqlite" // the shop's own database
)

// shop keeps orders in a table of its own database, by the user id of the
// request. Of what becomes of that id afterwards it hears by the webhook alone:
// it does not look at X-User-Previous-ID.
type shop struct {
	t    *testing.T
	db   *sql.DB
	hook *standardwebhooks.Webhook
	mux  *http.ServeMux
	deaf atomic.Bool // it answers no webhook
	// before is done before it hears, a func(*http.Request).
	before atomic.Value

	mu    sync.Mutex
	heard map[string][]string // events by subject, in the order in which the shop has first heard of them
}

func newShop(t *testing.T) *shop {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "shop.db")+"?_pragma=busy_timeout(60000)&_pragma=synchronous(off)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE orders (number TEXT PRIMARY KEY, user_id TEXT NOT NULL); CREATE INDEX orders_user ON orders (user_id)`); err != nil {
		t.Fatal(err)
	}
	hook, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, db: db, hook: hook, mux: http.NewServeMux(), heard: map[string][]string{}}
	s.before.Store(func(*http.Request) {})
	s.mux.HandleFunc("POST /orders", s.place)
	s.mux.HandleFunc("POST /hooks/wxgate", s.hear)
	s.mux.HandleFunc("/", s.show)
	return s
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// told is what the gateway has told the shop of a visitor. The shop shows it to
// him on every page.
type told struct {
	ID      string `json:"id"` // empty: nobody
	Kind    string `json:"kind"`
	OpenID  string `json:"openid"`
	UnionID string `json:"unionid"`
	AppID   string `json:"appid"`
}

func toldOf(r *http.Request) told {
	t := told{ID: r.Header.Get("X-User-ID"), Kind: r.Header.Get("X-User-Kind")}
	if parts := strings.Split(r.Header.Get("X-User-Assertion"), "."); len(parts) == 3 {
		var claims struct{ OpenID, UnionID, AppID, Sub string }
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(raw, &claims) == nil && claims.Sub == t.ID {
			t.OpenID, t.UnionID, t.AppID = claims.OpenID, claims.UnionID, claims.AppID
		}
	}
	return t
}

// fromShop is on the shop's own answers.
const fromShop = "Shop"

func (s *shop) show(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(fromShop, "1")
	_ = json.NewEncoder(w).Encode(toldOf(r))
}

// place keeps an order. The number comes with it, so that who gets no answer
// can order again and orders once.
func (s *shop) place(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Number string
		Slow   time.Duration // the shop thinks, with the id that it was told
	}
	t := toldOf(r)
	switch err := json.NewDecoder(r.Body).Decode(&in); {
	case err != nil:
		http.Error(w, "no order", http.StatusBadRequest)
		return
	case t.ID == "":
		w.Header().Set(fromShop, "1")
		http.Error(w, "the shop does not know who you are", http.StatusForbidden)
		return
	}
	time.Sleep(in.Slow)
	if _, err := s.db.Exec(`INSERT INTO orders VALUES (?, ?) ON CONFLICT DO NOTHING`, in.Number, t.ID); err != nil {
		s.t.Errorf("the shop's own database: %v", err)
	}
	s.show(w, r)
}

// event is one of an account's.
type event struct {
	ID, Type, Subject string
	Data              struct {
		From, To string
		Aliases  []string
	}
}

// hear handles an event as docs/events.md shows.
func (s *shop) hear(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.before.Load().(func(*http.Request))(r)
	if err != nil || r.Context().Err() != nil || s.deaf.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if err := s.hook.Verify(body, r.Header); err != nil {
		s.t.Errorf("a webhook's signature: %v", err)
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		s.t.Errorf("a webhook's body: %v", err)
	}
	if e.Type == "wxgate.user.merged" || e.Type == "wxgate.user.merge_settled" {
		args := []any{e.Data.To}
		for _, id := range e.Data.Aliases {
			args = append(args, id)
		}
		marks := strings.Repeat(",?", len(e.Data.Aliases))[1:]
		if _, err := s.db.Exec(`UPDATE orders SET user_id = ? WHERE user_id IN (`+marks+`)`, args...); err != nil {
			s.t.Errorf("the shop's own database: %v", err)
		}
	}
	s.mu.Lock()
	if !slices.Contains(s.heard[e.Subject], e.ID) {
		s.heard[e.Subject] = append(s.heard[e.Subject], e.ID)
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// orders are all of them, by number, each with the user id it stands under.
func (s *shop) orders() map[string]string {
	s.t.Helper()
	rows, err := s.db.Query(`SELECT number, user_id FROM orders`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var number, user string
		if err := rows.Scan(&number, &user); err != nil {
			s.t.Fatal(err)
		}
		all[number] = user
	}
	return all
}
