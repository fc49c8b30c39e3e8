package main

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wire stands between the gateway and a store, and counts what is asked.
type wire struct {
	addr  string
	asked atomic.Int64
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l := listen(t)
	w := &wire{addr: l.Addr().String()}
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			store, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(from, store)
				from.Close()
			}()
			go func() {
				_, _ = io.Copy(store, counted{from, &w.asked})
				store.Close()
			}()
		}
	}()
	return w
}

// counted counts what is read. Each question is one reading at least.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(1)
	return n, err
}

// TestKnownVisitorsAskNoStore: neither the database nor Redis hears of them. What
// a gateway asks by itself, again and again, is a few questions a second.
func TestKnownVisitorsAskNoStore(t *testing.T) {
	const pages, byItself = 1000, 5
	f := newFleet(t, 1, "")
	g := f.all[0]
	at, _, _ := strings.Cut(g.databaseAt[strings.LastIndexByte(g.databaseAt, '@')+1:], "/")
	stores := map[string]*wire{"database": newWire(t, at), "redis": newWire(t, f.redis.Addr())}
	g.databaseAt = strings.Replace(g.databaseAt, at, stores["database"].addr, 1)
	g.template = strings.Replace(g.template, f.redis.Addr(), stores["redis"].addr, 1)
	f.configure(g, secret)
	f.run()
	before := asked(stores)
	page, pc := f.inWeChat(f.person(0)), f.elsewhere()
	member, err := page.logIn()
	if err != nil {
		t.Fatal(err)
	}
	guest, err := pc.get("/goods")
	if err != nil || !strings.HasPrefix(guest, "guest ") {
		t.Fatal(guest, err)
	}
	for name, n := range asked(stores) {
		if n == before[name] {
			t.Errorf("%s is not asked about new visitors: nothing is counted here", name)
		}
	}
	if err := page.stays(2, "member "+member); err != nil {
		t.Fatal(err)
	}
	before = asked(stores)
	begun := time.Now()
	for range pages / 2 {
		if err := page.stays(1, "member "+member); err != nil {
			t.Fatal(err)
		}
		if said, err := pc.get("/goods"); err != nil || said != guest {
			t.Fatal(said, err)
		}
	}
	allowed := int64(byItself * (10 + time.Since(begun).Seconds()))
	for name, n := range asked(stores) {
		t.Logf("%s was asked %d times during %d pages", name, n-before[name], pages)
		if n -= before[name]; n > allowed {
			t.Errorf("%s was asked %d times during %d pages, %d are the gateway's own", name, n, pages, allowed)
		}
	}
}

// asked are the counts so far.
func asked(stores map[string]*wire) map[string]int64 {
	all := map[string]int64{}
	for name, w := range stores {
		all[name] = w.asked.Load()
	}
	return all
}
