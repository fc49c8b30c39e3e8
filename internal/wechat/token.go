package wechat

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// stable_token hands out the same token until the last five minutes of
	// its life, when old and new both work. Refreshing begins at a random
	// moment in the five minutes before, so that instances spread out.
	tokenOverlap = 5 * time.Minute

	// refreshFloor spaces refreshes of a token that is near its end already.
	refreshFloor = time.Minute

	// renewInterval spaces fetches that a dead or unrefreshable token causes.
	renewInterval = 10 * time.Second
)

// serverToken is the access token of an app.
type serverToken struct {
	value     string
	fetched   time.Time
	refreshAt time.Time // fetch the next one, this one still works
	expires   time.Time
}

// tokenCache keeps one token per appid. Everything about tokens goes through
// these methods, so that a shared store can take its place.
type tokenCache struct {
	mu sync.Mutex
	m  map[string]serverToken
}

// get returns the token of an app; found=false means none that is alive.
func (t *tokenCache) get(appID string) (token serverToken, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	token, found = t.m[appID]
	return token, found && time.Now().Before(token.expires)
}

func (t *tokenCache) put(appID string, token serverToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[string]serverToken{}
	}
	t.m[appID] = token
}

// token returns an access token of app. One that is due for a refresh is
// returned all the same, and fetched anew in the background.
func (c *Client) token(ctx context.Context, app App) (string, error) {
	cached, found := c.tokens.get(app.AppID)
	if !found {
		return c.fetchToken(ctx, app)
	}
	if !time.Now().Before(cached.refreshAt) {
		c.startFetch(ctx, app)
	}
	return cached.value, nil
}

// renewToken returns the token to use after WeChat has refused one: the cached
// one if that differs already, else a new one. It returns the refused token
// itself if that was fetched a moment ago.
func (c *Client) renewToken(ctx context.Context, app App, refused string) (string, error) {
	cached, found := c.tokens.get(app.AppID)
	if found && (cached.value != refused || time.Since(cached.fetched) < renewInterval) {
		return cached.value, nil
	}
	return c.fetchToken(ctx, app)
}

// withToken makes a business call and repeats it once if WeChat refuses the
// token: another system may have renewed it.
func (c *Client) withToken(ctx context.Context, app App, use func(token string) error) error {
	token, err := c.token(ctx, app)
	if err != nil {
		return err
	}
	err = use(token)
	if !errors.Is(err, ErrToken) {
		return err
	}
	renewed, renewErr := c.renewToken(ctx, app, token)
	if renewErr != nil {
		return renewErr
	}
	if renewed == token {
		return err
	}
	return use(renewed)
}

// fetchToken waits for a fetch, its own or one that is under way.
func (c *Client) fetchToken(ctx context.Context, app App) (string, error) {
	select {
	case r := <-c.startFetch(ctx, app):
		token, _ := r.Val.(string)
		return token, r.Err
	case <-ctx.Done():
		return "", transportError(ctx, apiStableToken, ctx.Err())
	}
}

// startFetch joins or starts the fetch of an app's token. It goes on when the
// caller gives up, since others may wait for it.
func (c *Client) startFetch(ctx context.Context, app App) <-chan singleflight.Result {
	ctx = context.WithoutCancel(ctx)
	return c.flights.DoChan(app.AppID, func() (any, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return c.stableToken(ctx, app)
	})
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   number `json:"expires_in"`
}

func (a *tokenAnswer) problem() string {
	switch {
	case a.AccessToken == "":
		return "access_token is missing"
	case a.ExpiresIn <= 0:
		return "expires_in is missing"
	}
	return ""
}

// stableToken fetches and caches an app's token. force_refresh is for leaks
// and allowed 20 times a day: it is never used, but it is sent, since calls
// without it have been refused.
func (c *Client) stableToken(ctx context.Context, app App) (string, error) {
	var a tokenAnswer
	err := c.do(ctx, call{api: apiStableToken, appID: app.AppID, body: map[string]any{
		"grant_type":    "client_credential",
		"appid":         app.AppID,
		"secret":        app.AppSecret,
		"force_refresh": false,
	}}, busyRetries, &a)
	now := time.Now()
	if err != nil {
		if old, found := c.tokens.get(app.AppID); found {
			old.refreshAt = now.Add(renewInterval)
			c.tokens.put(app.AppID, old)
		}
		return "", err
	}
	life := time.Duration(a.ExpiresIn) * time.Second
	c.tokens.put(app.AppID, serverToken{
		value: a.AccessToken, fetched: now, refreshAt: now.Add(refreshAfter(life)), expires: now.Add(life),
	})
	return a.AccessToken, nil
}

// refreshAfter says how long a token of this life is used before a refresh.
func refreshAfter(life time.Duration) time.Duration {
	early := life - tokenOverlap - rand.N(tokenOverlap)
	return max(early, min(life/2, refreshFloor))
}
