package limit

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a Limiter that several instances share. It counts by the clock of
// Redis, in microseconds, and forgets a key when it has drained.
type Redis struct {
	client redis.Scripter
	allow  *redis.Script
}

var _ Limiter = (*Redis)(nil)

// NewRedis returns a Redis that keeps its counts by way of client.
func NewRedis(client redis.Scripter) *Redis {
	return &Redis{client: client, allow: redis.NewScript(allow)}
}

// allow is the algorithm of Memory. A clock that was set back, or that of
// another server after a fail-over, makes nobody wait longer than a window.
const allow = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local drained = tonumber(redis.call('GET', KEYS[1]) or 0)
drained = math.min(math.max(drained, now), now + window) + cost
local wait = drained - now - window
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', drained), 'PX', math.ceil((drained - now) / 1000))
return 0`

// Allow implements Limiter.
func (r *Redis) Allow(ctx context.Context, key string, l Limit) (ok bool, retryAfter time.Duration, err error) {
	if l.Events <= 0 || l.Window <= 0 {
		return false, max(l.Window, 0), nil
	}
	cost := max(l.Window/time.Duration(l.Events), time.Microsecond)
	wait, err := r.allow.Run(ctx, r.client, []string{"wxgate:limit:" + key}, cost.Microseconds(), l.Window.Microseconds()).Int64()
	if err != nil {
		return false, 0, fmt.Errorf("counting an event: %w", err)
	}
	return wait == 0, time.Duration(wait) * time.Microsecond, nil
}
