package limit

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Memory is a Limiter in this process, for one instance. It remembers a bounded
// number of keys: one that has no events left to remember is forgotten, and
// when there are too many, the one that would be next. So whoever comes with
// ever new addresses does not free the busy ones.
//
// It uses the generic cell rate algorithm: a key is one time, the moment at
// which everything counted so far has drained away.
type Memory struct {
	maxKeys int

	mu     sync.Mutex
	keys   map[string]*bucket
	drains drainHeap
}

var _ Limiter = (*Memory)(nil)

type bucket struct {
	key     string
	drained time.Time
	index   int // in the heap
}

// NewMemory returns a Memory of at most maxKeys keys, but of one at least.
func NewMemory(maxKeys int) *Memory {
	return &Memory{maxKeys: maxKeys, keys: make(map[string]*bucket)}
}

// Allow implements Limiter. It never fails.
func (m *Memory) Allow(_ context.Context, key string, l Limit) (ok bool, retryAfter time.Duration, err error) {
	if l.Events <= 0 || l.Window <= 0 {
		return false, max(l.Window, 0), nil
	}
	cost := l.Window / time.Duration(l.Events)
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	drained := now
	b := m.keys[key]
	if b != nil && b.drained.After(now) {
		drained = b.drained
	}
	drained = drained.Add(cost)
	if wait := drained.Sub(now) - l.Window; wait > 0 {
		return false, wait, nil
	}
	if b == nil {
		m.makeRoom(now)
		b = &bucket{key: key, drained: drained}
		m.keys[key] = b
		heap.Push(&m.drains, b)
	}
	b.drained = drained
	heap.Fix(&m.drains, b.index)
	return true, 0, nil
}

// makeRoom forgets the keys that have drained, and if there is no room for one
// more then, the one that is next.
func (m *Memory) makeRoom(now time.Time) {
	for len(m.drains) > 0 && (!m.drains[0].drained.After(now) || len(m.drains) >= m.maxKeys) {
		b := heap.Pop(&m.drains).(*bucket)
		delete(m.keys, b.key)
	}
}

// drainHeap is a container/heap of buckets, the first to have drained on top.
type drainHeap []*bucket

func (h drainHeap) Len() int           { return len(h) }
func (h drainHeap) Less(i, j int) bool { return h[i].drained.Before(h[j].drained) }

func (h drainHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *drainHeap) Push(x any) {
	b := x.(*bucket)
	b.index = len(*h)
	*h = append(*h, b)
}

func (h *drainHeap) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}
