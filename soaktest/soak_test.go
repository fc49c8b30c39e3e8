package soaktest

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	lasts = flag.Duration("for", time.Minute, "how long people come and go; what is under way then takes up to two minutes more")
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
	ctx, stop := context.WithTimeout(t.Context(), *lasts)
	defer stop()
	var all []*household
	var mu sync.Mutex
	var n atomic.Int64
	var living sync.WaitGroup
	for range atOnce {
		living.Go(func() {
			for ctx.Err() == nil {
				h := newHousehold(w, ctx, *seed, int(n.Add(1)))
				mu.Lock()
				all = append(all, h)
				mu.Unlock()
				h.live(things)
			}
		})
	}
	t.Log("people come and go")
	living.Wait()
	t.Logf("%d households have lived", len(all))
	w.finish(all)
	t.Log("all have finished")
	w.delivered()
	w.check(all)
	t.Logf("what visitors saw:\n%s", w.table)
}

// finish lets everybody end what he has begun.
func (w *world) finish(all []*household) {
	w.redis.Do(w.t, "FLUSHALL")
	var ending sync.WaitGroup
	for _, h := range all {
		h.ctx = w.t.Context()
		ending.Go(h.finish)
	}
	ending.Wait()
}
