package limit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsALimiter(t *testing.T) {
	testLimiter(t, func(t *testing.T, promise limiterPromise) {
		synctest.Test(t, func(t *testing.T) { promise(t, NewMemory(100), time.Sleep) })
	})
}

func TestMemoryWaitIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(100)
		mustAllow(t, m, "a", ten(), 10)
		time.Sleep(time.Minute)
		if wait := mustRefuse(t, m, "a", ten()); wait != 5*time.Minute {
			t.Errorf("wait %v, want 5 minutes", wait)
		}
		time.Sleep(5*time.Minute - time.Nanosecond)
		mustRefuse(t, m, "a", ten())
		time.Sleep(time.Nanosecond)
		mustAllow(t, m, "a", ten(), 1)
	})
}

// Attack: an address that has used up its limit comes from thousands of other
// addresses, to be forgotten.
func TestFullMemoryKeepsTheBusiest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(50)
		mustAllow(t, m, "busy", ten(), 10)
		for i := range 10_000 {
			mustAllow(t, m, fmt.Sprint(i), ten(), 1)
			if i%1000 == 0 {
				mustRefuse(t, m, "busy", ten())
			}
		}
		if len(m.keys) != 50 || len(m.drains) != 50 {
			t.Errorf("remembers %d keys, %d in the heap; want 50", len(m.keys), len(m.drains))
		}
	})
}

func TestKeyThatBecomesBusyIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(2)
		mustAllow(t, m, "first", ten(), 1)
		time.Sleep(time.Second)
		mustAllow(t, m, "second", ten(), 1)
		mustAllow(t, m, "first", ten(), 9)
		mustAllow(t, m, "third", ten(), 1)
		mustRefuse(t, m, "first", ten())
	})
}

func TestLeastMemoryHoldsOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(0)
		mustAllow(t, m, "a", ten(), 10)
		mustRefuse(t, m, "a", ten())
		mustAllow(t, m, "b", ten(), 10)
		mustRefuse(t, m, "b", ten())
	})
}

func TestMemoryForgetsWhatHasDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(1000)
		for i := range 500 {
			mustAllow(t, m, fmt.Sprint(i), ten(), 1)
		}
		mustAllow(t, m, "busy", ten(), 10)
		time.Sleep(6 * time.Minute)
		mustAllow(t, m, "new", ten(), 1)
		if len(m.keys) != 2 || len(m.drains) != 2 {
			t.Errorf("remembers %d keys, %d in the heap; want the busy and the new one", len(m.keys), len(m.drains))
		}
	})
}

func TestAddressKey(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":              "192.0.2.0/24",
		"192.0.2.255":            "192.0.2.0/24",
		"192.0.3.0":              "192.0.3.0/24",
		"::ffff:192.0.2.7":       "192.0.2.0/24",
		"::ffff:c000:207":        "192.0.2.0/24",
		"2001:db8:1:2:3::4":      "2001:db8:1:2::/64",
		"2001:DB8:1:2:ffff::":    "2001:db8:1:2::/64",
		"2001:db8:1:3::":         "2001:db8:1:3::/64",
		"fe80::1%eth0":           "fe80::/64",
		"::ffff:192.0.2.7%eth0":  "192.0.2.0/24",
		"::1":                    "::/64",
		"":                       "",
		"@":                      "@",
		"192.0.2.7:1234":         "192.0.2.7:1234",
		"shop.example.com, evil": "shop.example.com, evil",
	} {
		if got := AddressKey(address); got != want {
			t.Errorf("AddressKey(%q) = %q, want %q", address, got, want)
		}
	}
}

// BenchmarkMemory is a flood of new addresses into a full Memory.
func BenchmarkMemory(b *testing.B) {
	m := NewMemory(100_000)
	mint := Limit{Events: 6000, Window: 10 * time.Minute}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if ok, _, _ := m.Allow(b.Context(), fmt.Sprint(i), mint); !ok {
			b.Fatal("refused")
		}
	}
}
