package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// storeName is the key of Redis under which a key of the Store is kept.
func storeName(key string) string { return "wxgate:store:" + key }

// Put implements Store.
func (r *Redis) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := checkPut(key, value, ttl); err != nil {
		return err
	}
	if err := r.client.Set(ctx, storeName(key), value, ttl).Err(); err != nil {
		return fmt.Errorf("storing value: %w", err)
	}
	return nil
}

// Add implements Store. Where the answer was lost and the call made again, it
// says of a value that is its own that it was there: of many callers then none
// has added it, and never two.
func (r *Redis) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	if err := checkPut(key, value, ttl); err != nil {
		return false, err
	}
	err = r.client.SetArgs(ctx, storeName(key), value, redis.SetArgs{Mode: "NX", TTL: ttl}).Err()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("adding value: %w", err)
	}
	return true, nil
}

// Get implements Store.
func (r *Redis) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	return valueOf("reading value", r.client.Get(ctx, storeName(key)))
}

// Take implements Store. Where the answer was lost and the call made again, it
// finds nothing.
func (r *Redis) Take(ctx context.Context, key string) (value []byte, found bool, err error) {
	return valueOf("taking value", r.client.GetDel(ctx, storeName(key)))
}

func valueOf(doing string, answer *redis.StringCmd) (value []byte, found bool, err error) {
	value, err = answer.Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("%s: %w", doing, err)
	}
	return value, true, nil
}

var _ Store = (*Redis)(nil)
