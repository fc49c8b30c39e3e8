package session

import (
	"context"
	"fmt"
	"time"
)

const (
	maxKey   = 256
	maxValue = 16 << 10
)

// Store keeps what is short-lived: OAuth state, finished logins, tickets,
// WeChat's access tokens. Losing its contents costs a visitor a retry, never
// an account.
//
// A missing or expired key is found=false, err=nil. An error means that the
// store is broken, never that a key is wrong; a caller that breaks the limits
// below gets one too, and nothing is stored. Keys are 1 to 256 bytes, values
// at most 16 KB, a ttl is at least a millisecond. Values are copied both ways.
// All methods may be called by many goroutines.
type Store interface {
	// Put sets key to value for ttl, replacing what was there.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Add sets key only if it is absent and says whether it did.
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error)
	// Get returns the value of key.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Take returns the value of key and deletes it in one step: of many
	// concurrent callers exactly one finds it.
	Take(ctx context.Context, key string) (value []byte, found bool, err error)
}

// checkPut returns the error of a call that breaks the limits of Store.
func checkPut(key string, value []byte, ttl time.Duration) error {
	switch {
	case key == "" || len(key) > maxKey:
		return fmt.Errorf("storing value: the key has %d bytes, 1 to %d are allowed", len(key), maxKey)
	case len(value) > maxValue:
		return fmt.Errorf("storing value: it has %d bytes, at most %d are allowed", len(value), maxValue)
	case ttl < time.Millisecond:
		return fmt.Errorf("storing value: a ttl of %v is too short", ttl)
	}
	return nil
}
