package gate

import (
	"context"
	"errors"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

// dry returns a site that takes the steps of a visit as this one does, and
// changes nothing: no id is given out, no session ended, nothing stored and
// nothing counted.
func (s *Site) dry() *Site {
	d := *s
	d.Accounts, d.Store, d.Limiter, d.shadow = dryAccounts{s.Accounts}, dryStore{s.Store}, dryLimiter{}, nil
	d.logins = logins{&d}
	return &d
}

// freshID stands for the id of a guest who would be new.
const freshID = "(new)"

// errDry is what a dry site answers where a visit has no business.
var errDry = errors.New("a dry run changes nothing")

// dryAccounts reads.
type dryAccounts struct{ stored Accounts }

func (a dryAccounts) Link(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error) {
	return a.stored.Foresee(ctx, rules, in)
}

func (a dryAccounts) Foresee(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error) {
	return a.stored.Foresee(ctx, rules, in)
}

// Resolve knows besides the member who would be made.
func (a dryAccounts) Resolve(ctx context.Context, ref account.SessionRef) (account.Resolved, error) {
	if ref.UserID == account.UnmadeID {
		return account.Resolved{UserID: ref.UserID, Kind: ref.Kind}, nil
	}
	ref.Unattended = true
	return a.stored.Resolve(ctx, ref)
}

func (a dryAccounts) Hide(text string) string { return a.stored.Hide(text) }

func (dryAccounts) NewGuestID(context.Context) (string, error) { return freshID, nil }

func (dryAccounts) RevokeSession(context.Context, string, time.Time, time.Time) error { return nil }

func (a dryAccounts) PhoneOf(ctx context.Context, userID string) (account.Phone, error) {
	return a.stored.PhoneOf(ctx, userID)
}

func (a dryAccounts) Self(ctx context.Context, id string) (account.Self, error) {
	return a.stored.Self(ctx, id)
}

func (a dryAccounts) Profile(ctx context.Context, appID, openID string) (account.Profile, error) {
	return a.stored.Profile(ctx, appID, openID)
}

func (a dryAccounts) PreviewMerge(ctx context.Context, rules account.Rules, m account.Merging) (account.MergePreview, error) {
	return a.stored.PreviewMerge(ctx, rules, m)
}

func (a dryAccounts) Ping(ctx context.Context) error { return a.stored.Ping(ctx) }

func (dryAccounts) ChangePhone(context.Context, account.PhoneChange) (account.Outcome, error) {
	return account.Outcome{}, errDry
}

func (dryAccounts) KeepProfile(context.Context, account.Profile) (account.Profile, error) {
	return account.Profile{}, errDry
}

func (dryAccounts) Unbind(context.Context, account.Unbinding) (account.Outcome, error) {
	return account.Outcome{}, errDry
}

func (dryAccounts) Cancel(context.Context, account.Cancelling) (account.Outcome, error) {
	return account.Outcome{}, errDry
}

func (dryAccounts) Merge(context.Context, account.Rules, account.Merging) (account.Outcome, error) {
	return account.Outcome{}, errDry
}

// dryStore reads.
type dryStore struct{ stored session.Store }

func (dryStore) Put(context.Context, string, []byte, time.Duration) error { return nil }

func (s dryStore) Add(ctx context.Context, key string, _ []byte, _ time.Duration) (bool, error) {
	_, found, err := s.stored.Get(ctx, key)
	return !found, err
}

func (s dryStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	return s.stored.Get(ctx, key)
}

func (s dryStore) Take(ctx context.Context, key string) ([]byte, bool, error) {
	return s.stored.Get(ctx, key)
}

// dryLimiter counts nothing, so it cannot know when there were too many.
type dryLimiter struct{}

func (dryLimiter) Allow(context.Context, string, limit.Limit) (bool, time.Duration, error) {
	return true, 0, nil
}

// silent counts nothing.
type silent struct{}

func (silent) Request(Level, string)    {}
func (silent) Shadow(Level, string)     {}
func (silent) Identified(time.Duration) {}
func (silent) CacheHit()                {}
func (silent) Login(string, string)     {}
func (silent) Link(account.Code)        {}
func (silent) SMS(string)               {}
func (silent) StoreError(string)        {}
func (silent) Upstream(string, string)  {}
func (silent) Stripped(int)             {}
