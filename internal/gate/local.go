package gate

import (
	"context"
	"time"

	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

// Local is what an instance has for itself beside a Store and a Limiter that it
// shares with others. While those fail, two things go on with it: a login that
// begins and ends on this instance, and the counting of new guests, each
// instance for itself. Nothing else does: codes to phones have to be counted
// across instances, for they cost money and open accounts.
type Local struct {
	Store   session.Store
	Limiter limit.Limiter
}

// logins is the Store of what a login under way needs: its state, its result,
// the ticket of a callback host. What the shared Store does not take is kept
// here, where it is looked for first.
type logins struct{ site *Site }

func (l logins) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s := l.site
	err := s.Store.Put(ctx, key, value, ttl)
	if err == nil || s.Local == nil {
		return err
	}
	s.sharedFailed(ctx, "session", err)
	return s.Local.Store.Put(ctx, key, value, ttl)
}

func (l logins) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	s := l.site
	added, err = s.Store.Add(ctx, key, value, ttl)
	if err == nil || s.Local == nil {
		return added, err
	}
	s.sharedFailed(ctx, "session", err)
	return s.Local.Store.Add(ctx, key, value, ttl)
}

func (l logins) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	return l.find(ctx, key, session.Store.Get)
}

func (l logins) Take(ctx context.Context, key string) (value []byte, found bool, err error) {
	return l.find(ctx, key, session.Store.Take)
}

type finder func(s session.Store, ctx context.Context, key string) ([]byte, bool, error)

func (l logins) find(ctx context.Context, key string, in finder) (value []byte, found bool, err error) {
	if l.site.Local != nil {
		if value, found, err = in(l.site.Local.Store, ctx, key); found {
			return value, true, err
		}
	}
	return in(l.site.Store, ctx, key)
}

// countAddress counts an event of a visitor's block of addresses, if need be on
// this instance alone. Cities share a block, so what is counted like that has
// the one limit that an operator fits to them, mint_limit.
func (s *Site) countAddress(ctx context.Context, v *Visit, event string) (ok bool, wait time.Duration, err error) {
	key := event + ":" + limit.AddressKey(v.ClientIP)
	ok, wait, err = s.Limiter.Allow(ctx, key, s.cfg.MintLimit)
	if err == nil || s.Local == nil {
		return ok, wait, err
	}
	s.sharedFailed(ctx, "limit", err)
	return s.Local.Limiter.Allow(ctx, key, s.cfg.MintLimit)
}

// sharedFailed takes note of a failure that visitors do not meet with.
func (s *Site) sharedFailed(ctx context.Context, store string, err error) {
	s.Metrics.StoreError(store)
	s.sharedLog.Do(func() {
		s.Log.ErrorContext(ctx, "a store that instances share has failed, and this one goes on alone; this is said once a minute",
			"store", store, "error", err)
	})
}
