package session

import (
	"context"
	"fmt"
	"time"
)

// Sealed is a Store that keeps its values sealed in another, for what must not
// be read where that one lies. A value that does not open is a missing one.
type Sealed struct {
	store Store
	keys  *Keys
	typ   Type
}

var _ Store = (*Sealed)(nil)

// NewSealed returns a Store of values of a type. They may be as long as
// MaxPlaintext.
func NewSealed(store Store, keys *Keys, typ Type) *Sealed {
	return &Sealed{store: store, keys: keys, typ: typ}
}

// Put implements Store.
func (s *Sealed) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if len(value) > MaxPlaintext {
		return tooLong(value)
	}
	return s.store.Put(ctx, key, s.seal(value), ttl)
}

// Add implements Store.
func (s *Sealed) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	if len(value) > MaxPlaintext {
		return false, tooLong(value)
	}
	return s.store.Add(ctx, key, s.seal(value), ttl)
}

// Get implements Store.
func (s *Sealed) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	return s.open(s.store.Get(ctx, key))
}

// Take implements Store.
func (s *Sealed) Take(ctx context.Context, key string) (value []byte, found bool, err error) {
	return s.open(s.store.Take(ctx, key))
}

func tooLong(value []byte) error {
	return fmt.Errorf("sealing value: it has %d bytes, at most %d are allowed", len(value), MaxPlaintext)
}

func (s *Sealed) seal(value []byte) []byte { return []byte(s.keys.Seal(s.typ, value)) }

func (s *Sealed) open(sealed []byte, found bool, err error) ([]byte, bool, error) {
	if err != nil || !found {
		return nil, false, err
	}
	value, ok := s.keys.Open(s.typ, string(sealed))
	return value, ok, nil
}
