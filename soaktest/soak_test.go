package soaktest

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var (
	lasts = flag.Duration("for", 0, "how long people come and go at least, through one fault after the other")
	seed  = flag.Uint64("seed", 0, "of the people's choices; 0: any")
)

const (
	atOnce = 12 // households
	things = 40 // that a household does before another takes its place
)

// TestSoak lets people live with three gateways and compares what became of
// their accounts and orders with what they did.
func TestSoak(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	w := newWorld(t)
	c := &crowd{w: w, ctx: t.Context()}
	t.Log("gateways are killed in the middle of things")
	w.table.during(killed)
	w.killedInLogin(c.newcomers())
	w.killedInLink(c.newcomers())
	w.killedInDelivery(c.newcomers())
	w.table.over()
	t.Log("people come and go")
	c.suffer()
	t.Logf("%d households have lived", len(c.all))
	c.finish()
	t.Log("all have finished")
	w.delivered()
	w.check(c.all)
	w.table.compare()
	t.Logf("what visitors saw:\n%s", w.table)
}

// crowd is everybody who has ever come.
type crowd struct {
	w   *world
	ctx context.Context
	mu  sync.Mutex
	all []*household
}

// newcomers are a household more.
func (c *crowd) newcomers() *household {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := newHousehold(c.w, c.ctx, *seed, len(c.all))
	c.all = append(c.all, h)
	return h
}

// suffer lets people come and go through all faults, and through more of them
// until the time is over.
func (c *crowd) suffer() {
	ctx, stop := context.WithCancel(c.w.t.Context())
	c.ctx = ctx
	var living sync.WaitGroup
	for range atOnce {
		living.Go(func() {
			for ctx.Err() == nil {
				c.newcomers().live(things)
			}
		})
	}
	dice := rand.New(rand.NewPCG(*seed, 0))
	for begun, round := time.Now(), 0; round == 0 || time.Since(begun) < *lasts; round++ {
		all := faults()
		dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, f := range all {
			c.w.t.Logf("%s", f.name)
			c.w.suffer(f, c.newcomers)
			time.Sleep(time.Second)
		}
	}
	stop()
	living.Wait()
}

// finish lets everybody end what he has begun.
func (c *crowd) finish() {
	for _, f := range faults() {
		if f.name == "Redis emptied" {
			c.w.table.during(f.row)
			f.begin(c.w)
		}
	}
	var ending sync.WaitGroup
	for _, h := range c.all {
		h.ctx = c.w.t.Context()
		ending.Go(h.finish)
		time.Sleep(50 * time.Millisecond) // after an hour there are thousands
	}
	ending.Wait()
}
