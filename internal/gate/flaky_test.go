package gate

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// flakyAccounts is the real account store, which can be made to fail.
type flakyAccounts struct {
	*account.DB
	down   atomic.Bool
	broken error // of what changes a person's own account; nil: it works
}

var errDown = errors.New("the store is down")

func (f *flakyAccounts) Link(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error) {
	if f.down.Load() {
		return account.Outcome{}, errDown
	}
	return f.DB.Link(ctx, rules, in)
}

func (f *flakyAccounts) Self(ctx context.Context, id string) (account.Self, error) {
	if f.down.Load() {
		return account.Self{}, errDown
	}
	return f.DB.Self(ctx, id)
}

func (f *flakyAccounts) Unbind(ctx context.Context, u account.Unbinding) (account.Outcome, error) {
	if f.broken != nil {
		return account.Outcome{}, f.broken
	}
	return f.DB.Unbind(ctx, u)
}

func (f *flakyAccounts) Cancel(ctx context.Context, x account.Cancelling) (account.Outcome, error) {
	if f.broken != nil {
		return account.Outcome{}, f.broken
	}
	return f.DB.Cancel(ctx, x)
}

func (f *flakyAccounts) Resolve(ctx context.Context, ref account.SessionRef) (account.Resolved, error) {
	if f.down.Load() {
		return account.Resolved{}, errDown
	}
	return f.DB.Resolve(ctx, ref)
}

func (f *flakyAccounts) RevokeSession(ctx context.Context, id string, at, forgetAt time.Time) error {
	if f.down.Load() {
		return errDown
	}
	return f.DB.RevokeSession(ctx, id, at, forgetAt)
}

func (f *flakyAccounts) Ping(ctx context.Context) error {
	if f.down.Load() {
		return errDown
	}
	return f.DB.Ping(ctx)
}

// flakyStore is a real short-lived store, which can be made to fail.
type flakyStore struct {
	session.Store
	down atomic.Bool
}

func (f *flakyStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if f.down.Load() {
		return errDown
	}
	return f.Store.Put(ctx, key, value, ttl)
}

func (f *flakyStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	if f.down.Load() {
		return false, errDown
	}
	return f.Store.Add(ctx, key, value, ttl)
}

func (f *flakyStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if f.down.Load() {
		return nil, false, errDown
	}
	return f.Store.Get(ctx, key)
}

type nopMetrics struct{ silent }

// logBuffer collects the log, so that tests can look for secrets in it.
type logBuffer struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
