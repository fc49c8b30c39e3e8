package assertion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultRotation is how long a key signs before the next one takes over.
const DefaultRotation = 90 * 24 * time.Hour

const (
	// lead is how long a key is published before it signs: a day for caches
	// that forget slowly, and an hour until the last instance's Tick has seen it.
	lead = 25 * time.Hour

	// overlap is how long a key stays published after it has signed its last
	// token: until that token has died, and a day for slow caches.
	overlap = MaxTTL + 24*time.Hour

	// minRotation leaves room for lead and overlap.
	minRotation = 48 * time.Hour

	// maxRounds bounds how often one refresh looks for a missing key; more
	// than a few are only needed while other instances make keys too.
	maxRounds = 20
)

// StoredKey is a private key as it lies in the database. All of the schedule
// follows from these rows, so that instances that share them agree. Times are
// UTC and whole seconds. Nothing but Sealed ever changes in a row.
type StoredKey struct {
	ID         string    // the JWT's kid
	Algorithm  string    // ES256, RS256 or EdDSA
	Sealed     string    // the private key, sealed; up to 4 KB
	CreatedAt  time.Time // for people who read the table
	ActiveFrom time.Time // from then on it signs, until a later key of the algorithm does
	ExpiresAt  time.Time // dead from then on, if no later key has taken over
}

// KeyStore keeps the keys that all instances share. An error means that the
// store is broken. Its methods may be called by many goroutines and instances.
type KeyStore interface {
	// Keys returns all keys, in any order; none is an empty slice. It sees
	// every key whose AddKey has returned, on any instance.
	Keys(ctx context.Context) ([]StoredKey, error)
	// AddKey stores key. added is false, and nothing is stored, when there is
	// a key with the same Algorithm and ActiveFrom: of two instances that make
	// the same key at once one wins, and both then read the winner's.
	AddKey(ctx context.Context, key StoredKey) (added bool, err error)
	// ResealKey stores key.Sealed in the place of sealed, if that is what the
	// key with key.ID still has.
	ResealKey(ctx context.Context, key StoredKey, sealed string) error
	// DeleteKey deletes the key with that ID. A missing key is no error.
	DeleteKey(ctx context.Context, id string) error
}

// Sealer encrypts and authenticates what is stored, so that reading the
// database gives nobody a private key, and writing to it makes nobody's public
// key ours. What it seals must open as nothing but an assertion key.
type Sealer interface {
	// Seal returns plaintext sealed under the newest secret.
	Seal(plaintext []byte) string
	// Open returns what was sealed; ok is false when it was sealed under a
	// secret that is no longer known, or was tampered with.
	Open(sealed string) (plaintext []byte, ok bool)
	// Newest says whether the newest secret has sealed it.
	Newest(sealed string) bool
}

// KeyringConfig configures a Keyring.
type KeyringConfig struct {
	Store      KeyStore      // required
	Sealer     Sealer        // required
	Algorithms []string      // of ES256, RS256 and EdDSA, those that a site signs with; may be empty
	Rotation   time.Duration // default DefaultRotation; whole seconds, at least 48h
	Logger     *slog.Logger  // required
}

// Keyring holds the keys that sign assertions and publishes their public
// halves. For each algorithm there is one key that signs, a next one published
// long before it signs, and the previous one until nobody can need it. Its
// methods may be called by many goroutines.
type Keyring struct {
	store      KeyStore
	sealer     Sealer
	algorithms []string
	rotation   time.Duration
	logger     *slog.Logger

	mu     sync.Mutex             // serializes refreshes
	opened map[string]*signingKey // by StoredKey.ID
	closed map[string]bool        // StoredKey.Sealed of those that do not open, which we said

	view atomic.Pointer[view]
}

// view is the published state, never changed once stored.
type view struct {
	keys map[string][]entry // by algorithm, in the order they sign
	jwks []byte
}

// entry is a stored key that opened.
type entry struct {
	StoredKey
	key *signingKey
	end time.Time // when it stops being published
}

// NewKeyring checks config and returns a keyring that is empty until Load.
func NewKeyring(config KeyringConfig) (*Keyring, error) {
	if config.Store == nil || config.Sealer == nil || config.Logger == nil {
		return nil, errors.New("a keyring needs a store, a sealer and a logger")
	}
	if config.Rotation == 0 {
		config.Rotation = DefaultRotation
	}
	if config.Rotation < minRotation || config.Rotation%time.Second != 0 {
		return nil, fmt.Errorf("key rotation %v: must be whole seconds and at least %v", config.Rotation, minRotation)
	}
	for _, algorithm := range config.Algorithms {
		if !slices.Contains(KeyAlgorithms(), algorithm) {
			return nil, fmt.Errorf("assertion algorithm %q: a keyring makes keys for %s, %s and %s", algorithm, ES256, RS256, EdDSA)
		}
	}
	k := &Keyring{
		store:      config.Store,
		sealer:     config.Sealer,
		algorithms: slices.Clone(config.Algorithms),
		rotation:   config.Rotation,
		logger:     config.Logger,
	}
	k.view.Store(&view{jwks: []byte(`{"keys":[]}`)})
	return k, nil
}

// Load reads the keys and makes those that are missing. It is called once,
// before the first signature.
func (k *Keyring) Load(ctx context.Context) error {
	return k.Tick(ctx, time.Now())
}

// Tick rotates on schedule, learns the keys that other instances made, and
// forgets those that nobody can need. It is called at least once an hour. On
// an error the keyring goes on with the keys it has.
func (k *Keyring) Tick(ctx context.Context, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, algorithm := range k.algorithms {
		if err := k.complete(ctx, algorithm, now); err != nil {
			return fmt.Errorf("rotating assertion keys: %w", err)
		}
	}
	rows, err := k.store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading assertion keys: %w", err)
	}
	live := k.live(rows, now)
	next, err := newView(live)
	if err != nil {
		return fmt.Errorf("publishing assertion keys: %w", err)
	}
	k.view.Store(next)
	return k.deleteDead(ctx, rows, live, now)
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517): for each
// algorithm the previous, the current and the next key, sorted by algorithm
// and use. The caller must not change the bytes.
func (k *Keyring) JWKS() []byte {
	return k.view.Load().jwks
}

// current returns the key that signs at now, nil if there is none. A key that
// is not due yet signs only when no other can: its being published counts for
// more than its date.
func (k *Keyring) current(algorithm string, now time.Time) *signingKey {
	keys := k.view.Load().keys[algorithm]
	if len(keys) == 0 {
		return nil
	}
	current := keys[0].key
	for _, e := range keys[1:] {
		if !e.ActiveFrom.After(now) {
			current = e.key
		}
	}
	return current
}

// complete makes the keys of algorithm that are missing at now, one at a time
// and reading again after each, because other instances do the same.
func (k *Keyring) complete(ctx context.Context, algorithm string, now time.Time) error {
	for range maxRounds {
		rows, err := k.store.Keys(ctx)
		if err != nil {
			return err
		}
		wanted := k.missing(algorithm, rows, now)
		if wanted == nil {
			return nil
		}
		if err := k.add(ctx, *wanted); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: the store does not return the keys it was given", algorithm)
}

// missing returns the next key of algorithm to make, without its secret part,
// or nil when there is one that signs and one to follow.
func (k *Keyring) missing(algorithm string, rows []StoredKey, now time.Time) *StoredKey {
	// The first key signs at once. It starts at a multiple of the rotation, so
	// that instances that start together make the same one.
	start := now.UTC().Truncate(k.rotation)
	if live := k.live(rows, now)[algorithm]; len(live) > 0 {
		newest := live[len(live)-1]
		if newest.ActiveFrom.After(now) {
			return nil
		}
		start = newest.ExpiresAt.Add(-overlap)
		if start.Before(now.Add(lead)) {
			start = earliest(now)
		}
	}
	row := k.wanted(algorithm, rows, span{now, start, start.Add(k.rotation)})
	return &row
}

// span is when a key is made, and from when to when it is to sign.
type span struct{ made, start, end time.Time }

// wanted is the row of a new key, without its secret part.
func (k *Keyring) wanted(algorithm string, rows []StoredKey, s span) StoredKey {
	// A key that does not open holds its place: take the next second.
	for slices.ContainsFunc(rows, func(row StoredKey) bool {
		return row.Algorithm == algorithm && row.ActiveFrom.Equal(s.start)
	}) {
		s.start = s.start.Add(time.Second)
	}
	return StoredKey{
		Algorithm:  algorithm,
		CreatedAt:  s.made.UTC().Truncate(time.Second),
		ActiveFrom: s.start,
		ExpiresAt:  s.end.Add(overlap),
	}
}

func (k *Keyring) add(ctx context.Context, wanted StoredKey) error {
	private, err := generateKey(wanted.Algorithm)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	key, err := parseKey(private)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	wanted.ID = key.id
	wanted.Sealed = k.sealer.Seal(private)
	added, err := k.store.AddKey(ctx, wanted)
	if err != nil {
		return err
	}
	if added {
		k.logger.Info("made an assertion key",
			"kid", wanted.ID, "algorithm", wanted.Algorithm, "active_from", wanted.ActiveFrom)
	}
	return nil
}

// live opens rows and returns those to publish at now, by algorithm, in the
// order they sign.
func (k *Keyring) live(rows []StoredKey, now time.Time) map[string][]entry {
	k.open(rows)
	live := map[string][]entry{}
	for _, row := range rows {
		if key := k.opened[row.ID]; key != nil {
			live[row.Algorithm] = append(live[row.Algorithm], entry{StoredKey: row, key: key, end: row.ExpiresAt})
		}
	}
	for algorithm, entries := range live {
		slices.SortFunc(entries, func(a, b entry) int { return a.ActiveFrom.Compare(b.ActiveFrom) })
		for i := range entries[1:] {
			entries[i].end = entries[i+1].ActiveFrom.Add(overlap)
		}
		live[algorithm] = slices.DeleteFunc(entries, func(e entry) bool { return !e.end.After(now) })
	}
	return live
}

// open brings k.opened up to rows, and warns once of each row that does not
// open. A key that was opened once stays: another instance may have sealed it
// under a secret that this one has not heard of yet.
func (k *Keyring) open(rows []StoredKey) {
	opened, closed := map[string]*signingKey{}, map[string]bool{}
	for _, row := range rows {
		key := k.opened[row.ID]
		if key == nil || key.algorithm != row.Algorithm {
			key = k.openRow(row)
		}
		if key != nil {
			opened[row.ID] = key
			continue
		}
		if !k.closed[row.Sealed] {
			k.logger.Warn("an assertion key does not open with the present secrets; another takes its place",
				"kid", row.ID, "algorithm", row.Algorithm)
		}
		closed[row.Sealed] = true
	}
	k.opened, k.closed = opened, closed
}

// Reseal seals under the newest secret what older ones have sealed, so that the
// keys outlive those. It is no part of Load: a configuration that is only looked
// at must not carry keys over from a secret that has leaked.
func (k *Keyring) Reseal(ctx context.Context) error {
	rows, err := k.store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading assertion keys: %w", err)
	}
	for _, row := range rows {
		private, ok := k.sealer.Open(row.Sealed)
		if !ok || k.sealer.Newest(row.Sealed) || k.openRow(row) == nil {
			continue
		}
		old := row.Sealed
		row.Sealed = k.sealer.Seal(private)
		if err := k.store.ResealKey(ctx, row, old); err != nil {
			return fmt.Errorf("sealing an assertion key under the newest secret: %w", err)
		}
	}
	return nil
}

// openRow returns the key of row, nil unless it opens and is what the row says.
func (k *Keyring) openRow(row StoredKey) *signingKey {
	private, ok := k.sealer.Open(row.Sealed)
	if !ok {
		return nil
	}
	key, err := parseKey(private)
	if err != nil || key.id != row.ID || key.algorithm != row.Algorithm {
		return nil
	}
	return key
}

// deleteDead deletes the rows that no longer need to be published, and those
// that do not open once they have expired.
func (k *Keyring) deleteDead(ctx context.Context, rows []StoredKey, live map[string][]entry, now time.Time) error {
	for _, row := range rows {
		isLive := slices.ContainsFunc(live[row.Algorithm], func(e entry) bool { return e.ID == row.ID })
		waits := k.opened[row.ID] == nil && row.ExpiresAt.After(now)
		if isLive || waits {
			continue
		}
		if err := k.store.DeleteKey(ctx, row.ID); err != nil {
			return fmt.Errorf("deleting an assertion key: %w", err)
		}
	}
	return nil
}

func newView(keys map[string][]entry) (*view, error) {
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, algorithm := range KeyAlgorithms() {
		for _, e := range keys[algorithm] {
			set.Keys = append(set.Keys, e.key.public)
		}
	}
	jwks, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	return &view{keys: keys, jwks: jwks}, nil
}
