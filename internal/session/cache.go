package session

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync/atomic"
)

// Key names a cached value: a SHA-256 of all that the value depends on.
type Key [32]byte

const (
	// A value belongs to so many subjects at most, and has so many bytes.
	maxSubjects = 4
	maxCached   = 16 << 10

	cacheShards = 32
)

// Cache keeps ready answers in a bounded amount of memory. It may forget any of
// them at any time; what is seldom read goes first. Its methods may be called
// by many goroutines.
//
// The garbage collector has nothing to look at in it, however many values it
// holds: values are bytes in chunks, most of them outside of Go's heap where the
// system has that, and the index holds no pointers. So a large cache neither
// slows a collection down nor, by making the heap look large, puts the next one
// off until the garbage takes as much memory as the cache. The memory returns
// to the system when the Cache is no longer used.
//
// A value read from a database is out of date from the moment the database
// changes, also when the reader is slow and comes to Put only later. So the
// reader takes Generation first, then reads, then calls Put with it; the writer
// commits first and then calls Invalidate. What was read before the change then
// never comes out of Get after Invalidate has returned, in whatever order the
// two proceed.
type Cache struct {
	generation atomic.Uint64
	floor      atomic.Uint64 // generation of the last Flush

	// invalidated holds for each subject the generation of its last Invalidate.
	// Subjects share a slot by chance; that only costs a miss. It never fills
	// up, so a wave of logins cannot empty the cache.
	invalidated []atomic.Uint64
	seed        maphash.Seed

	shards [cacheShards]cacheShard
}

// NewCache returns an empty cache that takes maxBytes of memory when it is
// full, but not less than about 2 MB.
func NewCache(maxBytes int64) *Cache {
	// About one slot for every two values of a kilobyte.
	slots := 1 << bits.Len64(uint64(max(maxBytes, 16<<20)/2048-1))
	c := &Cache{
		invalidated: make([]atomic.Uint64, slots),
		seed:        maphash.MakeSeed(),
	}
	reserved := reserve(cacheShards, maxBytes)
	for i := range c.shards {
		s := &c.shards[i]
		part := len(reserved) / cacheShards
		s.reserved = reserved[i*part:][:part:part]
		s.maxBytes = int((maxBytes - int64(8*slots)) / cacheShards)
		s.arena = new(arena)
		// An arena outlives its use: whoever holds a shard's lock holds a
		// pointer into the Cache.
		runtime.AddCleanup(c, (*arena).release, s.arena)
	}
	return c
}

// Generation is taken before reading what Put will be called with.
func (c *Cache) Generation() uint64 { return c.generation.Load() }

// Get appends the value of key to buf. If there is none it returns buf
// unchanged and false.
func (c *Cache) Get(key Key, buf []byte) ([]byte, bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.find(key)
	if !ok {
		return buf, false
	}
	r := s.record(s.index.slots[i].at())
	if c.stale(r.generation(), r.subjects()) {
		s.drop(i)
		return buf, false
	}
	r.setUsed(true)
	return append(buf, r.value()...), true
}

// Put stores value under key, replacing what was there, unless something newer
// is there. Generation is what Generation returned before value was read.
// Subjects are what value was derived from, such as a user id and a session
// id; empty ones count as none. A value of more than 16 KB or more than four
// subjects is not stored.
func (c *Cache) Put(key Key, generation uint64, value []byte, subjects ...string) {
	if len(value) > maxCached || len(subjects) > maxSubjects {
		return
	}
	var slots [maxSubjects]uint32
	for i, subject := range subjects {
		if subject != "" {
			slots[i] = c.slot(subject)
		}
	}
	if c.stale(generation, slots) {
		return // nor does it take the place of what is not
	}
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.place(c, key, generation, len(value)); r != nil {
		r.set(key, generation, slots, value)
	}
}

// Invalidate makes the cache forget every value of subject that was read before
// this call.
func (c *Cache) Invalidate(subject string) {
	generation, slot := c.generation.Add(1), &c.invalidated[c.slot(subject)]
	for {
		last := slot.Load()
		if last >= generation || slot.CompareAndSwap(last, generation) {
			return
		}
	}
}

// Flush makes the cache forget every value that was read before this call.
func (c *Cache) Flush() {
	generation := c.generation.Add(1)
	for {
		last := c.floor.Load()
		if last >= generation || c.floor.CompareAndSwap(last, generation) {
			break
		}
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

// Len is how many values are held, those included that are out of date and not
// yet dropped.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.index.n
		s.mu.Unlock()
	}
	return n
}

// Bytes is how much memory the cache takes.
func (c *Cache) Bytes() int64 {
	n := int64(8 * len(c.invalidated))
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += int64(s.bytes())
		s.mu.Unlock()
	}
	return n
}

func (c *Cache) shard(key Key) *cacheShard { return &c.shards[key[len(key)-1]%cacheShards] }

// hash is what the index knows of k: 23 bits, other ones than choose the shard.
func (k Key) hash() uint32 { return binary.LittleEndian.Uint32(k[:]) >> 9 }

// slot is the place of subject in invalidated. Slot 0 stands for no subject.
func (c *Cache) slot(subject string) uint32 {
	return uint32(max(1, maphash.String(c.seed, subject)&uint64(len(c.invalidated)-1)))
}

// stale says whether what was read at generation has changed since.
func (c *Cache) stale(generation uint64, slots [maxSubjects]uint32) bool {
	for _, slot := range slots {
		if slot != 0 && c.invalidated[slot].Load() > generation {
			return true
		}
	}
	return c.floor.Load() > generation
}
