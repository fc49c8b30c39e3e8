package limit

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wxgate/wxgate/internal/dbtest"
)

func open(t *testing.T, addrs ...string) redis.UniversalClient {
	t.Helper()
	c := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, Protocol: 2, IsClusterMode: len(addrs) > 1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRedisIsALimiter(t *testing.T) {
	server := dbtest.StartRedis(t)
	cluster, _ := dbtest.StartCluster(t)
	for name, servers := range map[string][]*dbtest.Redis{"server": {server}, "cluster": cluster} {
		t.Run(name, func(t *testing.T) {
			var addrs []string
			var masters []redis.UniversalClient
			for _, s := range servers {
				addrs = append(addrs, s.Addr())
				masters = append(masters, open(t, s.Addr()))
			}
			l := NewRedis(open(t, addrs...))
			testLimiter(t, func(t *testing.T, promise limiterPromise) {
				for _, s := range servers {
					s.Do(t, "FLUSHALL")
				}
				promise(t, l, func(d time.Duration) {
					for _, m := range masters {
						age(t, m, d)
					}
				})
			})
		})
	}
}

// age lets time pass for all that a server counts: it drains that much sooner,
// and is forgotten that much sooner.
func age(t *testing.T, c redis.UniversalClient, d time.Duration) {
	t.Helper()
	keys, err := c.Keys(t.Context(), "*").Result()
	must(t, err)
	for _, key := range keys {
		drained, err := c.Get(t.Context(), key).Int64()
		must(t, err)
		left, err := c.PTTL(t.Context(), key).Result()
		must(t, err)
		if left < 0 {
			t.Fatalf("%q is never forgotten", key)
		}
		must(t, c.Set(t.Context(), key, strconv.FormatInt(drained-d.Microseconds(), 10), redis.KeepTTL).Err())
		must(t, c.PExpire(t.Context(), key, left-d).Err())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A host whose clock is an hour ahead was the master.
func TestClockThatGoesBackwardsCostsAWindowAtMost(t *testing.T) {
	server := dbtest.StartRedis(t)
	c := open(t, server.Addr())
	l := NewRedis(c)
	short := Limit{Events: 1, Window: time.Minute}
	mustAllow(t, l, "a", short, 1)
	age(t, c, -time.Hour)
	if wait := mustRefuse(t, l, "a", short); wait > time.Minute {
		t.Errorf("wait %v", wait)
	}
}

func TestEmptiedRedisAllowsAll(t *testing.T) {
	server := dbtest.StartRedis(t)
	l := NewRedis(open(t, server.Addr()))
	mustAllow(t, l, "a", ten(), 10)
	server.Do(t, "FLUSHALL")
	server.Do(t, "SCRIPT", "FLUSH")
	mustAllow(t, l, "a", ten(), 10)
	mustRefuse(t, l, "a", ten())
}

func TestRedisThatIsGoneIsAnError(t *testing.T) {
	server := dbtest.StartRedis(t)
	l := NewRedis(open(t, server.Addr()))
	server.Kill()
	if ok, _, err := l.Allow(t.Context(), "a", ten()); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}
