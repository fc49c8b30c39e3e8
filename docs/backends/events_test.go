package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/webhook"
)

func eventReceivers(t *testing.T) map[string]program {
	var schema []string
	for _, table := range []string{"orders", "addresses", "coupons"} {
		schema = append(schema, `CREATE TABLE `+table+` (id BIGINT AUTO_INCREMENT PRIMARY KEY, user_id VARCHAR(64) NOT NULL, INDEX (user_id))`)
	}
	binary := filepath.Join(t.TempDir(), "receive-events")
	run(t, "go", "build", "-o", binary, "./receive-events")
	return map[string]program{
		"PHP":  {schema, phpReceiver(t, "receive-events.php")},
		"Node": {schema, nodeReceiver(t, "receive-events.cjs")},
		"Go": {schema, func(s *shop, port string) *exec.Cmd {
			cmd := exec.Command(binary)
			cmd.Env = append(os.Environ(), "HOOK_SECRET="+hookSecret, "PORT="+port, "SHOP_DB=shop:shop@tcp("+s.addr+")/"+s.name)
			return cmd
		}},
	}
}

// person is somebody of three guest ids, who is a member in the end, and what
// the gateway sends of him.
type person struct {
	guests          []string
	member          string
	merged, settled []string // bodies
	others          []string
}

// aPerson opens a page in a browser, goes on in WeChat, where he was a guest
// before, is recognised there as the guest of a mini program, and logs in. What
// the gateway sends is what it posts to a receiver.
func aPerson(t *testing.T) person {
	t.Helper()
	db, err := account.Open(t.Context(), account.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "accounts.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	bodies := make(chan string, 100)
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- string(body)
	}))
	defer sink.Close()
	endpoint, err := webhook.New(webhook.Config{URL: sink.URL, Secrets: []string{hookSecret}})
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()
	d := webhook.NewDeliverer(webhook.DelivererConfig{Endpoint: endpoint, Queue: db, Logger: slog.New(slog.DiscardHandler), Observe: func(webhook.Outcome) {}})
	if err := d.Join(t.Context()); err != nil {
		t.Fatal(err)
	}

	link := func(in account.Input) string {
		out, err := db.Link(t.Context(), account.Rules{}, in)
		if err != nil {
			t.Fatal(err)
		}
		return out.UserID
	}
	as := func(guest string, in account.Input) string {
		in.UserID, in.UserKind, in.UserBorn = guest, account.Guest, time.Now().Add(time.Hour)
		return link(in)
	}
	mini := account.Input{AppID: "mini", OpenID: "m", UnionID: "u"}
	page := account.Input{AppID: "page", OpenID: "p", InBrowser: true}
	browser, err := db.NewGuestID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := person{guests: []string{browser, link(page), link(mini)}}
	second := as(browser, page)
	page.UnionID = "u"
	third := as(second, page)
	mini.Want = account.WantLogin
	p.member = as(third, mini)
	if err := db.SettleMerges(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	p.collect(t, d, bodies)
	return p
}

// collect delivers until everything has arrived.
func (p *person) collect(t *testing.T, d *webhook.Deliverer, bodies <-chan string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	for len(p.settled) < 3 {
		body := <-bodies
		var e struct{ Type string }
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case "wxgate.user.merged":
			p.merged = append(p.merged, body)
		case "wxgate.user.merge_settled":
			p.settled = append(p.settled, body)
		default:
			p.others = append(p.others, body)
		}
	}
	stop()
	<-done
	if len(p.merged) != 3 || len(p.others) == 0 || p.member == "" {
		t.Fatalf("%+v", p)
	}
}

// orders orders something under each of some ids.
func (s *shop) orders(ids ...string) {
	s.t.Helper()
	for _, table := range []string{"orders", "addresses", "coupons"} {
		if _, err := s.db.Exec(`INSERT INTO ` + table + ` (user_id) VALUES ('` + strings.Join(ids, "'), ('") + `')`); err != nil {
			s.t.Fatal(err)
		}
	}
}

// owners are whose the rows of all tables are.
func (s *shop) owners() (all []string) {
	s.t.Helper()
	rows, err := s.db.Query(`SELECT DISTINCT user_id FROM (SELECT user_id FROM orders UNION ALL SELECT user_id FROM addresses
		UNION ALL SELECT user_id FROM coupons) AS u ORDER BY user_id`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, id)
	}
	return all
}

// arrangements calls f with every order of some bodies, each twice.
func arrangements(bodies []string, f func([]string)) {
	left := make([]int, len(bodies))
	for i := range left {
		left[i] = 2
	}
	var order []string
	var next func()
	next = func() {
		if len(order) == 2*len(bodies) {
			f(order)
		}
		for i, body := range bodies {
			if left[i] == 0 {
				continue
			}
			left[i]--
			order = append(order, body)
			next()
			order = order[:len(order)-1]
			left[i]++
		}
	}
	next()
}

// In whatever order merges arrive, and twice, at whichever process: in the end
// everything is the member's, what was ordered meanwhile under an old id too.
func TestEventReceiversEndRightInEveryOrder(t *testing.T) {
	p := aPerson(t)
	for name, receiver := range eventReceivers(t) {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, receiver)
			n := 0
			hear := func(order []string) {
				for _, body := range order {
					s.urls[0], s.urls[1] = s.urls[1], s.urls[0]
					if status := s.post(signed(t, hookSecret, time.Now(), body), body); status != http.StatusNoContent {
						t.Fatalf("%d to %s", status, body)
					}
				}
			}
			s.orders("a stranger")
			arrangements(p.merged, func(order []string) {
				n++
				s.orders(append(p.guests, p.member)...)
				hear(order)
				if diff := cmp.Diff([]string{p.member, "a stranger"}, s.owners()); diff != "" {
					t.Fatalf("owners after %v (-want +got)\n%s", order, diff)
				}
			})
			if n != 90 {
				t.Errorf("%d orders were tried", n)
			}
			for _, i := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
				s.orders(p.guests...) // by requests that were under way
				hear([]string{p.settled[i[0]], p.settled[i[1]], p.settled[i[2]]})
				if diff := cmp.Diff([]string{p.member, "a stranger"}, s.owners()); diff != "" {
					t.Errorf("owners after the settled events %v (-want +got)\n%s", i, diff)
				}
			}
			hear(p.others)
		})
	}
}

func TestEventReceiversBelieveTheGatewayAlone(t *testing.T) {
	p := aPerson(t)
	for name, receiver := range eventReceivers(t) {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, receiver)
			s.orders(p.guests[0])
			s.believesTheGatewayAlone(p.merged[2])
			if diff := cmp.Diff(p.guests[:1], s.owners()); diff != "" {
				t.Errorf("owners (-want +got)\n%s", diff)
			}
		})
	}
}
