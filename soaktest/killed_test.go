package soaktest

import (
	"context"
	"database/sql"
	"net/http"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// What follows happens before the crowd comes, so that it can be said what a
// gateway is doing when it is killed. What must have become of the people and
// their orders is looked at with everybody else's.

// at is the context of who meets one gateway only.
func (w *world) at(g *gateway) context.Context {
	return context.WithValue(w.t.Context(), only{}, g)
}

// until waits for what processes do by themselves.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	for begun := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 2*time.Minute {
			w.t.Fatalf("not after two minutes: %s", what)
		}
	}
}

// dies lets somebody do something at a gateway, and kills it in the middle of
// that. It says whether it was in time: a busy machine may have answered him.
func (w *world) dies(h *household, g *gateway, do func() answer, inTheMiddle func() bool) (inTime bool) {
	w.t.Helper()
	h.ctx = w.at(g)
	defer func() { h.ctx = w.t.Context() }()
	answered := make(chan answer, 1)
	go func() { answered <- do() }()
	w.until("somebody is in the middle of a login, or at its end", func() bool { return inTheMiddle() || len(answered) > 0 })
	g.kill()
	a := <-answered
	return a.lost != nil
}

func (w *world) notAgain(tries int) {
	w.t.Helper()
	if tries == 20 {
		w.t.Fatal("no gateway could be killed in the middle of a login")
	}
}

// killedInLogin: WeChat is being asked who somebody is, and knows by now that
// his code is spent.
func (w *world) killedInLogin(h *household) {
	w.t.Helper()
	page, g := h.people[0].page, w.gateways[0]
	w.wechat.AddPerson(wechattest.Person{Name: page.owner.name, Phone: page.owner.phone, Consent: wechattest.Accept}) // no follower, who would not be asked
	page.look("/goods")
	page.buy()
	page.open = goal{wechat: true, phone: true}
	for inTime, tries := false, 0; !inTime; tries++ {
		w.notAgain(tries)
		before := w.wechat.Count(wechattest.ExchangeCode)
		w.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.HangAfterEffect())
		inTime = w.dies(h, g, page.prove, func() bool { return w.wechat.Count(wechattest.ExchangeCode) > before })
		w.wechat.Heal(wechattest.ExchangeCode)
		w.startAll()
	}
	page.buy() // at another gateway, as who he was
	if !page.logIn() {
		h.wrong("whose gateway was killed while he logged in does not get in")
	}
}

// killedInLink: a phone is proved and the accounts are being changed, but the
// transaction does not end.
func (w *world) killedInLink(h *household) {
	w.t.Helper()
	desk, g := h.people[0].desk, w.gateways[1]
	desk.look("/goods")
	desk.buy()
	desk.open = goal{phone: true}
	db, err := sql.Open("pgx", w.accounts)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	for inTime, tries := false, 0; !inTime; tries++ {
		w.notAgain(tries)
		tx, err := db.Begin()
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := tx.Exec(`LOCK TABLE wxgate_event IN EXCLUSIVE MODE`); err != nil {
			w.t.Fatal(err)
		}
		inTime = w.dies(h, g, desk.prove, func() bool {
			var waiting int
			err := db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO wxgate_event %'`).Scan(&waiting)
			return err == nil && waiting > 0
		})
		if err := tx.Rollback(); err != nil {
			w.t.Fatal(err)
		}
		w.startAll()
	}
	desk.logIn() // his code is used up, and he waits for another
}

// killedInDelivery: the shop is being told of a login by one of the gateways.
// All are killed, and whichever comes first tells it again.
func (w *world) killedInDelivery(h *household) {
	w.t.Helper()
	called := make(chan struct{})
	var once sync.Once
	w.shop.before.Store(func(r *http.Request) {
		once.Do(func() { close(called) })
		<-r.Context().Done()
	})
	desk := h.people[1].desk
	desk.look("/goods")
	desk.buy()
	desk.open = goal{phone: true}
	if !desk.logIn() {
		h.wrong("he does not get in")
	}
	select {
	case <-called:
	case <-time.After(2 * time.Minute):
		w.t.Fatal("the shop is told nothing")
	}
	for _, g := range w.gateways {
		g.kill()
	}
	w.shop.before.Store(func(*http.Request) {})
	w.startAll()
}
