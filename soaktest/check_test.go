package soaktest

import (
	"database/sql"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// user is what wxgate_api tells of an id.
type user struct {
	ID            string
	Kind          string
	PhoneVerified bool `json:"phone_verified"`
	Identities    []struct{ AppID, OpenID string }
}

// user asks for an id. A guest of a browser is known to nobody but his browser.
func (w *world) user(id string) user {
	w.t.Helper()
	u := user{ID: id, Kind: "guest"}
	if status := w.ask("/users/"+id, &u); status != http.StatusOK && status != http.StatusNotFound {
		w.t.Errorf("user %s: %d", id, status)
	}
	return u
}

// ask calls wxgate_api.
func (w *world) ask(path string, into any) (status int) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://api.test"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: w.dial, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			w.t.Fatal(err)
		}
	}
	return resp.StatusCode
}

// check compares accounts and orders with what everybody did.
func (w *world) check(all []*household) {
	w.t.Helper()
	for _, g := range w.gateways {
		g.sound()
	}
	c := &checked{world: w, whose: map[string]*self{}, is: map[*self]user{}}
	proved := 0
	for _, h := range all {
		c.household(h)
		for _, m := range h.people {
			if m.proved {
				proved++
			}
		}
	}
	if n := w.rows(`SELECT count(*) FROM wxgate_user WHERE kind = 'member' AND merged_into IS NULL`); n != proved {
		w.t.Errorf("%d people have proved their phones, and there are %d members", proved, n)
	}
	if n := w.rows(`SELECT count(*) FROM wxgate_conflict`); n != 0 {
		w.t.Errorf("%d conflicts between people who have nothing of each other's", n)
	}
	c.allOrders(all)
}

// rows counts in the accounts' database.
func (w *world) rows(query string) (n int) {
	w.t.Helper()
	db, err := sql.Open("pgx", w.accounts)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

type checked struct {
	*world
	h     *household       // who is being looked at
	whose map[string]*self // by the id of today
	is    map[*self]user   // by the root
}

func (c *checked) household(h *household) {
	c.h = h
	selves := []*self{}
	for _, s := range h.guests {
		selves = append(selves, s)
	}
	for _, m := range h.people {
		selves = append(selves, m.wechat, m.account)
		if m.visitor != nil {
			selves = append(selves, m.visitor)
		}
	}
	for _, s := range selves {
		c.self(s.root())
	}
	for _, m := range h.people {
		c.person(m.person)
	}
}

// self wants all ids of one who orders to be one user, and nobody else's.
func (c *checked) self(s *self) {
	for _, id := range s.ids {
		u := c.user(id)
		if other := c.whose[u.ID]; other != nil && other != s {
			c.h.wrong("%s and %s are one user, %s", s.name, other.name, u.ID)
		}
		c.whose[u.ID] = s
		if was, ok := c.is[s]; ok && was.ID != u.ID {
			c.h.wrong("%s is two users, %s and %s: his ids are %v", s.name, was.ID, u.ID, s.ids)
			return
		}
		if _, ok := c.is[s]; !ok {
			c.is[s] = u
		}
	}
}

// person wants who has proved his phone to be a member, with the WeChat
// accounts that he has proved and no other.
func (c *checked) person(p *person) {
	u, seen := c.is[p.account.root()]
	if p.proved && (!seen || u.Kind != "member" || !u.PhoneVerified) {
		c.h.wrong("%s has proved his phone and is %+v", p.name, u)
	}
	if p.linked && p.wechat.root() != p.account.root() {
		c.h.wrong("the model of %s is wrong", p.name)
	}
	if w, ok := c.is[p.wechat.root()]; ok && !p.linked && w.Kind != "guest" {
		c.h.wrong("%s has not proved his phone in WeChat and is %+v there", p.name, w)
	}
	apps := map[string]bool{}
	for _, i := range u.Identities {
		apps[i.AppID] = true
		if !p.linked || i.OpenID != c.wechat.OpenID(p.name, i.AppID) {
			c.h.wrong("%s has the WeChat account %+v", p.name, i)
		}
	}
	for app := range p.apps {
		if p.linked && !apps[app] {
			c.h.wrong("%s has %+v, not %s", p.name, u.Identities, app)
		}
	}
}

// allOrders wants every order at the user of whoever ordered it.
func (c *checked) allOrders(all []*household) {
	c.t.Helper()
	orders := c.shop.orders()
	count := 0
	for _, h := range all {
		for _, o := range h.orders {
			at, found := orders[o.number]
			delete(orders, o.number)
			want, known := c.is[o.by.root()]
			switch {
			case !found && o.placed:
				h.wrong("order %s of %s is lost", o.number, o.by.name)
			case found && (!known || at != want.ID):
				h.wrong("order %s of %s is at %s, not %s (ids %v)", o.number, o.by.name, at, want.ID, o.by.root().ids)
			case found:
				count++
			}
		}
	}
	if len(orders) > 0 {
		c.t.Errorf("nobody's orders: %v", slices.Collect(maps.Keys(orders)))
	}
	c.t.Logf("%d orders of %d users", count, len(c.is))
}
