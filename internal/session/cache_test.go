package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func cacheKey(i int) Key {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return sha256.Sum256(b[:])
}

// strangers returns n subjects that do not share a slot by chance.
func strangers(c *Cache, n int) []string {
	var subjects []string
	seen := map[uint32]bool{}
	for i := 0; len(subjects) < n; i++ {
		if s := fmt.Sprint("subject ", i); !seen[c.slot(s)] {
			seen[c.slot(s)] = true
			subjects = append(subjects, s)
		}
	}
	return subjects
}

func mustHit(t *testing.T, c *Cache, key Key, value string) {
	t.Helper()
	if got, ok := c.Get(key, nil); !ok || string(got) != value {
		t.Fatalf("Get = %.40q, %v; want %.40q", got, ok, value)
	}
}

func mustForget(t *testing.T, c *Cache, key Key) {
	t.Helper()
	if got, ok := c.Get(key, nil); ok || got != nil {
		t.Fatalf("Get = %.40q, %v; want a miss", got, ok)
	}
}

func TestCacheReturnsWhatWasPut(t *testing.T) {
	c := NewCache(16 << 20)
	values := []string{"", "v", strings.Repeat("v", 63), strings.Repeat("v", 64), strings.Repeat("v", 16<<10)}
	for i, value := range values {
		c.Put(cacheKey(i), c.Generation(), []byte(value), "session", "user", "", "guest")
	}
	for i, value := range values {
		mustHit(t, c, cacheKey(i), value)
	}
	mustForget(t, c, cacheKey(len(values)))
	if c.Len() != len(values) {
		t.Errorf("Len() = %d, want %d", c.Len(), len(values))
	}
}

func TestCacheGetAppends(t *testing.T) {
	c := NewCache(16 << 20)
	c.Put(cacheKey(1), 0, []byte("value"))
	if got, ok := c.Get(cacheKey(1), []byte("buffer ")); !ok || string(got) != "buffer value" {
		t.Errorf("hit: %q, %v", got, ok)
	}
	if got, ok := c.Get(cacheKey(2), []byte("buffer ")); ok || string(got) != "buffer " {
		t.Errorf("miss: %q, %v", got, ok)
	}
}

func TestCacheValueMayGrowAndShrink(t *testing.T) {
	c := NewCache(16 << 20)
	for _, n := range []int{10, 0, 100, 1, 16 << 10, 5, 60, 16 << 10} {
		value := strings.Repeat("v", n)
		c.Put(cacheKey(1), 0, []byte(value))
		mustHit(t, c, cacheKey(1), value)
		if c.Len() != 1 {
			t.Fatalf("Len() = %d, want 1", c.Len())
		}
	}
}

func TestCacheDoesNotTakeWhatIsTooLarge(t *testing.T) {
	c := NewCache(16 << 20)
	c.Put(cacheKey(1), 0, make([]byte, 16<<10+1))
	mustForget(t, c, cacheKey(1))
	c.Put(cacheKey(1), 0, nil, "1", "2", "3", "4", "5")
	mustForget(t, c, cacheKey(1))
}

// Attack: a token whose hash is made to look like another's in the part that
// the index keeps.
func TestCacheComparesKeysInFull(t *testing.T) {
	c := NewCache(16 << 20)
	key := cacheKey(1)
	keys := []Key{key}
	for i := 4; i < len(key)-1; i++ {
		other := key
		other[i] ^= 1
		if other.hash() != key.hash() || c.shard(other) != c.shard(key) {
			t.Fatalf("byte %d tells the keys apart", i)
		}
		mustForget(t, c, other)
		c.Put(other, 0, []byte{byte(i)})
		keys = append(keys, other)
	}
	c.Put(key, 0, []byte{0})
	for i, key := range keys[1:] {
		mustHit(t, c, key, string([]byte{byte(i + 4)}))
	}
	mustHit(t, c, key, "\x00")
}

func TestInvalidateForgetsEveryValueOfASubject(t *testing.T) {
	c := NewCache(16 << 20)
	s := strangers(c, 4)
	c.Put(cacheKey(1), c.Generation(), []byte("1"), s[0], s[1])
	c.Put(cacheKey(2), c.Generation(), []byte("2"), s[2], "", s[1])
	c.Put(cacheKey(3), c.Generation(), []byte("3"), s[0], s[3])
	c.Put(cacheKey(4), c.Generation(), []byte("4"))
	c.Invalidate(s[1])
	mustForget(t, c, cacheKey(1))
	mustForget(t, c, cacheKey(2))
	mustHit(t, c, cacheKey(3), "3")
	mustHit(t, c, cacheKey(4), "4")
	if c.Len() != 2 {
		t.Errorf("Len() = %d, want 2", c.Len())
	}
	c.Put(cacheKey(1), c.Generation(), []byte("new"), s[0], s[1])
	mustHit(t, c, cacheKey(1), "new")
}

// A user is cancelled between the moment when a slow request read him from the
// database and the moment when it remembers what it read.
func TestReaderThatWasTooSlowDoesNotBringTheOldBack(t *testing.T) {
	for name, forget := range map[string]func(*Cache){
		"Invalidate": func(c *Cache) { c.Invalidate("user") },
		"Flush":      func(c *Cache) { c.Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			c := NewCache(16 << 20)
			before := c.Generation()
			forget(c)
			c.Put(cacheKey(1), before, []byte("old"), "session", "user")
			mustForget(t, c, cacheKey(1))

			c.Put(cacheKey(1), c.Generation(), []byte("new"), "session", "user")
			c.Put(cacheKey(1), before, []byte("old"), "session", "user")
			mustHit(t, c, cacheKey(1), "new")
			// Nor when the slow one names less.
			c.Put(cacheKey(1), before, []byte("old"), "session")
			if got, ok := c.Get(cacheKey(1), nil); ok && string(got) == "old" {
				t.Error("the old value replaced the new")
			}
		})
	}
}

func TestFlushForgetsEverything(t *testing.T) {
	c := NewCache(16 << 20)
	for i := range 1000 {
		c.Put(cacheKey(i), c.Generation(), []byte("v"))
	}
	taken := c.Bytes()
	c.Flush()
	for i := range 1000 {
		mustForget(t, c, cacheKey(i))
		c.Put(cacheKey(i), c.Generation(), []byte("w"))
		mustHit(t, c, cacheKey(i), "w")
	}
	if c.Len() != 1000 || c.Bytes() != taken {
		t.Errorf("holds %d values in %d bytes, want 1000 in %d", c.Len(), c.Bytes(), taken)
	}
}

func TestCacheIsBounded(t *testing.T) {
	const maxBytes = 16 << 20
	for _, size := range []int{100, 1000, 4000} {
		c := NewCache(maxBytes)
		for i := range 2 * maxBytes / recordSize(size) {
			c.Put(cacheKey(i), 0, make([]byte, size))
			if i%100 == 0 {
				mustHit(t, c, cacheKey(i), string(make([]byte, size)))
			}
		}
		// The index may be of the next size already.
		if got := c.Bytes(); got > maxBytes+maxBytes/8 {
			t.Errorf("values of %d bytes: takes %d bytes, want %d at most", size, got, maxBytes)
		}
		if used := c.Len() * recordSize(size); used < maxBytes*6/10 {
			t.Errorf("values of %d bytes: %d bytes used of %d", size, used, maxBytes)
		}
	}
}

// 300,000 sessions that are each signed again every 200 s, on a smaller scale:
// the cache neither grows nor forgets, whether or not values keep their size.
func TestRewritingForgetsNothing(t *testing.T) {
	const maxBytes, n = 16 << 20, 9_500 // of about 1,100 bytes: two thirds full
	for _, spread := range []int{0, 1, 300} {
		c := NewCache(maxBytes)
		values := make([][]byte, n)
		for range 4 {
			for _, i := range rand.Perm(n) {
				values[i] = bytes.Repeat([]byte{byte(i)}, 1000-spread/2+rand.IntN(spread+1))
				c.Put(cacheKey(i), 0, values[i])
			}
			for i := range n {
				mustHit(t, c, cacheKey(i), string(values[i]))
			}
		}
		if c.Len() != n || c.Bytes() > maxBytes {
			t.Errorf("spread %d: %d values in %d bytes, want %d in %d", spread, c.Len(), c.Bytes(), n, maxBytes)
		}
	}
}

func TestRewritingMovesNothing(t *testing.T) {
	c := NewCache(16 << 20)
	var at [2][]byte
	for i := range at {
		for j := range 1000 {
			c.Put(cacheKey(j), 0, make([]byte, 1000-i))
		}
		s := c.shard(cacheKey(500))
		n, _ := s.find(cacheKey(500))
		at[i] = s.record(s.index.slots[n].at())
	}
	if &at[0][0] != &at[1][0] {
		t.Error("the value has moved although it fits where it was")
	}
}

// Values of another size than before, as after a change of the configuration,
// get the memory of the old ones.
func TestMemoryGoesToWhereItIsNeeded(t *testing.T) {
	const maxBytes = 16 << 20
	c := NewCache(maxBytes)
	for _, size := range []int{1000, 200, 3000, 600} {
		n := maxBytes / 10 * 6 / recordSize(size)
		c.Flush()
		for range 3 {
			for i := range n {
				c.Put(cacheKey(i), c.Generation(), make([]byte, size))
			}
		}
		if c.Len() != n {
			t.Errorf("size %d: holds %d values, want %d", size, c.Len(), n)
		}
	}
}

// Attack: a crawler with a new session for each request pushes the customers
// out of the cache.
func TestWhatIsReadOutlivesWhatIsNot(t *testing.T) {
	c := NewCache(16 << 20)
	const hot = 3_000 // about a fifth
	for i := range hot {
		c.Put(cacheKey(-i-1), 0, make([]byte, 1000))
	}
	for i := range 100_000 {
		c.Put(cacheKey(i), 0, make([]byte, 1000))
		c.Get(cacheKey(-i%hot-1), nil)
	}
	kept := 0
	for i := range hot {
		if _, ok := c.Get(cacheKey(-i-1), nil); ok {
			kept++
		}
	}
	if kept < hot*99/100 {
		t.Errorf("%d of %d customers are left, want nearly all", kept, hot)
	}
}

// When everything is read, something goes all the same, and not much of it.
func TestFullCacheOfWhatIsReadGoesOn(t *testing.T) {
	const maxBytes = 32 << 20
	c := NewCache(maxBytes)
	value := strings.Repeat("v", 1000)
	for i := range 40_000 { // a third more than there is room for
		c.Put(cacheKey(i), 0, []byte(value))
		mustHit(t, c, cacheKey(i), value)
	}
	checkShards(t, c)
	if used := c.Len() * recordSize(1000); used < maxBytes*8/10 || c.Bytes() > maxBytes {
		t.Errorf("%d bytes used, %d taken of %d", used, c.Bytes(), maxBytes)
	}
}

func TestCacheGetDoesNotAllocate(t *testing.T) {
	c := NewCache(16 << 20)
	c.Put(cacheKey(1), 0, make([]byte, 1000), "session", "user")
	key := cacheKey(1)
	if allocs := testing.AllocsPerRun(100, func() {
		var buf [1024]byte
		c.Get(key, buf[:0])
	}); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}
