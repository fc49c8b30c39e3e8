package limit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A limiterPromise is one thing that every Limiter does. No other promise has
// used the limiter, and advance lets time pass for it; of a real server's time
// some passes by itself.
type limiterPromise func(t *testing.T, l Limiter, advance func(time.Duration))

// testLimiter is the conformance suite of Limiter.
func testLimiter(t *testing.T, with func(t *testing.T, promise limiterPromise)) {
	for _, tc := range []struct {
		name    string
		promise limiterPromise
	}{
		{"a burst of all events, and no more", promiseBurst},
		{"the wait it tells is neither too short nor too long", promiseWait},
		{"after a quiet window all events again", promiseQuiet},
		{"what is refused is not counted", promiseRefusalsAreFree},
		{"in the long run the rate holds", promiseRate},
		{"keys do not touch each other", promiseKeys},
		{"one event per window", promiseOne},
		{"a limit of nothing allows nothing", promiseNothing},
		{"concurrent events are counted one by one", promiseConcurrent},
	} {
		t.Run(tc.name, func(t *testing.T) { with(t, tc.promise) })
	}
}

// ten an hour: each costs six minutes, beside which the time that tests take is
// nothing.
func ten() Limit { return Limit{Events: 10, Window: time.Hour} }

func mustAllow(t *testing.T, l Limiter, key string, limit Limit, events int) {
	t.Helper()
	for i := range events {
		if ok, wait, err := l.Allow(t.Context(), key, limit); !ok || wait != 0 || err != nil {
			t.Fatalf("event %d of %d: Allow(%q) = %v, %v, %v; want it allowed", i+1, events, key, ok, wait, err)
		}
	}
}

// mustRefuse returns the time to wait.
func mustRefuse(t *testing.T, l Limiter, key string, limit Limit) time.Duration {
	t.Helper()
	ok, wait, err := l.Allow(t.Context(), key, limit)
	if ok || err != nil {
		t.Fatalf("Allow(%q) = %v, %v, %v; want it refused", key, ok, wait, err)
	}
	return wait
}

func promiseBurst(t *testing.T, l Limiter, _ func(time.Duration)) {
	mustAllow(t, l, "a", ten(), 10)
	mustRefuse(t, l, "a", ten())
}

func promiseWait(t *testing.T, l Limiter, advance func(time.Duration)) {
	mustAllow(t, l, "a", ten(), 10)
	wait := mustRefuse(t, l, "a", ten())
	if wait > 6*time.Minute || wait < 5*time.Minute {
		t.Fatalf("wait %v, want 6 minutes", wait)
	}
	advance(wait - 2*time.Minute)
	mustRefuse(t, l, "a", ten())
	advance(2 * time.Minute)
	mustAllow(t, l, "a", ten(), 1)
	mustRefuse(t, l, "a", ten())
}

func promiseQuiet(t *testing.T, l Limiter, advance func(time.Duration)) {
	mustAllow(t, l, "a", ten(), 10)
	for range 3 {
		advance(time.Hour)
		mustAllow(t, l, "a", ten(), 10)
		mustRefuse(t, l, "a", ten())
	}
	advance(48 * time.Hour)
	mustAllow(t, l, "a", ten(), 10)
	mustRefuse(t, l, "a", ten())
}

func promiseRefusalsAreFree(t *testing.T, l Limiter, advance func(time.Duration)) {
	mustAllow(t, l, "a", ten(), 10)
	for range 100 {
		mustRefuse(t, l, "a", ten())
	}
	advance(6 * time.Minute)
	mustAllow(t, l, "a", ten(), 1)
}

func promiseRate(t *testing.T, l Limiter, advance func(time.Duration)) {
	allowed := 0
	for range 600 { // ten hours, an event each minute
		if ok, _, err := l.Allow(t.Context(), "a", ten()); err != nil {
			t.Fatal(err)
		} else if ok {
			allowed++
		}
		advance(time.Minute)
	}
	if allowed < 100 || allowed > 110 {
		t.Errorf("%d events in ten hours, want 100 and a burst of ten at most", allowed)
	}
}

func promiseKeys(t *testing.T, l Limiter, _ func(time.Duration)) {
	mustAllow(t, l, "a", ten(), 10)
	mustRefuse(t, l, "a", ten())
	mustAllow(t, l, "A", ten(), 10)
	mustAllow(t, l, "", ten(), 10)
	mustAllow(t, l, "a:\x00", Limit{Events: 1000, Window: 24 * time.Hour}, 1000)
}

// As a code is sent to a phone, though once a minute.
func promiseOne(t *testing.T, l Limiter, advance func(time.Duration)) {
	once := Limit{Events: 1, Window: time.Hour}
	mustAllow(t, l, "a", once, 1)
	advance(58 * time.Minute)
	mustRefuse(t, l, "a", once)
	advance(2 * time.Minute)
	mustAllow(t, l, "a", once, 1)
	mustRefuse(t, l, "a", once)
}

func promiseNothing(t *testing.T, l Limiter, _ func(time.Duration)) {
	mustRefuse(t, l, "a", Limit{})
	mustRefuse(t, l, "a", Limit{Window: time.Minute})
	mustRefuse(t, l, "a", Limit{Events: -1, Window: time.Minute})
	mustRefuse(t, l, "a", Limit{Events: 1})
	mustRefuse(t, l, "a", Limit{Events: 1, Window: -time.Minute})
}

func promiseConcurrent(t *testing.T, l Limiter, _ func(time.Duration)) {
	slow := Limit{Events: 30, Window: 24 * time.Hour}
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			ok, _, err := l.Allow(t.Context(), "a", slow)
			if err != nil {
				t.Error(err)
			}
			if ok {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 30 {
		t.Errorf("%d are allowed, want 30", allowed.Load())
	}
}
