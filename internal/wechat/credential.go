package wechat

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// WeChat hands out the same token until the last five minutes of its life,
	// when old and new both work. Refreshing begins at a random moment in the
	// five minutes before.
	credentialOverlap = 5 * time.Minute

	// refreshFloor spaces refreshes of a credential that is near its end
	// already.
	refreshFloor = time.Minute

	// renewInterval spaces fetches that a dead or unrefreshable credential
	// causes.
	renewInterval = 10 * time.Second

	leaseLife = callTimeout + time.Second // of the one that fetches
	leasePoll = 50 * time.Millisecond     // of those that wait for it
)

// Shared is where several clients, each in an instance of its own, keep one
// access token per app, so that each is fetched once for all of them. It holds
// secrets: values have to be sealed on their way.
//
// A missing or expired key is found=false, err=nil. An error means that the
// store is broken; then a client fetches tokens for itself, which the platform
// allows.
type Shared interface {
	// Put sets key to value for ttl, replacing what was there.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Add sets key only if it is absent and says whether it did.
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error)
	// Get returns the value of key.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Take returns the value of key and deletes it in one step.
	Take(ctx context.Context, key string) (value []byte, found bool, err error)
}

// credential is an access token of an app, or the ticket of its pages.
type credential struct {
	Value     string    `json:"v"`
	Fetched   time.Time `json:"f"`
	RefreshAt time.Time `json:"r"` // fetch the next one, this one still works
	Expires   time.Time `json:"e"`
}

// replaces says whether c can be used where old cannot any more, or is due.
func (c credential) replaces(old credential) bool {
	return time.Now().Before(c.Expires) && (c.Value != old.Value || c.Fetched.After(old.Fetched))
}

// newCredential is one that was fetched now.
func newCredential(value string, life time.Duration) credential {
	now := time.Now()
	return credential{Value: value, Fetched: now, RefreshAt: now.Add(refreshAfter(life)), Expires: now.Add(life)}
}

// refreshAfter says how long a credential of this life is used before a
// refresh.
func refreshAfter(life time.Duration) time.Duration {
	early := life - credentialOverlap - mathrand.N(credentialOverlap)
	return max(early, min(life/2, refreshFloor))
}

// source is where a kind of credential comes from.
type source struct {
	api   string // what fetch calls
	key   string // of the credential
	fetch func(ctx context.Context) (value string, life time.Duration, err error)
}

// credentials keeps one credential per key: in memory, and behind that in a
// store that other instances share. Whoever finds none takes a lease on the key,
// fetches and stores; the others wait for what he stores.
type credentials struct {
	shared  Shared // nil: this client is alone
	logger  *slog.Logger
	flights singleflight.Group // by key

	mu sync.Mutex
	m  map[string]credential
}

// cached returns the credential of a key; found=false means none that is alive.
func (c *credentials) cached(key string) (got credential, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got, found = c.m[key]
	return got, found && time.Now().Before(got.Expires)
}

func (c *credentials) keep(key string, got credential) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]credential{}
	}
	c.m[key] = got
}

// get returns a credential. One that is due for a refresh is returned all the
// same, and fetched anew in the background.
func (c *credentials) get(ctx context.Context, src source) (credential, error) {
	got, found := c.cached(src.key)
	if !found {
		return c.wait(ctx, src, credential{})
	}
	if !time.Now().Before(got.RefreshAt) {
		c.start(ctx, src, got)
	}
	return got, nil
}

// renew returns the credential to use after WeChat has refused one: another one
// if there is one already, else a new one. It returns the refused one itself if
// that was fetched a moment ago.
func (c *credentials) renew(ctx context.Context, src source, refused string) (credential, error) {
	old := credential{Value: refused, Fetched: time.Now().Add(-renewInterval)}
	if got, found := c.cached(src.key); found && got.replaces(old) {
		return got, nil
	}
	return c.wait(ctx, src, old)
}

// wait waits for a fetch, its own or one that is under way.
func (c *credentials) wait(ctx context.Context, src source, old credential) (credential, error) {
	select {
	case r := <-c.start(ctx, src, old):
		got, _ := r.Val.(credential)
		return got, r.Err
	case <-ctx.Done():
		return credential{}, transportError(ctx, src.api, ctx.Err())
	}
}

// start joins or starts the replacement of old. It goes on when the caller
// gives up, since others may wait for it.
func (c *credentials) start(ctx context.Context, src source, old credential) <-chan singleflight.Result {
	ctx = context.WithoutCancel(ctx)
	return c.flights.DoChan(src.key, func() (any, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		got, err := c.replace(ctx, src, old)
		if err == nil {
			c.keep(src.key, got)
		} else if kept, found := c.cached(src.key); found {
			kept.RefreshAt = time.Now().Add(renewInterval)
			c.keep(src.key, kept)
		}
		return got, err
	})
}

// replace finds what another instance has fetched, or fetches for all of them.
func (c *credentials) replace(ctx context.Context, src source, old credential) (credential, error) {
	holder := []byte(rand.Text())
	leased := false
	for c.shared != nil {
		got, found, err := c.lookUp(ctx, src.key, old)
		if found {
			if leased {
				c.release(ctx, src.key, holder)
			}
			return got, nil
		}
		if leased {
			break
		}
		if err == nil {
			leased, err = c.shared.Add(ctx, leaseKey(src.key), holder, leaseLife)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			c.logger.WarnContext(ctx, "looking for an access token of the other instances; this one fetches its own", "error", err)
			return c.fetch(ctx, src)
		case leased: // look again: it may have been stored a moment ago
		case !sleep(ctx, leasePoll):
			return credential{}, transportError(ctx, src.api, ctx.Err())
		}
	}
	got, err := c.fetch(ctx, src)
	if leased {
		c.hand(context.WithoutCancel(ctx), src.key, holder, got, err)
	}
	return got, err
}

// lookUp looks for what takes the place of old in the shared store.
func (c *credentials) lookUp(ctx context.Context, key string, old credential) (got credential, found bool, err error) {
	raw, found, err := c.shared.Get(ctx, key)
	if err != nil || !found || json.Unmarshal(raw, &got) != nil {
		return credential{}, false, err
	}
	return got, got.replaces(old), nil
}

func (c *credentials) fetch(ctx context.Context, src source) (credential, error) {
	value, life, err := src.fetch(ctx)
	if err != nil {
		return credential{}, err
	}
	return newCredential(value, life), nil
}

// hand stores what was fetched for the others, and ends the lease. The holder's
// name is the fence: if the lease ran out meanwhile and is another's, that one
// stores what is newer, and this one would undo it.
func (c *credentials) hand(ctx context.Context, key string, holder []byte, got credential, fetchErr error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if fetchErr == nil && c.holds(ctx, key, holder) {
		raw, err := json.Marshal(got)
		if err == nil {
			err = c.shared.Put(ctx, key, raw, time.Until(got.Expires))
		}
		if err != nil {
			c.logger.WarnContext(ctx, "storing an access token for the other instances", "error", err)
		}
	}
	c.release(ctx, key, holder)
}

func (c *credentials) holds(ctx context.Context, key string, holder []byte) bool {
	name, found, err := c.shared.Get(ctx, leaseKey(key))
	return err == nil && found && string(name) == string(holder)
}

// release lets the next one fetch. A lease that cannot be released runs out.
func (c *credentials) release(ctx context.Context, key string, holder []byte) {
	if c.holds(ctx, key, holder) {
		_, _, _ = c.shared.Take(ctx, leaseKey(key))
	}
}

func leaseKey(key string) string { return "lease:" + key }
