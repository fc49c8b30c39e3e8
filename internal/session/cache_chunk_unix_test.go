//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package session

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// mapped says whether mem is memory of this process: the system refuses to read
// from it otherwise, where reading it here would end the process.
func mapped(t *testing.T, mem []byte) bool {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	_, err = syscall.Write(int(w.Fd()), mem[:1])
	return err == nil
}

// A configuration that is gone must not keep its cache.
func TestUnusedCacheGivesItsMemoryBack(t *testing.T) {
	c := NewCache(64 << 20)
	n := 0
	inHeap := len(c.shards[0].reserved) / chunkSize
	for len(c.shard(cacheKey(n)).arena.chunks) <= inHeap {
		n++
		c.Put(cacheKey(n), 0, make([]byte, 1000))
	}
	mem := c.shard(cacheKey(n)).arena.chunks[inHeap].mem
	runtime.GC()
	if !mapped(t, mem) {
		t.Fatal("memory is gone while the cache is in use")
	}
	mustHit(t, c, cacheKey(n), string(make([]byte, 1000)))
	c = nil
	for range 1000 {
		runtime.GC()
		if !mapped(t, mem) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("memory is still there when the cache is not")
}
