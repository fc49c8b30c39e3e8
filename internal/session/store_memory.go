package session

import (
	"bytes"
	"container/heap"
	"context"
	"sync"
	"time"
)

// MemoryConfig bounds a Memory store.
type MemoryConfig struct {
	// MaxEntries is how many keys are kept. Default: 200,000.
	MaxEntries int
	// MaxBytes is how much memory keys and values take together, about 200
	// bytes of bookkeeping for each included. Default: 128 MB.
	MaxBytes int64
}

// Memory is a Store in this process, for one instance.
//
// When it is full, what would expire first goes first: of a flood of logins
// begun and never finished, that is the oldest of them, and an access token
// outlives them all. What is kept for days, such as what many users of mini
// programs leave, goes before all of it once it takes more than half of the
// room. What has expired is dropped as others are stored, so there is no
// goroutine and nothing to close.
type Memory struct {
	maxEntries int
	maxBytes   int64

	mu      sync.Mutex
	entries map[string]*memoryEntry
	brief   shelf
	lasting shelf // of what is kept for lastingTTL or longer
}

// lastingTTL is longer than that of anything that must not be lost easily: an
// access token lives for two hours.
const lastingTTL = 12 * time.Hour

// shelf is a part of the entries.
type shelf struct {
	expiry expiryHeap
	bytes  int64
}

var _ Store = (*Memory)(nil)

type memoryEntry struct {
	key     string
	value   []byte
	expires time.Time
	on      *shelf
	index   int // in the shelf's heap
}

// entryOverhead is about what an entry takes besides key and value: itself,
// its places in the map and the heap.
const entryOverhead = 200

func (e *memoryEntry) size() int64 { return int64(len(e.key) + len(e.value) + entryOverhead) }

// NewMemory returns an empty store.
func NewMemory(cfg MemoryConfig) *Memory {
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = 200_000
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 128 << 20
	}
	return &Memory{
		maxEntries: cfg.MaxEntries,
		maxBytes:   cfg.MaxBytes,
		entries:    make(map[string]*memoryEntry),
	}
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, key string, value []byte, ttl time.Duration) error {
	if err := checkPut(key, value, ttl); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, value, ttl)
	return nil
}

// Add implements Store.
func (m *Memory) Add(_ context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	if err := checkPut(key, value, ttl); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live(key) != nil {
		return false, nil
	}
	m.put(key, value, ttl)
	return true, nil
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) (value []byte, found bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.live(key); e != nil {
		return bytes.Clone(e.value), true, nil
	}
	return nil, false, nil
}

// Take implements Store.
func (m *Memory) Take(_ context.Context, key string) (value []byte, found bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.live(key); e != nil {
		m.remove(e)
		return e.value, true, nil
	}
	return nil, false, nil
}

// live returns the entry of key unless it has expired.
func (m *Memory) live(key string) *memoryEntry {
	if e := m.entries[key]; e != nil && time.Now().Before(e.expires) {
		return e
	}
	return nil
}

func (m *Memory) put(key string, value []byte, ttl time.Duration) {
	if e := m.entries[key]; e != nil {
		m.remove(e)
	}
	now := time.Now()
	e := &memoryEntry{key: key, value: bytes.Clone(value), expires: now.Add(ttl), on: &m.brief}
	if ttl >= lastingTTL {
		e.on = &m.lasting
	}
	m.makeRoom(now, e.size())
	m.entries[key] = e
	heap.Push(&e.on.expiry, e)
	e.on.bytes += e.size()
}

// makeRoom drops what has expired, and then as much as it takes for one more
// entry of the given size.
func (m *Memory) makeRoom(now time.Time, size int64) {
	for _, s := range []*shelf{&m.brief, &m.lasting} {
		for len(s.expiry) > 0 && !now.Before(s.expiry[0].expires) {
			m.remove(s.expiry[0])
		}
	}
	for len(m.entries) > 0 && (len(m.entries) >= m.maxEntries || m.brief.bytes+m.lasting.bytes+size > m.maxBytes) {
		m.remove(m.victim())
	}
}

// victim is what goes first of a full store.
func (m *Memory) victim() *memoryEntry {
	greedy := 2*len(m.lasting.expiry) > m.maxEntries || 2*m.lasting.bytes > m.maxBytes
	if len(m.brief.expiry) == 0 || greedy {
		return m.lasting.expiry[0]
	}
	return m.brief.expiry[0]
}

func (m *Memory) remove(e *memoryEntry) {
	delete(m.entries, e.key)
	heap.Remove(&e.on.expiry, e.index)
	e.on.bytes -= e.size()
}

// expiryHeap is a container/heap of entries, the first to expire on top.
type expiryHeap []*memoryEntry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires.Before(h[j].expires) }

func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *expiryHeap) Push(x any) {
	e := x.(*memoryEntry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
