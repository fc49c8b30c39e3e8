package gate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// workLog notes what was asked of the stores.
type workLog struct {
	mu  sync.Mutex
	all []string
}

func (w *workLog) did(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, what)
}

func (w *workLog) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = nil
}

func (w *workLog) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

type loggedAccounts struct {
	Accounts
	work *workLog
}

func (a loggedAccounts) Link(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error) {
	a.work.did("accounts: link")
	return a.Accounts.Link(ctx, rules, in)
}

func (a loggedAccounts) Resolve(ctx context.Context, ref account.SessionRef) (account.Resolved, error) {
	a.work.did("accounts: resolve")
	return a.Accounts.Resolve(ctx, ref)
}

func (a loggedAccounts) PhoneOf(ctx context.Context, userID string) (account.Phone, error) {
	a.work.did("accounts: phone")
	return a.Accounts.PhoneOf(ctx, userID)
}

type loggedStore struct {
	session.Store
	work *workLog
}

func (s loggedStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	// A code ends with a whole second, so its ttl depends on when in a second it was made.
	s.work.did(fmt.Sprint("store: put ", key[:5], len(key), len(value), ttl.Round(time.Minute)))
	return s.Store.Put(ctx, key, value, ttl)
}

func (s loggedStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	s.work.did(fmt.Sprint("store: add ", key[:8], len(key), ttl))
	return s.Store.Add(ctx, key, value, ttl)
}

func (s loggedStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.work.did(fmt.Sprint("store: get ", key[:5], len(key)))
	return s.Store.Get(ctx, key)
}

func (s loggedStore) Take(ctx context.Context, key string) ([]byte, bool, error) {
	s.work.did(fmt.Sprint("store: take ", key[:5], len(key)))
	return s.Store.Take(ctx, key)
}
