package soaktest

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// fault is one that people live through.
type fault struct {
	name       string
	row        string // of the table in docs/operations.md
	begin, end func(*world)
}

// Rows of the table that say what comes of a fault.
const (
	killed       = "a gateway is killed"
	databaseGone = "the database is gone"
)

func nothing(*world) {}

func faults() []fault {
	return []fault{
		{"Redis stopped", "Redis is gone, slow or frozen", func(w *world) { w.redis.Kill(); w.losses.Add(1) }, func(w *world) { w.redis.Restart(w.t) }},
		{"Redis frozen", "Redis is gone, slow or frozen", func(w *world) { w.redis.Freeze() }, func(w *world) { w.redis.Thaw() }},
		{"Redis emptied", "Redis is emptied, or fails over and forgets", func(w *world) { w.redis.Do(w.t, "FLUSHALL"); w.losses.Add(1) }, nothing},
		{"database stopped", databaseGone, func(w *world) { w.database.Kill() }, func(w *world) { w.database.Restart(w.t) }},
		{"database frozen", databaseGone, func(w *world) { w.database.Freeze() }, func(w *world) { w.database.Thaw() }},
		{"WeChat frozen", "WeChat slow, down, or answering nonsense", func(w *world) { w.failWeChat(wechattest.Hang()) }, (*world).healWeChat},
		{"WeChat down", "WeChat slow, down, or answering nonsense", func(w *world) { w.failWeChat(wechattest.BadGateway()) }, (*world).healWeChat},
		{"receiver down", "a webhook is down, slow or refuses", func(w *world) { w.shop.deaf.Store(true) }, func(w *world) { w.shop.deaf.Store(false) }},
		{"gateway killed", killed, (*world).killOne, func(w *world) { w.startAll() }},
	}
}

// weChatAPIs are all that the gateways call.
func weChatAPIs() []wechattest.API {
	return []wechattest.API{
		wechattest.ExchangeCode, wechattest.UserInfo, wechattest.StableToken, wechattest.Follower, wechattest.Code2Session, wechattest.PhoneNumber,
	}
}

func (w *world) failWeChat(f wechattest.Fault) {
	for _, api := range weChatAPIs() {
		w.wechat.Fail(api, wechattest.Forever, f)
	}
}

func (w *world) healWeChat() {
	for _, api := range weChatAPIs() {
		w.wechat.Heal(api)
	}
}

func (w *world) killOne() { w.gateways[rand.IntN(len(w.gateways))].kill() }

// startAll starts the gateways that are dead, and waits for all.
func (w *world) startAll() {
	for _, g := range w.gateways {
		g.revive()
	}
	for _, g := range w.gateways {
		g.await()
	}
}

const (
	faultLasts = 3 * time.Second // at least
	aftermath  = 2 * time.Second // each gateway looks this often whether the database and Redis are there
)

// suffer lets people live through a fault and meet it in every way, until all is
// well again.
func (w *world) suffer(f fault, witnesses func() *household) {
	w.t.Helper()
	var homes []*household
	for range 4 {
		h := witnesses()
		h.people[0].desk.look("/goods")
		h.people[0].mini.look("/goods")
		homes = append(homes, h)
	}
	w.table.during(f.row)
	f.begin(w)
	over := time.After(faultLasts)
	var meeting sync.WaitGroup
	for i, meet := range []func(*member){
		func(m *member) { m.desk.look("/goods"); m.mini.look("/goods") },
		func(m *member) { m.page.look("/goods") },
		func(m *member) { m.desk.forget(); m.desk.look("/goods") },
		func(m *member) {
			m.desk.open, m.page.open = goal{phone: true}, goal{wechat: true}
			m.desk.attempt()
			m.page.attempt()
		},
	} {
		meeting.Go(func() { meet(homes[i].people[0]) })
	}
	meeting.Wait()
	<-over
	f.end(w)
	w.recovered()
	time.Sleep(aftermath)
	w.table.over()
}

// recovered waits until every gateway says that nothing is missing.
func (w *world) recovered() {
	w.t.Helper()
	for _, g := range w.gateways {
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			said := w.ready(g)
			if said == "ready\n" {
				break
			}
			if time.Since(begun) > 2*time.Minute {
				w.t.Fatalf("two minutes after a fault a gateway says %q:\n%s", said, g.log.last(20))
			}
		}
	}
}

// ready is what a gateway says of itself.
func (w *world) ready(g *gateway) string {
	r, err := http.NewRequestWithContext(context.WithValue(w.t.Context(), only{}, g), http.MethodGet, site+"/wxgate/readyz", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: w.dial, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}
