package session

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// openTest opens the Redis that url names, for one test.
func openTest(t *testing.T, url string) *Redis {
	t.Helper()
	r, err := OpenRedis(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestRedisIsAStore(t *testing.T) {
	t.Parallel()
	server := dbtest.StartRedis(t)
	cluster, clusterURL := dbtest.StartCluster(t)
	sentinels := dbtest.StartSentinels(t)
	for name, kind := range map[string]struct {
		url     string
		masters []*dbtest.Redis
	}{
		"server":   {server.URL(), []*dbtest.Redis{server}},
		"cluster":  {clusterURL, cluster},
		"sentinel": {sentinels.URL(), []*dbtest.Redis{sentinels.Master}},
	} {
		t.Run(name, func(t *testing.T) {
			r := openTest(t, kind.url)
			testStore(t, func(t *testing.T, promise storePromise) {
				for _, m := range kind.masters {
					m.Do(t, "FLUSHALL")
				}
				promise(t, r, func(d time.Duration) { age(t, kind.masters, d) })
			})
		})
	}
}

// age lets time pass for everything that servers keep: each key expires that
// much sooner.
func age(t *testing.T, servers []*dbtest.Redis, d time.Duration) {
	t.Helper()
	for _, s := range servers {
		c := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2})
		defer c.Close()
		keys, err := c.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			left, err := c.PTTL(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			if left < 0 {
				t.Fatalf("%q never expires", key)
			}
			if err := c.PExpire(t.Context(), key, left-d).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
