package session

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// fill puts n values of 1,000 bytes, and returns their keys in another order.
func fill(c *Cache, n int) []Key {
	keys := make([]Key, n)
	value := make([]byte, 1000)
	for i, j := range rand.Perm(n) {
		keys[j] = cacheKey(i)
		c.Put(keys[j], 0, value, "session "+strconv.Itoa(i), "user "+strconv.Itoa(i))
	}
	return keys
}

func BenchmarkCacheGet(b *testing.B) {
	for _, n := range []int{1, 300_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c := NewCache(512 << 20)
			keys := fill(c, n)
			buf := make([]byte, 0, 2048)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, ok := c.Get(keys[i%n], buf); !ok {
					b.Fatal("miss")
				}
			}
		})
	}
}

// BenchmarkCachePut writes again what is there, and beyond what the cache can
// hold, where each Put pushes something out.
func BenchmarkCachePut(b *testing.B) {
	for name, maxBytes := range map[string]int64{"replacing": 512 << 20, "evicting": 256 << 20} {
		b.Run(name, func(b *testing.B) {
			c := NewCache(maxBytes)
			keys := fill(c, 300_000)
			value := make([]byte, 1000)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.Put(keys[i%len(keys)], 0, value, "session", "user")
			}
		})
	}
}

// BenchmarkCacheCollection is what a garbage collection costs with 300,000
// values cached.
func BenchmarkCacheCollection(b *testing.B) {
	for _, n := range []int{0, 300_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c := NewCache(512 << 20)
			fill(c, n)
			for b.Loop() {
				runtime.GC()
			}
			runtime.KeepAlive(c)
		})
	}
}

// BenchmarkCacheMemory makes garbage, as a server does, and reports by how much
// 100,000 values let the process grow.
func BenchmarkCacheMemory(b *testing.B) {
	churn := func(size int) {
		for range 1_000_000 {
			runtime.KeepAlive(make([]byte, size))
		}
	}
	churn(2000)
	before := resident()
	c := NewCache(512 << 20)
	fill(c, 100_000)
	for b.Loop() {
		churn(2000)
	}
	b.ReportMetric((resident()-before)/1e6, "MB")
	b.ReportMetric(float64(c.Bytes())/1e6, "MB-counted")
}

// resident is the resident memory of this process in bytes, where /proc tells.
func resident() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, _ := strconv.Atoi(strings.Fields(rest)[0])
	return float64(kb) * 1024
}
