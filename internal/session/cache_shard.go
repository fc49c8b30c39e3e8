package session

import (
	"encoding/binary"
	"sync"
)

const (
	// Chunks are small so that a small cache is small, and so that tidying one
	// up, which holds the shard's lock, takes microseconds.
	chunkSize = 64 << 10
	// worthwhile is how much space tidying a chunk up must give, in bytes.
	worthwhile = chunkSize / 16
	// heapBytes of all shards together lie in Go's heap, reserved at once and
	// unused at first, so that the system gives no memory for them. The
	// collector runs when the heap has doubled: behind a busy proxy, whose own
	// heap is small, that is so often that a heap of this size saves more than
	// the whole gate costs. More of it would only hold more garbage.
	heapBytes = 32 << 20
	// granule is the unit of a record's size, and a cache line. What is left
	// of the last one lets a value grow a little in its place.
	granule = 64
)

// A location is where a record starts, in granules from the start of the first
// chunk: 2^32 of them are 256 GB.
type location uint32

// A cacheShard is a part of a Cache under a lock of its own.
//
// New records go to the end of the current chunk. A record that is written
// again stays where it is if the value fits, so that the steady state, where
// each value is replaced by one of its size, moves nothing. When the current
// chunk is full, a chunk with enough dead space is tidied up, or there is room
// for a new chunk, or records are dropped: chunk after chunk in turn, those that
// were not read since the last turn (the CLOCK algorithm).
type cacheShard struct {
	mu       sync.Mutex
	index    index
	arena    *arena
	reserved []byte // for the first chunks
	current  int    // chunk that grows
	hand     int    // chunk where records were last dropped
	maxBytes int
}

// An arena is the memory of a shard.
type arena struct {
	chunks []chunk
}

type chunk struct {
	mem  []byte
	fill int // up to here it is a sequence of records, dead ones included
	live int // bytes in records that are in the index
}

func (a *arena) release() {
	for _, c := range a.chunks {
		freeChunk(c.mem)
	}
}

func (s *cacheShard) bytes() int { return len(s.arena.chunks)*chunkSize + 8*len(s.index.slots) }

// record returns the record at a location, and what follows it in its chunk.
func (s *cacheShard) record(at location) record {
	n := int(at) * granule
	return record(s.arena.chunks[n/chunkSize].mem[n%chunkSize:])
}

// find returns the number of the index slot of key.
func (s *cacheShard) find(key Key) (int, bool) {
	hash := key.hash()
	i, ok := s.index.next(hash, int(hash))
	for ok && s.record(s.index.slots[i].at()).key() != key {
		i, ok = s.index.next(hash, i+1)
	}
	return i, ok
}

// drop forgets the record of index slot number i.
func (s *cacheShard) drop(i int) {
	sl := s.index.slots[i]
	s.arena.chunks[int(sl.at())*granule/chunkSize].live -= sl.size()
	s.index.remove(i)
}

func (s *cacheShard) clear() {
	s.index.clear()
	for i := range s.arena.chunks {
		s.arena.chunks[i].fill, s.arena.chunks[i].live = 0, 0
	}
	s.current = 0
}

// place returns an indexed record for a value of n bytes, to be written at
// once, or nil if key has a value of a later generation.
func (s *cacheShard) place(c *Cache, key Key, generation uint64, n int) record {
	size := recordSize(n)
	if i, ok := s.find(key); ok {
		r := s.record(s.index.slots[i].at())
		switch {
		case r.generation() > generation:
			return nil
		case r.size() >= size:
			return r
		}
		s.drop(i)
	}
	if !s.fits(size) {
		s.makeRoom(c, size)
	}
	ch := &s.arena.chunks[s.current]
	at := location((s.current*chunkSize + ch.fill) / granule)
	ch.fill += size
	ch.live += size
	s.index.insert(newSlot(key.hash(), size, at))
	r := s.record(at)
	r.setSize(size)
	r.setUsed(false)
	return r
}

func (s *cacheShard) fits(size int) bool {
	chunks := s.arena.chunks
	return len(chunks) > 0 && chunks[s.current].fill+size <= chunkSize
}

// reserve makes the memory of the first chunks of n shards, at most half of
// what the cache may take.
func reserve(n int, maxBytes int64) []byte {
	whole := int64(n * chunkSize)
	return make([]byte, min(heapBytes, maxBytes/2)/whole*whole)
}

// chunkMemory returns zeroed memory for a new chunk.
func (s *cacheShard) chunkMemory() []byte {
	if len(s.reserved) < chunkSize {
		return newChunk()
	}
	mem := s.reserved[:chunkSize:chunkSize]
	s.reserved = s.reserved[chunkSize:]
	return mem
}

// makeRoom makes current a chunk that has room for a record of the given size.
func (s *cacheShard) makeRoom(c *Cache, size int) {
	gain := max(size, worthwhile)
	for i := range s.arena.chunks {
		if s.arena.chunks[i].live+gain <= chunkSize {
			s.compact(i)
			s.current = i
			return
		}
	}
	if n := len(s.arena.chunks); n == 0 || s.bytes()+chunkSize <= s.maxBytes {
		s.arena.chunks = append(s.arena.chunks, chunk{mem: s.chunkMemory()})
		s.current = n
		return
	}
	s.current = s.evict(c, gain)
	s.compact(s.current)
}

// evict returns the number of a chunk that it has freed gain bytes of. It drops
// what was not read since its last turn; only when a few chunks in a row have
// too little of that does it drop the first records of one, read or not.
func (s *cacheShard) evict(c *Cache, gain int) int {
	for range 8 {
		s.hand = (s.hand + 1) % len(s.arena.chunks)
		for i, r := range s.records(s.hand) {
			if r.used() && !c.stale(r.generation(), r.subjects()) {
				r.setUsed(false)
			} else {
				s.drop(i)
			}
		}
		if s.arena.chunks[s.hand].live+gain <= chunkSize {
			return s.hand
		}
	}
	for i := range s.records(s.hand) {
		if s.arena.chunks[s.hand].live+gain <= chunkSize {
			break
		}
		s.drop(i)
	}
	return s.hand
}

// compact moves the live records of a chunk to its front.
func (s *cacheShard) compact(n int) {
	ch := &s.arena.chunks[n]
	to := 0
	for i, r := range s.records(n) {
		size := r.size()
		s.index.slots[i] = newSlot(r.key().hash(), size, location((n*chunkSize+to)/granule))
		copy(ch.mem[to:], r[:size])
		to += size
	}
	ch.fill = to
}

// records goes over the live records of a chunk from its front, with the
// numbers of their index slots. The loop may drop the record, and move it
// towards the front.
func (s *cacheShard) records(n int) func(yield func(int, record) bool) {
	return func(yield func(int, record) bool) {
		ch := &s.arena.chunks[n]
		for offset := 0; offset < ch.fill; {
			at := location((n*chunkSize + offset) / granule)
			r := record(ch.mem[offset:])
			offset += r.size()
			if i, ok := s.index.find(r.key().hash(), at); ok && !yield(i, r) {
				return
			}
		}
	}
}

// A record is the bytes of one cached value:
//
//	0  key         32 bytes
//	32 generation  8 bytes
//	40 subjects    4 slots of 4 bytes
//	56 length      2 bytes, of the value
//	58 size        2 bytes, of the whole record in granules
//	60 used        1 byte, whether it was read
//	64 value
type record []byte

const recordHeader = 64

// recordSize is how many bytes a record of a value of n bytes takes.
func recordSize(n int) int { return (recordHeader + n + granule - 1) / granule * granule }

func (r record) key() Key           { return Key(r[:32]) }
func (r record) generation() uint64 { return binary.LittleEndian.Uint64(r[32:]) }
func (r record) size() int          { return int(binary.LittleEndian.Uint16(r[58:])) * granule }
func (r record) used() bool         { return r[60] != 0 }

func (r record) subjects() (slots [maxSubjects]uint32) {
	for i := range slots {
		slots[i] = binary.LittleEndian.Uint32(r[40+4*i:])
	}
	return slots
}

func (r record) value() []byte {
	return r[recordHeader:][:binary.LittleEndian.Uint16(r[56:])]
}

func (r record) setSize(size int) { binary.LittleEndian.PutUint16(r[58:], uint16(size/granule)) }

func (r record) setUsed(used bool) {
	r[60] = 0
	if used {
		r[60] = 1
	}
}

// set writes everything but size and used: a value that replaces another in its
// place was wanted before.
func (r record) set(key Key, generation uint64, slots [maxSubjects]uint32, value []byte) {
	copy(r, key[:])
	binary.LittleEndian.PutUint64(r[32:], generation)
	for i, slot := range slots {
		binary.LittleEndian.PutUint32(r[40+4*i:], slot)
	}
	binary.LittleEndian.PutUint16(r[56:], uint16(len(value)))
	copy(r[recordHeader:], value)
}
