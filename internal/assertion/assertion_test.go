package assertion

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

const (
	testIssuer   = "https://shop.example.com"
	testAudience = "shop-backend"
)

// memoryStore is a KeyStore without a database.
type memoryStore struct {
	mu   sync.Mutex
	rows []StoredKey
	err  error // what every method answers while it is set
}

func (m *memoryStore) Keys(context.Context) ([]StoredKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rows), m.err
}

func (m *memoryStore) AddKey(_ context.Context, key StoredKey) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.rows, func(row StoredKey) bool {
		return row.Algorithm == key.Algorithm && row.ActiveFrom.Equal(key.ActiveFrom)
	}) {
		return false, m.err
	}
	m.rows = append(m.rows, key)
	return true, m.err
}

func (m *memoryStore) ResealKey(_ context.Context, key StoredKey, sealed string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, row := range m.rows {
		if row.ID == key.ID && row.Sealed == sealed {
			m.rows[i].Sealed = key.Sealed
		}
	}
	return m.err
}

func (m *memoryStore) DeleteKey(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = slices.DeleteFunc(m.rows, func(row StoredKey) bool { return row.ID == id })
	return m.err
}

// labelSealer has labels, with commas between them. It marks what it seals with
// the first and opens what bears any.
type labelSealer string

func (s labelSealer) newest() string {
	first, _, _ := strings.Cut(string(s), ",")
	return first + ":"
}

func (s labelSealer) Seal(plaintext []byte) string {
	return s.newest() + base64.StdEncoding.EncodeToString(plaintext)
}

func (s labelSealer) Open(sealed string) ([]byte, bool) {
	label, encoded, ok := strings.Cut(sealed, ":")
	if !ok || !slices.Contains(strings.Split(string(s), ","), label) {
		return nil, false
	}
	plaintext, err := base64.StdEncoding.DecodeString(encoded)
	return plaintext, err == nil
}

func (s labelSealer) Newest(sealed string) bool { return strings.HasPrefix(sealed, s.newest()) }

func newKeyring(t testing.TB, store KeyStore, algorithms ...string) *Keyring {
	t.Helper()
	keyring, err := NewKeyring(KeyringConfig{
		Store: store, Sealer: labelSealer("s1"), Algorithms: algorithms, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return keyring
}

func loadedKeyring(t testing.TB, store KeyStore, algorithms ...string) *Keyring {
	t.Helper()
	keyring := newKeyring(t, store, algorithms...)
	if err := keyring.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return keyring
}

// newSigner returns a signer of algorithm with a keyring of its own, or with a
// key when it is HS256.
func newSigner(t testing.TB, algorithm string) *Signer {
	t.Helper()
	config := SignerConfig{Algorithm: algorithm, Issuer: testIssuer, Audience: testAudience}
	if algorithm == HS256 {
		config.Key = strings.Repeat("k", 32)
	} else {
		config.Keyring = loadedKeyring(t, &memoryStore{}, algorithm)
	}
	signer, err := NewSigner(config)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func mustSign(t testing.TB, signer *Signer, now time.Time) string {
	t.Helper()
	signed, err := signer.Sign(Claims{Subject: "1000000001", Kind: "guest"}, now)
	if err != nil {
		t.Fatal(err)
	}
	return signed.Token
}

// verify checks token at now the way a shop does: with the JWKS and one
// algorithm.
func verify(jwks []byte, algorithm, token string, now time.Time) (jwt.MapClaims, error) {
	set, err := jwk.Parse(jwks)
	if err != nil {
		return nil, err
	}
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(token, claims, func(token *jwt.Token) (any, error) {
		id, _ := token.Header["kid"].(string)
		key, ok := set.LookupKeyID(id)
		if !ok {
			return nil, errors.New("unknown kid")
		}
		var public crypto.PublicKey
		return public, key.Raw(&public)
	}, jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(testIssuer), jwt.WithAudience(testAudience),
		jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }))
	return claims, err
}

func decodePart(t *testing.T, token string, part int) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[part])
	if err != nil {
		t.Fatal(err)
	}
	decoded := map[string]any{}
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func TestAssertionSaysWhatTheContractNames(t *testing.T) {
	now := time.Unix(1_800_000_000, 700_000_000)
	all := Claims{
		Subject: "1000000001", Kind: "member", PhoneVerified: true, Previous: []string{"1000000009", "1000000005"},
		AMR: []string{"wechat"}, Channel: "h5", AppID: "wx1111111111111111", OpenID: "o1", UnionID: "u1",
	}
	tests := map[string]struct {
		claims Claims
		want   map[string]any
	}{
		"a guest without anything": {
			claims: Claims{Subject: "1000000001", Kind: "guest"},
			want:   map[string]any{"sub": "1000000001", "kind": "guest", "phone_verified": false},
		},
		"a member with everything": {
			claims: all,
			want: map[string]any{
				"sub": "1000000001", "kind": "member", "phone_verified": true, "previous": []any{"1000000009", "1000000005"},
				"amr": []any{"wechat"}, "channel": "h5", "appid": "wx1111111111111111", "openid": "o1", "unionid": "u1",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			signed, err := newSigner(t, ES256).Sign(test.claims, now)
			if err != nil {
				t.Fatal(err)
			}
			got := decodePart(t, signed.Token, 1)
			if jti, _ := got["jti"].(string); len(jti) < 22 {
				t.Errorf("jti = %q, want at least 128 random bits", jti)
			}
			delete(got, "jti")
			test.want["iss"], test.want["aud"] = testIssuer, testAudience
			test.want["iat"], test.want["exp"] = float64(now.Unix()-5), float64(now.Unix()+300)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if got, want := signed.RefreshAt.Unix(), now.Unix()+200; got != want {
				t.Errorf("RefreshAt = %d, want %d: a third of the ttl remains", got, want)
			}
			if got, want := signed.ExpiresAt.Unix(), now.Unix()+300; got != want {
				t.Errorf("ExpiresAt = %d, want %d", got, want)
			}
		})
	}
}

func TestEachAssertionHasItsOwnJTI(t *testing.T) {
	signer, now := newSigner(t, ES256), time.Now()
	first, second := decodePart(t, mustSign(t, signer, now), 1), decodePart(t, mustSign(t, signer, now), 1)
	if first["jti"] == second["jti"] {
		t.Errorf("two signings share the jti %v", first["jti"])
	}
}

func TestAssertionVerifiesWithTheJWKS(t *testing.T) {
	for _, algorithm := range []string{ES256, RS256, EdDSA} {
		t.Run(algorithm, func(t *testing.T) {
			signer := newSigner(t, algorithm)
			token := mustSign(t, signer, time.Now())
			claims, err := verify(signer.config.Keyring.JWKS(), algorithm, token, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if claims["sub"] != "1000000001" {
				t.Errorf("sub = %v", claims["sub"])
			}
			header := decodePart(t, token, 0)
			kid := signer.config.Keyring.current(algorithm, time.Now()).id
			want := map[string]any{"alg": algorithm, "kid": kid, "typ": "wxgate-assertion+jwt"}
			if diff := cmp.Diff(want, header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHS256IsSignedWithTheShopsKeyAlone(t *testing.T) {
	token := mustSign(t, newSigner(t, HS256), time.Now())
	want := map[string]any{"alg": HS256, "typ": "wxgate-assertion+jwt"}
	if diff := cmp.Diff(want, decodePart(t, token, 0)); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	for key, valid := range map[string]bool{strings.Repeat("k", 32): true, strings.Repeat("x", 32): false} {
		_, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return []byte(key), nil },
			jwt.WithValidMethods([]string{HS256}))
		if (err == nil) != valid {
			t.Errorf("with key %q: %v, want valid = %v", key, err, valid)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	t.Run("claims without a subject", func(t *testing.T) {
		if _, err := newSigner(t, ES256).Sign(Claims{Kind: "guest"}, time.Now()); err == nil {
			t.Error("signed an assertion about nobody")
		}
	})
	t.Run("a keyring that was not loaded", func(t *testing.T) {
		signer, err := NewSigner(SignerConfig{Keyring: newKeyring(t, &memoryStore{}, ES256), Issuer: testIssuer})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Sign(Claims{Subject: "1"}, time.Now()); !errors.Is(err, ErrNoKey) {
			t.Errorf("err = %v, want ErrNoKey", err)
		}
	})
}

func TestFingerprintTellsSignersApart(t *testing.T) {
	keyring := newKeyring(t, &memoryStore{}, ES256, RS256)
	base := SignerConfig{Keyring: keyring, Issuer: "https://a.example"}
	key := strings.Repeat("k", 32)
	configs := map[string]SignerConfig{
		"base":              base,
		"another issuer":    {Keyring: keyring, Issuer: "https://b.example", Audience: "https://a.example"},
		"another audience":  {Keyring: keyring, Issuer: "https://a.example", Audience: "b"},
		"another ttl":       {Keyring: keyring, Issuer: "https://a.example", TTL: time.Minute},
		"another keyring":   {Keyring: loadedKeyring(t, &memoryStore{}, ES256), Issuer: "https://a.example"},
		"another algorithm": {Keyring: keyring, Issuer: "https://a.example", Algorithm: RS256},
		"HS256":             {Issuer: "https://a.example", Algorithm: HS256, Key: key},
		"another key":       {Issuer: "https://a.example", Algorithm: HS256, Key: key + "2"},
	}
	seen := map[string]string{}
	for name, config := range configs {
		signer, err := NewSigner(config)
		if err != nil {
			t.Fatal(err)
		}
		if twin, err := NewSigner(config); err != nil || twin.Fingerprint() != signer.Fingerprint() {
			t.Errorf("%s: two signers of one configuration differ (%v)", name, err)
		}
		if other, ok := seen[signer.Fingerprint()]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[signer.Fingerprint()] = name
	}
}

func TestNewSignerDefaults(t *testing.T) {
	signer, err := NewSigner(SignerConfig{Keyring: newKeyring(t, &memoryStore{}, ES256), Issuer: testIssuer})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{signer.config.Algorithm, signer.config.Audience, signer.config.TTL}
	if diff := cmp.Diff([]any{ES256, testIssuer, 300 * time.Second}, got); diff != "" {
		t.Errorf("algorithm, audience, ttl (-want +got):\n%s", diff)
	}
}

func TestNewSignerRefuses(t *testing.T) {
	keyring := newKeyring(t, &memoryStore{}, ES256)
	key := strings.Repeat("k", 32)
	tests := map[string]struct {
		config SignerConfig
		want   string // in the error
	}{
		"no issuer":                    {SignerConfig{Keyring: keyring}, "issuer"},
		"a ttl over ten minutes":       {SignerConfig{Keyring: keyring, Issuer: "i", TTL: 601 * time.Second}, "ttl 10m1s"},
		"a negative ttl":               {SignerConfig{Keyring: keyring, Issuer: "i", TTL: -time.Second}, "ttl -1s"},
		"a ttl in fractions":           {SignerConfig{Keyring: keyring, Issuer: "i", TTL: 1500 * time.Millisecond}, "whole seconds"},
		"no keyring":                   {SignerConfig{Issuer: "i"}, "keyring"},
		"none":                         {SignerConfig{Keyring: keyring, Issuer: "i", Algorithm: "none"}, `"none"`},
		"an algorithm without keys":    {SignerConfig{Keyring: keyring, Issuer: "i", Algorithm: RS256}, `"RS256"`},
		"a key where none is used":     {SignerConfig{Keyring: keyring, Issuer: "i", Key: key}, "only HS256"},
		"HS256 without a key":          {SignerConfig{Issuer: "i", Algorithm: HS256}, "at least 32 bytes, got 0"},
		"HS256 with a short key":       {SignerConfig{Issuer: "i", Algorithm: HS256, Key: key[1:]}, "got 31"},
		"HS256 with the gateway's key": {SignerConfig{Issuer: "i", Algorithm: HS256, Key: key, Keyring: keyring}, "keyring"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := NewSigner(test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v, want one that names %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), key[:8]) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	claims := Claims{
		Subject: "1000000001", Kind: "member", Previous: []string{"1000000009"},
		AMR: []string{"wechat"}, Channel: "h5", AppID: "wx1111111111111111",
	}
	for _, algorithm := range []string{ES256, RS256, EdDSA, HS256} {
		b.Run(algorithm, func(b *testing.B) {
			signer, now := newSigner(b, algorithm), time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := signer.Sign(claims, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
