package session

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsAStore(t *testing.T) {
	testStore(t, func(t *testing.T, promise storePromise) {
		synctest.Test(t, func(t *testing.T) {
			promise(t, NewMemory(MemoryConfig{}), time.Sleep)
		})
	})
}

func TestMemoryExpiresToTheNanosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		mustPut(t, m, "a", "1", time.Minute)
		time.Sleep(time.Minute - time.Nanosecond)
		mustGet(t, m, "a", "1")
		time.Sleep(time.Nanosecond)
		mustMiss(t, m, "a")
	})
}

// mustHold wants m to hold n entries and to account for exactly their bytes.
func mustHold(t *testing.T, m *Memory, n int) {
	t.Helper()
	var bytes int64
	for _, e := range m.entries {
		bytes += e.size()
	}
	if len(m.entries) != n || len(m.expiry) != n || m.bytes != bytes {
		t.Fatalf("holds %d entries, %d in the heap, %d bytes; want %d entries and %d bytes",
			len(m.entries), len(m.expiry), m.bytes, n, bytes)
	}
}

// Attack: logins begun by the thousand and never finished.
func TestFullMemoryDropsWhatExpiresFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{MaxEntries: 100})
		mustPut(t, m, "access token", "1", 2*time.Hour)
		for i := range 10_000 {
			mustPut(t, m, fmt.Sprint("state ", i), "1", 10*time.Minute)
			time.Sleep(time.Millisecond)
		}
		mustHold(t, m, 100)
		mustGet(t, m, "access token", "1")
		mustGet(t, m, "state 9999", "1")
		mustGet(t, m, "state 9901", "1")
		mustMiss(t, m, "state 9900")
	})
}

func TestMemoryIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const maxBytes = 1 << 20
		m := NewMemory(MemoryConfig{MaxBytes: maxBytes})
		for i := range 1_000 {
			mustPut(t, m, fmt.Sprint(i), strings.Repeat("v", 16<<10), time.Minute)
			if m.bytes > maxBytes {
				t.Fatalf("%d bytes, at most %d are allowed", m.bytes, maxBytes)
			}
		}
		mustGet(t, m, "999", strings.Repeat("v", 16<<10))
		if n := len(m.entries); n < 60 {
			t.Errorf("keeps %d values of 16 KB in a megabyte, want 60 or more", n)
		}
		mustHold(t, m, len(m.entries))
	})
}

func TestReplacingInAFullMemoryDropsNothing(t *testing.T) {
	m := NewMemory(MemoryConfig{MaxEntries: 2})
	mustPut(t, m, "a", "1", time.Minute)
	mustPut(t, m, "b", "1", time.Hour)
	mustPut(t, m, "b", "2", time.Hour)
	mustHold(t, m, 2)
	mustGet(t, m, "a", "1")
}

func TestMemoryGivesBackWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		for i := range 1_000 {
			mustPut(t, m, fmt.Sprint(i), "1", time.Minute)
		}
		mustTake(t, m, "0", "1")
		mustHold(t, m, 999)
		time.Sleep(time.Minute)
		mustPut(t, m, "a", "1", time.Minute)
		mustHold(t, m, 1)
	})
}

func BenchmarkMemory(b *testing.B) {
	m := NewMemory(MemoryConfig{})
	value := []byte(strings.Repeat("v", 500))
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprint("state ", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		key := keys[i%len(keys)]
		if err := m.Put(b.Context(), key, value, time.Minute); err != nil {
			b.Fatal(err)
		}
		if _, found, err := m.Take(b.Context(), key); !found || err != nil {
			b.Fatal(found, err)
		}
	}
}
