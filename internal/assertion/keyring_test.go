package assertion

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// gridStart is a moment at which a rotation of DefaultRotation starts.
func gridStart() time.Time {
	return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Truncate(DefaultRotation)
}

func mustTick(t *testing.T, keyring *Keyring, now time.Time) {
	t.Helper()
	if err := keyring.Tick(t.Context(), now); err != nil {
		t.Fatal(err)
	}
}

// publishedIDs returns the key ids of a JWKS in its order.
func publishedIDs(t *testing.T, jwks []byte) []string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

func TestJWKSHoldsCurrentAndNextOfEachAlgorithmAndOnlyPublicParts(t *testing.T) {
	keyring := loadedKeyring(t, &memoryStore{}, RS256, ES256, EdDSA)
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(keyring.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	type shape struct {
		Alg, Use any
		Members  []string
	}
	var got []shape
	for _, key := range set.Keys {
		got = append(got, shape{key["alg"], key["use"], slices.Sorted(maps.Keys(key))})
	}
	ec := shape{ES256, "sig", []string{"alg", "crv", "kid", "kty", "use", "x", "y"}}
	okp := shape{EdDSA, "sig", []string{"alg", "crv", "kid", "kty", "use", "x"}}
	rsa := shape{RS256, "sig", []string{"alg", "e", "kid", "kty", "n", "use"}}
	if diff := cmp.Diff([]shape{ec, ec, okp, okp, rsa, rsa}, got); diff != "" {
		t.Errorf("JWKS (-want +got):\n%s", diff)
	}
}

func TestJWKSIsASetBeforeLoadAndWithoutAlgorithms(t *testing.T) {
	for name, keyring := range map[string]*Keyring{
		"before load":        newKeyring(t, &memoryStore{}, ES256),
		"without algorithms": loadedKeyring(t, &memoryStore{}),
	} {
		if got := string(keyring.JWKS()); got != `{"keys":[]}` {
			t.Errorf("%s: JWKS = %s", name, got)
		}
	}
}

func TestKeyThatDoesNotOpenIsReplacedWithOneWarning(t *testing.T) {
	store, now := &memoryStore{}, gridStart().Add(time.Hour)
	old := newKeyring(t, store, ES256)
	mustTick(t, old, now)

	var log bytes.Buffer
	replaced, err := NewKeyring(KeyringConfig{
		Store: store, Sealer: labelSealer("s2"), Algorithms: []string{ES256}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustTick(t, replaced, now)
	}
	ids := publishedIDs(t, replaced.JWKS())
	if len(ids) != 2 || replaced.current(ES256, now).id != ids[0] {
		t.Errorf("published %v, want a new current and a new next key", ids)
	}
	for _, id := range publishedIDs(t, old.JWKS()) {
		if slices.Contains(ids, id) {
			t.Errorf("key %s is published although it does not open", id)
		}
		if n := strings.Count(log.String(), "level=WARN msg=\"an assertion key does not open with the present secrets; another takes its place\" kid="+id); n != 1 {
			t.Errorf("%d warnings about key %s, want 1:\n%s", n, id, &log)
		}
	}
	if len(store.rows) != 4 {
		t.Errorf("%d rows, want 4: the rows that do not open wait until they expire", len(store.rows))
	}
	mustTick(t, replaced, now.Add(400*24*time.Hour))
	for _, row := range store.rows {
		if !strings.HasPrefix(row.Sealed, "s2:") {
			t.Errorf("key %s does not open and is kept beyond its end", row.ID)
		}
	}
}

// TestKeysOutliveTheSecretThatSealedThem, once an instance has sealed them under
// the next one. An instance that has not heard of that goes on with what it has.
func TestKeysOutliveTheSecretThatSealedThem(t *testing.T) {
	store, now := &memoryStore{}, gridStart().Add(time.Hour)
	with := func(secrets labelSealer) *Keyring {
		t.Helper()
		keyring, err := NewKeyring(KeyringConfig{
			Store: store, Sealer: secrets, Algorithms: []string{ES256}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		mustTick(t, keyring, now)
		return keyring
	}
	old := with("s1")
	want := publishedIDs(t, old.JWKS())
	between := with("s2,s1")
	for _, row := range store.rows {
		if !strings.HasPrefix(row.Sealed, "s1:") {
			t.Errorf("key %s is sealed anew, and nobody has said so", row.ID)
		}
	}
	if err := between.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustTick(t, old, now)
	for name, keyring := range map[string]*Keyring{"with the old one": old, "with both": between, "with the new one": with("s2")} {
		if diff := cmp.Diff(want, publishedIDs(t, keyring.JWKS())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, row := range store.rows {
		if !strings.HasPrefix(row.Sealed, "s2:") {
			t.Errorf("key %s is sealed %.3s", row.ID, row.Sealed)
		}
	}
}

func TestNextKeyStepsInForACurrentKeyThatDoesNotOpen(t *testing.T) {
	store, now := &memoryStore{}, gridStart().Add(time.Hour)
	mustTick(t, newKeyring(t, store, ES256), now)
	current := slices.IndexFunc(store.rows, func(row StoredKey) bool { return !row.ActiveFrom.After(now) })
	store.rows[current].Sealed = "tampered"

	keyring := newKeyring(t, store, ES256)
	mustTick(t, keyring, now)
	next := store.rows[1-current].ID
	if got := keyring.current(ES256, now).id; got != next {
		t.Errorf("%s signs, want the published next key %s", got, next)
	}
	if len(store.rows) != 2 {
		t.Errorf("%d rows, want no key made", len(store.rows))
	}
}

// Whoever can write to the database but has no secret must not get a key of
// his published; whoever once sealed a weak key must not get it used.
func TestRowsThatAreNotWhatTheySayAreNotPublished(t *testing.T) {
	seal := func(private any) string {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return labelSealer("s1").Seal(der)
	}
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	goodID, _, err := publicJWK(good.Public(), ES256)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	idOf := func(public crypto.PublicKey) string {
		id, _, err := publicJWK(public, ES256)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for name, test := range map[string]struct {
		row  StoredKey
		want bool
	}{
		"a good row":                    {StoredKey{ID: goodID, Algorithm: ES256, Sealed: seal(good)}, true},
		"another id":                    {StoredKey{ID: "mine", Algorithm: ES256, Sealed: seal(good)}, false},
		"another algorithm":             {StoredKey{ID: goodID, Algorithm: EdDSA, Sealed: seal(good)}, false},
		"a curve ES256 does not have":   {StoredKey{ID: idOf(p384.Public()), Algorithm: ES256, Sealed: seal(p384)}, false},
		"a key that was not sealed":     {StoredKey{ID: goodID, Algorithm: ES256, Sealed: seal(good)[3:]}, false},
		"something else that is sealed": {StoredKey{ID: goodID, Algorithm: ES256, Sealed: labelSealer("s1").Seal([]byte("{}"))}, false},
	} {
		t.Run(name, func(t *testing.T) {
			test.row.ActiveFrom, test.row.ExpiresAt = gridStart(), gridStart().Add(DefaultRotation)
			keyring := newKeyring(t, &memoryStore{rows: []StoredKey{test.row}})
			mustTick(t, keyring, gridStart().Add(time.Hour))
			if got := len(publishedIDs(t, keyring.JWKS())) == 1; got != test.want {
				t.Errorf("published = %v, want %v: %s", got, test.want, keyring.JWKS())
			}
		})
	}
}

func TestRSAKeyBelow2048BitsIsRefused(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(weak)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseKey(der); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("err = %v, want a refusal that names the size", err)
	}
}

func TestKeysOfAnAlgorithmNoLongerUsedStayUntilTheyDie(t *testing.T) {
	store, now := &memoryStore{}, gridStart()
	mustTick(t, newKeyring(t, store, EdDSA), now)
	keyring := newKeyring(t, store, ES256)
	mustTick(t, keyring, now)
	if n := len(publishedIDs(t, keyring.JWKS())); n != 4 {
		t.Errorf("%d keys published, want those of both algorithms", n)
	}
	mustTick(t, keyring, now.Add(2*DefaultRotation+overlap))
	for _, row := range store.rows {
		if row.Algorithm == EdDSA {
			t.Errorf("an EdDSA key is still stored")
		}
	}
}

func TestBrokenStoreIsAnErrorAndTheKeysGoOn(t *testing.T) {
	store, now := &memoryStore{}, gridStart()
	keyring := newKeyring(t, store, ES256)
	mustTick(t, keyring, now)
	jwks := string(keyring.JWKS())
	store.err = errors.New("no database")
	if err := keyring.Tick(t.Context(), now.Add(91*24*time.Hour)); !errors.Is(err, store.err) {
		t.Errorf("err = %v, want the store's", err)
	}
	if string(keyring.JWKS()) != jwks {
		t.Error("the published keys changed")
	}
	if got, want := keyring.current(ES256, now.Add(91*24*time.Hour)).id, publishedIDs(t, []byte(jwks))[1]; got != want {
		t.Errorf("%s signs after the rotation, want the next key %s", got, want)
	}
	if err := newKeyring(t, store, ES256).Load(t.Context()); !errors.Is(err, store.err) {
		t.Errorf("Load = %v, want the store's error", err)
	}
}

// forgetfulStore takes keys and never shows them.
type forgetfulStore struct{ memoryStore }

func (*forgetfulStore) Keys(context.Context) ([]StoredKey, error) { return nil, nil }

func TestStoreThatLosesKeysEndsInAnError(t *testing.T) {
	if err := newKeyring(t, &forgetfulStore{}, ES256).Load(t.Context()); err == nil {
		t.Error("Load went on without a key")
	}
}

func TestNewKeyringRefuses(t *testing.T) {
	good := KeyringConfig{Store: &memoryStore{}, Sealer: labelSealer("s1"), Logger: slog.New(slog.DiscardHandler)}
	for name, test := range map[string]struct {
		change func(*KeyringConfig)
		want   string // in the error
	}{
		"no store":             {func(c *KeyringConfig) { c.Store = nil }, "store"},
		"no sealer":            {func(c *KeyringConfig) { c.Sealer = nil }, "sealer"},
		"no logger":            {func(c *KeyringConfig) { c.Logger = nil }, "logger"},
		"HS256":                {func(c *KeyringConfig) { c.Algorithms = []string{HS256} }, `"HS256"`},
		"an unknown algorithm": {func(c *KeyringConfig) { c.Algorithms = []string{"none"} }, `"none"`},
		"too short a rotation": {func(c *KeyringConfig) { c.Rotation = 47 * time.Hour }, "at least 48h"},
		"a fractional one":     {func(c *KeyringConfig) { c.Rotation = 50*time.Hour + 1 }, "whole seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			test.change(&config)
			if _, err := NewKeyring(config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v, want one that names %q", err, test.want)
			}
		})
	}
}
