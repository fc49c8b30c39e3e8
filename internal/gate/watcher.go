package gate

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// InvalidationLog is the part of the account store that tells which cached
// answers are out of date. Each call tells what was committed since the one
// before. Entries may repeat; none is left out, also when transactions commit
// out of order, and after an error the next call makes up for this one.
type InvalidationLog interface {
	Next(ctx context.Context, tell func(account.Invalidation)) error
}

// watchInterval keeps revocation within the 5 s that the contract allows.
const watchInterval = 2 * time.Second

// Watcher drops cached sessions that the invalidation log names, and knows how
// long ago it could last read that log. It is safe for concurrent use.
type Watcher struct {
	log    InvalidationLog
	cache  *session.Cache
	lastOK atomic.Int64 // Unix nanoseconds
	outbox outbox       // of what other instances are to hear at once

	mu sync.Mutex // around a reload two Runs overlap
}

// NewWatcher returns a Watcher that believes the log was read just now.
func NewWatcher(log InvalidationLog, cache *session.Cache) *Watcher {
	w := &Watcher{log: log, cache: cache, outbox: newOutbox()}
	w.lastOK.Store(time.Now().UnixNano())
	return w
}

// Changed is told what this process has committed. It drops that from the cache
// and lets other instances hear of it.
func (w *Watcher) Changed(inv account.Invalidation) {
	w.drop(inv)
	w.outbox.put(inv.UserID)
	w.outbox.put(inv.SessionID)
}

func (w *Watcher) drop(inv account.Invalidation) {
	w.forget(inv.UserID)
	w.forget(inv.SessionID)
}

func (w *Watcher) forget(subject string) {
	if subject != "" {
		w.cache.Invalidate(subject)
	}
}

// Fresh says whether the log could be read within staleFor before now.
func (w *Watcher) Fresh(now time.Time, staleFor time.Duration) bool {
	return now.UnixNano()-w.lastOK.Load() <= int64(staleFor)
}

// Healthy says whether the last reading, within two rounds, succeeded.
func (w *Watcher) Healthy(now time.Time) bool {
	return w.Fresh(now, 2*watchInterval+storeTimeout)
}

// Run reads the log every two seconds until ctx ends. The logger is told when
// that begins to fail and when it works again.
func (w *Watcher) Run(ctx context.Context, logger *slog.Logger) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	failing := false
	for {
		err := w.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			logger.Error("reading the invalidation log; cached users are served on for stale_for", "error", err)
		case err == nil && failing:
			logger.Info("the invalidation log can be read again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *Watcher) poll(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := w.log.Next(ctx, w.drop); err != nil {
		return err
	}
	w.lastOK.Store(started.UnixNano())
	return nil
}
