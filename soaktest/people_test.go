package soaktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// household is two people who have a computer in common. They do one thing
// after the other, as the dice of the household say.
type household struct {
	w      *world
	ctx    context.Context
	dice   *rand.Rand
	name   string
	family *device
	people []*member
	guests map[string]*self // of browsers, by id
	orders []*order

	mu    sync.Mutex
	diary []string // is told where something is wrong
}

// note writes the diary.
func (h *household) note(d *device, what string, a answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := fmt.Sprintf("%s %s on the %s: %s: %s after %s", time.Now().Format("05.000"), d.owner.name, d.kind, what, a.is(), a.took.Round(time.Millisecond))
	if a.told != nil {
		line += fmt.Sprintf(" %+v", *a.told)
	}
	h.diary = append(h.diary, line+" "+a.code)
}

// wrong says what is wrong, and tells the diary.
func (h *household) wrong(format string, args ...any) {
	h.w.t.Errorf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.diary) > 0 {
		h.w.t.Logf("the diary of %s:\n%s", h.name, strings.Join(h.diary, "\n"))
	}
	h.diary = nil // once is enough
}

// member of a household, with what he has in his hands.
type member struct {
	*person
	page, desk, mini, app, view *device
}

// newHousehold is the nth of a run.
func newHousehold(w *world, ctx context.Context, seed uint64, n int) *household {
	h := &household{w: w, ctx: ctx, dice: rand.New(rand.NewPCG(seed, uint64(n))), name: fmt.Sprint("h", n), guests: map[string]*self{}}
	for i := range 2 {
		k := 2*n + i
		p := newPerson(fmt.Sprintf("%s-%d", h.name, i), fmt.Sprintf("138%08d", k), fmt.Sprintf("10.%d.%d.7", k/250%250, k%250))
		w.wechat.AddPerson(wechattest.Person{
			Name: p.name, Phone: p.phone, Consent: wechattest.Accept,
			Follower: h.dice.IntN(2) == 0, // whose unionid WeChat tells without a word
		})
		m := &member{person: p}
		for _, d := range []struct {
			of *(*device)
			k  kind
		}{{&m.page, h5}, {&m.desk, desk}, {&m.mini, mini}, {&m.app, app}, {&m.view, webView}} {
			*d.of = &device{kind: d.k, home: h, owner: p}
			(*d.of).forget()
		}
		h.people = append(h.people, m)
	}
	h.family = &device{kind: desk, home: h, owner: h.people[0].person}
	h.family.forget()
	return h
}

// live lets the household do some things.
func (h *household) live(things int) {
	for range things {
		if h.ctx.Err() != nil {
			return
		}
		h.act()
		h.pause(time.Duration(h.dice.IntN(300)) * time.Millisecond)
	}
}

func (h *household) pause(d time.Duration) {
	select {
	case <-h.ctx.Done():
	case <-time.After(d):
	}
}

// devices are all but the web-views, which only mini programs open.
func (h *household) devices() []*device {
	all := []*device{h.family}
	for _, m := range h.people {
		all = append(all, m.page, m.desk, m.mini, m.app)
	}
	return all
}

func (h *household) act() {
	m := h.people[h.dice.IntN(len(h.people))]
	d := []*device{m.page, m.desk, m.mini, m.app, h.family}[h.dice.IntN(5)]
	if d.open != (goal{}) {
		d.logIn()
		return
	}
	if d == h.family && d.owner != m.person && !h.handOver(m) {
		return
	}
	if a := d.look("/goods"); a.told == nil || a.told.ID == "" {
		return
	}
	switch h.dice.IntN(12) {
	case 0, 1, 2, 3:
		d.buy()
	case 4, 5, 6:
		h.wants(d)
		d.logIn()
	case 7:
		h.wants(d)
		wait := d.buyMeanwhile(time.Duration(h.dice.IntN(2000)) * time.Millisecond)
		d.logIn()
		wait()
	case 8:
		d.logOut()
	case 9:
		if d.bearer() || d.kind == h5 {
			d.forget()
		}
	default:
		if m.mini.token != "" && m.mini.open == (goal{}) {
			m.mini.handOff(m.view)
			h.useView(m)
		}
	}
}

// wants begins a login.
func (h *household) wants(d *device) {
	switch {
	case d.told.Kind == "member", h.awaits(d.owner):
	case d.kind == desk && h.dice.IntN(2) == 0:
		d.open = goal{phone: true}
	case h.dice.IntN(4) == 0:
		d.open = goal{wechat: true} // and then the bus comes
	default:
		d.open = goal{wechat: true, phone: true}
	}
}

// awaits says whether somebody is in the middle of a login, on whatever device. He
// ends that first: his phone gets one code a minute.
func (h *household) awaits(p *person) bool {
	return slices.ContainsFunc(h.devices(), func(d *device) bool { return d.owner == p && d.open.phone })
}

// handOver gives the family's computer to the other, who first logs out
// whoever uses it.
func (h *household) handOver(to *member) (done bool) {
	if h.family.left || h.family.in && !h.family.logOut() {
		return false
	}
	h.family.owner = to.person
	return true
}

// useView orders in the web-view.
func (h *household) useView(m *member) {
	if a := m.view.visit("/goods"); a.told != nil && a.told.ID != "" {
		m.view.buy()
	}
}

func (h *household) order(by *self) *order {
	o := &order{number: fmt.Sprintf("%s/%d", h.name, len(h.orders)), by: by}
	h.orders = append(h.orders, o)
	return o
}

// finish ends what was begun, when nothing is out of order any more and Redis
// has been emptied, so that nobody has to wait for his next code.
func (h *household) finish() {
	for _, d := range h.devices() {
		d.wait = time.Time{}
		for begun := time.Now(); d.open != (goal{}) && !d.logIn(); h.pause(max(time.Second, time.Until(d.wait))) {
			if time.Since(begun) > 5*time.Minute {
				h.wrong("%s cannot log in on the %s: %+v, told %+v", d.owner.name, d.kind, d.open, d.told)
				break
			}
		}
	}
}
