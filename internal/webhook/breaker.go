package webhook

import (
	"sync"
	"time"
)

const (
	breakAfter = 5               // failures in a row
	breakFor   = 5 * time.Second // then one call at a time tries whether it works again
)

// breaker stops calling a shop that does not answer, so that neither its
// visitors wait in vain nor it is trampled down while it comes back. The zero
// breaker lets calls through.
type breaker struct {
	mu       sync.Mutex
	failures int
	until    time.Time
}

// enter says whether a call may be made.
func (b *breaker) enter(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(CallTimeout) // others wait for the outcome
	return true
}

// leave takes note of how a call ended.
func (b *breaker) leave(now time.Time, answered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answered {
		b.failures = 0
		return
	}
	if b.failures++; b.failures >= breakAfter {
		b.until = now.Add(breakFor)
	}
}
