package session

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A storePromise is one thing that every Store does. The store is empty, and
// advance lets time pass for it; of a real server's time some passes by itself.
type storePromise func(t *testing.T, s Store, advance func(time.Duration))

// testStore is the conformance suite of Store. With calls its argument with a
// store that no other promise has used.
func testStore(t *testing.T, with func(t *testing.T, promise storePromise)) {
	for _, tc := range []struct {
		name    string
		promise storePromise
	}{
		{"what was put is found, more than once", promiseGet},
		{"a missing key is a miss and no error", promiseMiss},
		{"keys and values are bytes", promiseBytes},
		{"put replaces value and ttl", promiseReplace},
		{"add does not replace what lives", promiseAdd},
		{"add replaces what has expired", promiseAddExpired},
		{"take finds once", promiseTake},
		{"nothing outlives its ttl", promiseExpiry},
		{"of concurrent takers one finds", promiseOneTaker},
		{"of concurrent adders one adds", promiseOneAdder},
		{"values are copied", promiseCopies},
		{"limits are errors and store nothing", promiseLimits},
	} {
		t.Run(tc.name, func(t *testing.T) { with(t, tc.promise) })
	}
}

func mustPut(t *testing.T, s Store, key, value string, ttl time.Duration) {
	t.Helper()
	if err := s.Put(t.Context(), key, []byte(value), ttl); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

func mustAdd(t *testing.T, s Store, key, value string, want bool) {
	t.Helper()
	added, err := s.Add(t.Context(), key, []byte(value), time.Minute)
	if err != nil || added != want {
		t.Fatalf("Add(%q) = %v, %v; want %v", key, added, err, want)
	}
}

// mustGet and mustTake want value under key; mustMiss wants nothing.
func mustGet(t *testing.T, s Store, key, value string) {
	t.Helper()
	got, found, err := s.Get(t.Context(), key)
	if err != nil || !found || string(got) != value {
		t.Fatalf("Get(%q) = %q, %v, %v; want %q", key, got, found, err, value)
	}
}

func mustTake(t *testing.T, s Store, key, value string) {
	t.Helper()
	got, found, err := s.Take(t.Context(), key)
	if err != nil || !found || string(got) != value {
		t.Fatalf("Take(%q) = %q, %v, %v; want %q", key, got, found, err, value)
	}
}

func mustMiss(t *testing.T, s Store, key string) {
	t.Helper()
	for name, read := range map[string]func(context.Context, string) ([]byte, bool, error){"Get": s.Get, "Take": s.Take} {
		if got, found, err := read(t.Context(), key); err != nil || found || got != nil {
			t.Fatalf("%s(%q) = %q, %v, %v; want a miss", name, key, got, found, err)
		}
	}
}

func promiseGet(t *testing.T, s Store, _ func(time.Duration)) {
	mustPut(t, s, "a", "1", time.Minute)
	mustPut(t, s, "b", "2", time.Minute)
	mustGet(t, s, "a", "1")
	mustGet(t, s, "b", "2")
	mustGet(t, s, "a", "1")
}

func promiseMiss(t *testing.T, s Store, _ func(time.Duration)) {
	mustPut(t, s, "a", "1", time.Minute)
	mustMiss(t, s, "A")
	mustMiss(t, s, "a ")
	mustMiss(t, s, "")
	mustMiss(t, s, strings.Repeat("k", 1000))
}

func promiseBytes(t *testing.T, s Store, _ func(time.Duration)) {
	for i, value := range []string{"", "\x00\r\n\xff", strings.Repeat("v", 16<<10)} {
		for _, key := range []string{"k", "a:b/c d\x00\xff*", strings.Repeat("k", 255)} {
			key := key + fmt.Sprint(i)
			mustPut(t, s, key, value, time.Minute)
			mustGet(t, s, key, value)
			mustTake(t, s, key, value)
		}
	}
}

func promiseReplace(t *testing.T, s Store, advance func(time.Duration)) {
	mustPut(t, s, "longer", "1", time.Minute)
	mustPut(t, s, "longer", "2", time.Hour)
	mustPut(t, s, "shorter", "1", time.Hour)
	mustPut(t, s, "shorter", "2", time.Minute)
	mustGet(t, s, "longer", "2")
	mustGet(t, s, "shorter", "2")
	advance(2 * time.Minute)
	mustGet(t, s, "longer", "2")
	mustMiss(t, s, "shorter")
}

func promiseAdd(t *testing.T, s Store, _ func(time.Duration)) {
	mustAdd(t, s, "a", "1", true)
	mustAdd(t, s, "a", "2", false)
	mustGet(t, s, "a", "1")
	mustPut(t, s, "b", "1", time.Minute)
	mustAdd(t, s, "b", "2", false)
	mustTake(t, s, "b", "1")
	mustAdd(t, s, "b", "2", true)
	mustGet(t, s, "b", "2")
}

func promiseAddExpired(t *testing.T, s Store, advance func(time.Duration)) {
	mustAdd(t, s, "a", "1", true)
	advance(30 * time.Second)
	mustAdd(t, s, "a", "2", false) // and the ttl is still that of the first
	advance(30 * time.Second)
	mustAdd(t, s, "a", "3", true)
	mustGet(t, s, "a", "3")
}

func promiseTake(t *testing.T, s Store, _ func(time.Duration)) {
	mustPut(t, s, "a", "1", time.Minute)
	mustTake(t, s, "a", "1")
	mustMiss(t, s, "a")
}

func promiseExpiry(t *testing.T, s Store, advance func(time.Duration)) {
	mustPut(t, s, "short", "1", time.Minute)
	mustPut(t, s, "long", "1", 10*time.Minute)
	advance(40 * time.Second)
	mustGet(t, s, "short", "1")
	advance(20 * time.Second)
	mustMiss(t, s, "short")
	advance(8*time.Minute + 40*time.Second)
	mustGet(t, s, "long", "1")
	advance(20 * time.Second)
	mustMiss(t, s, "long")
}

// The same callback comes twice: one of them may exchange the code.
func promiseOneTaker(t *testing.T, s Store, _ func(time.Duration)) {
	mustPut(t, s, "a", "1", time.Minute)
	if n := countConcurrently(t, func(ctx context.Context) (bool, error) {
		_, found, err := s.Take(ctx, "a")
		return found, err
	}); n != 1 {
		t.Errorf("%d found it, want 1", n)
	}
}

func promiseOneAdder(t *testing.T, s Store, _ func(time.Duration)) {
	if n := countConcurrently(t, func(ctx context.Context) (bool, error) {
		return s.Add(ctx, "a", []byte("1"), time.Minute)
	}); n != 1 {
		t.Errorf("%d added it, want 1", n)
	}
}

// countConcurrently counts how many of many concurrent calls return true.
func countConcurrently(t *testing.T, call func(context.Context) (bool, error)) int64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 32 {
		wg.Go(func() {
			<-start
			ok, err := call(t.Context())
			if err != nil {
				t.Error(err)
			}
			if ok {
				n.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return n.Load()
}

func promiseCopies(t *testing.T, s Store, _ func(time.Duration)) {
	value := []byte("value")
	if err := s.Put(t.Context(), "a", value, time.Minute); err != nil {
		t.Fatal(err)
	}
	value[0] = 'X'
	got, _, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("value", string(got)); diff != "" {
		t.Fatal(diff)
	}
	copy(got, bytes.Repeat([]byte("X"), len(got)))
	mustGet(t, s, "a", "value")
}

func promiseLimits(t *testing.T, s Store, _ func(time.Duration)) {
	mustPut(t, s, "there", "1", time.Minute)
	for _, tc := range []struct {
		name, key, value string
		ttl              time.Duration
	}{
		{"empty key", "", "v", time.Minute},
		{"long key", strings.Repeat("k", 257), "v", time.Minute},
		{"long value", "there", strings.Repeat("v", 16<<10+1), time.Minute},
		{"no ttl", "there", "v", 0},
		{"negative ttl", "there", "v", -time.Second},
		{"ttl under a millisecond", "there", "v", time.Microsecond},
	} {
		if err := s.Put(t.Context(), tc.key, []byte(tc.value), tc.ttl); err == nil {
			t.Errorf("%s: Put took it", tc.name)
		}
		if added, err := s.Add(t.Context(), tc.key, []byte(tc.value), tc.ttl); err == nil || added {
			t.Errorf("%s: Add took it", tc.name)
		}
	}
	mustGet(t, s, "there", "1")
	mustMiss(t, s, strings.Repeat("k", 257))
}
