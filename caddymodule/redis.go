package caddymodule

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/gate"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

// redisShare is the Redis of all configurations with the same URL.
type redisShare struct{ *session.Redis }

// Destruct implements caddy.Destructor.
func (r redisShare) Destruct() error { return r.Close() }

// acquireRedis takes the App's share of its Redis, where it has one. Whether
// that can be reached is not looked at: it never stops a start.
func (a *App) acquireRedis() error {
	if a.Redis == "" {
		return nil
	}
	key := fmt.Sprintf("redis %x", sha256.Sum256([]byte(a.Redis))) // it may hold a password
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		r, err := session.OpenRedis(string(a.Redis))
		return redisShare{r}, err
	})
	if err != nil {
		return fmt.Errorf("wxgate: redis: %w", err)
	}
	a.redis, a.redisKey = value.(redisShare).Redis, key
	return nil
}

// runRedis lets other instances hear at once what is revoked here.
func (a *App) runRedis(ctx context.Context) {
	a.redis.LogTo(a.log)
	a.shared.watcher.Share(ctx, a.redis)
}

func (a *App) releaseRedis() error {
	if a.redis == nil {
		return nil
	}
	a.redis = nil
	_, err := pool.Delete(a.redisKey)
	return err
}

// store is where what is short-lived is kept.
func (a *App) store() session.Store {
	if a.redis != nil {
		return a.redis
	}
	return a.shared.store
}

// limiter is where events are counted.
func (a *App) limiter() limit.Limiter {
	if a.redis != nil {
		return limit.NewRedis(a.redis.Client())
	}
	return a.shared.limiter
}

// local is what stands in for a Redis that is gone.
func (a *App) local() *gate.Local {
	if a.redis == nil {
		return nil
	}
	return &gate.Local{Store: a.shared.store, Limiter: a.shared.limiter}
}
