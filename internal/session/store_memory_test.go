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
	inHeaps, counted := len(m.brief.expiry)+len(m.lasting.expiry), m.brief.bytes+m.lasting.bytes
	if len(m.entries) != n || inHeaps != n || counted != bytes {
		t.Fatalf("holds %d entries, %d in the heaps, %d bytes; want %d entries and %d bytes", len(m.entries), inHeaps, counted, n, bytes)
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

// A crowd whose keys are kept for days leaves room for logins that take minutes.
func TestWhatIsKeptForDaysLeavesRoom(t *testing.T) {
	for name, cfg := range map[string]MemoryConfig{"entries": {MaxEntries: 100}, "bytes": {MaxBytes: 100 * (entryOverhead + 20)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(cfg)
				for i := range 1_000 {
					mustPut(t, m, fmt.Sprintf("key %08d", i), "12345678", 72*time.Hour)
					time.Sleep(time.Millisecond)
				}
				mustGet(t, m, "key 00000901", "12345678") // alone it may have all the room
				for i := range 1_000 {
					mustPut(t, m, fmt.Sprintf("key %08d", i), "12345678", 72*time.Hour)
					mustPut(t, m, fmt.Sprintf("state %06d", i), "12345678", 10*time.Minute)
					time.Sleep(time.Millisecond)
				}
				for i := range 49 {
					mustGet(t, m, fmt.Sprintf("state %06d", 999-i), "12345678")
					mustGet(t, m, fmt.Sprintf("key %08d", 999-i), "12345678")
				}
				mustHold(t, m, 100)
				mustPut(t, m, "key 00000999", "12345678", time.Minute) // changes its place
				mustHold(t, m, 100)
			})
		})
	}
}

func TestMemoryIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const maxBytes = 1 << 20
		m := NewMemory(MemoryConfig{MaxBytes: maxBytes})
		for i := range 1_000 {
			mustPut(t, m, fmt.Sprint(i), strings.Repeat("v", 16<<10), time.Minute)
			if counted := m.brief.bytes + m.lasting.bytes; counted > maxBytes {
				t.Fatalf("%d bytes, at most %d are allowed", counted, maxBytes)
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
