package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is done in whatever order, a hit is what a map would have given;
// and with room for everything, so is a miss.
func TestCacheIsAMapThatMayForget(t *testing.T) {
	type stored struct {
		generation uint64
		value      []byte
		subjects   []string
	}
	rapid.Check(t, func(t *rapid.T) {
		maxBytes := rapid.SampledFrom([]int64{0, 64 << 20}).Draw(t, "maxBytes")
		c := NewCache(maxBytes)
		subjects := append(strangers(c, 5), "")
		invalidated := map[string]uint64{}
		generations := []uint64{c.Generation()}
		model := map[Key]stored{}
		key := rapid.Custom(func(t *rapid.T) Key {
			// One shard, and hashes that collide or lie next to each other.
			return Key{1: byte(rapid.IntRange(0, 3).Draw(t, "hash")) << 1, 8: byte(rapid.IntRange(0, 9).Draw(t, "rest"))}
		})
		current := func(s stored) bool {
			for _, subject := range s.subjects {
				if subject != "" && invalidated[subject] > s.generation {
					return false
				}
			}
			return invalidated["everything"] <= s.generation
		}
		t.Repeat(map[string]func(*rapid.T){
			"Put": func(t *rapid.T) {
				k := key.Draw(t, "key")
				s := stored{
					generation: rapid.SampledFrom(generations).Draw(t, "generation"),
					value:      bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.SampledFrom([]int{0, 10, 900, 1100, 10_000, 16 << 10}).Draw(t, "size")),
					subjects:   rapid.SliceOfN(rapid.SampledFrom(subjects), 0, 4).Draw(t, "subjects"),
				}
				c.Put(k, s.generation, s.value, s.subjects...)
				if old, ok := model[k]; current(s) && (!ok || old.generation <= s.generation) {
					model[k] = s
				}
			},
			"Get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				got, hit := c.Get(k, nil)
				want, ok := model[k]
				if !ok || !current(want) {
					delete(model, k)
					if hit {
						t.Fatalf("Get = %.20q of %d bytes, want a miss", got, len(got))
					}
					return
				}
				if hit && !bytes.Equal(got, want.value) {
					t.Fatalf("Get = %.20q of %d bytes, want %.20q of %d", got, len(got), want.value, len(want.value))
				}
				if !hit && maxBytes > 0 {
					t.Fatal("forgot a value although there was room")
				}
				if !hit {
					delete(model, k)
				}
			},
			"Invalidate": func(t *rapid.T) {
				subject := rapid.SampledFrom(subjects[:5]).Draw(t, "subject")
				c.Invalidate(subject)
				generations = append(generations, c.Generation())
				invalidated[subject] = c.Generation()
			},
			"Flush": func(*rapid.T) {
				c.Flush()
				generations = append(generations, c.Generation())
				invalidated["everything"] = c.Generation()
				clear(model)
			},
			"": func(t *rapid.T) { checkShards(t, c) },
		})
	})
}

// checkShards compares what the shards count with what they hold.
func checkShards(t interface{ Fatalf(string, ...any) }, c *Cache) {
	for i := range c.shards {
		s := &c.shards[i]
		held := 0
		for n := range s.arena.chunks {
			live := 0
			for _, r := range s.records(n) {
				live += r.size()
				held++
			}
			if ch := s.arena.chunks[n]; live != ch.live || ch.fill > chunkSize {
				t.Fatalf("chunk %d: counts %d live bytes, holds %d; filled up to %d", n, ch.live, live, ch.fill)
			}
		}
		if held != s.index.n {
			t.Fatalf("shard %d: counts %d records, holds %d", i, s.index.n, held)
		}
	}
}

// Readers, slow readers and writers at once: what comes out of the cache is
// never older than the last change that Invalidate has returned for.
func TestCacheIsNeverBehindUnderLoad(t *testing.T) {
	const users, rounds = 20, 2_000
	c := NewCache(0)
	var database, invalidated [users]atomic.Uint64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { // the shop's visitors
			for range rounds * users {
				user := rand.IntN(users)
				least := invalidated[user].Load()
				if got, ok := c.Get(cacheKey(user), nil); ok {
					if version := binary.LittleEndian.Uint64(got); version < least {
						t.Errorf("user %d: version %d after version %d was invalidated", user, version, least)
					}
					if got[8] != byte(user) || !bytes.Equal(got[9:], make([]byte, len(got)-9)) {
						t.Errorf("user %d: got another value: %.20q", user, got)
					}
					continue
				}
				generation := c.Generation()
				value := binary.LittleEndian.AppendUint64(nil, database[user].Load())
				value = append(value, byte(user))
				runtime.Gosched()
				value = append(value, make([]byte, rand.IntN(3000))...)
				c.Put(cacheKey(user), generation, value, fmt.Sprint(user))
			}
		})
	}
	wg.Go(func() { // logins
		for i := range rounds {
			user := i % users
			version := database[user].Add(1)
			c.Invalidate(fmt.Sprint(user))
			invalidated[user].Store(version)
			runtime.Gosched()
		}
	})
	wg.Go(func() { // a crawler fills the cache
		for i := range rounds {
			c.Put(cacheKey(1000+i), c.Generation(), make([]byte, 8000))
			if i%500 == 0 {
				c.Flush()
				c.Len()
				c.Bytes()
			}
		}
	})
	wg.Wait()
	checkShards(t, c)
}

func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		model := map[location]uint32{} // to hash
		hash := rapid.SampledFrom([]uint32{0, 1, 2, 62, 63, 64, 127, 1<<23 - 1})
		next := location(0)
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				h := hash.Draw(t, "hash")
				x.insert(newSlot(h, granule*(1+int(next)%257), next))
				model[next] = h
				next++
			},
			"remove": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				at := location(rapid.IntRange(0, int(next)-1).Draw(t, "at"))
				h, ok := model[at]
				if i, found := x.find(h, at); found && ok {
					x.remove(i)
				}
				delete(model, at)
			},
			"": func(t *rapid.T) {
				if x.n != len(model) {
					t.Fatalf("counts %d, want %d", x.n, len(model))
				}
				for at := range next {
					h, ok := model[at]
					i, found := x.find(h, at)
					if found != ok || found && x.slots[i] != newSlot(h, granule*(1+int(at)%257), at) {
						t.Fatalf("location %d: found %v, want %v", at, found, ok)
					}
				}
			},
		})
	})
}
