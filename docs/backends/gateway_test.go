package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wxgate/wxgate/internal/assertion"
)

// gateway signs assertions as wxgate does, and publishes its keys.
type gateway struct {
	*httptest.Server
	store   *store
	keyring *assertion.Keyring

	mu      sync.Mutex
	jwks    string
	status  int
	fetches int
	strays  []string // requests for anything else
}

func newGateway(t *testing.T, algorithms ...string) *gateway {
	t.Helper()
	g := &gateway{store: &store{}, status: http.StatusOK}
	var err error
	g.keyring, err = assertion.NewKeyring(assertion.KeyringConfig{
		Store: g.store, Sealer: openSealer{}, Algorithms: algorithms, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.keyring.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.jwks = string(g.keyring.JWKS())
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.URL.Path != "/wxgate/jwks.json" {
		g.strays = append(g.strays, r.URL.Path)
		http.NotFound(w, r)
		return
	}
	g.fetches++
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(g.status)
	_, _ = w.Write([]byte(g.jwks))
}

// publish makes the gateway answer with body from now on.
func (g *gateway) publish(status int, body string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status, g.jwks = status, body
}

func (g *gateway) jwksURL() string { return g.URL + "/wxgate/jwks.json" }

func (g *gateway) counted() (fetches int, strays []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fetches, slices.Clone(g.strays)
}

// sign returns a real assertion, signed at now.
func (g *gateway) sign(t *testing.T, algorithm string, claims assertion.Claims, now time.Time) string {
	t.Helper()
	signer, err := assertion.NewSigner(assertion.SignerConfig{
		Keyring: g.keyring, Algorithm: algorithm, Issuer: issuer, Audience: audience,
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims, now)
	if err != nil {
		t.Fatal(err)
	}
	return signed.Token
}

// guest returns a real assertion about guest 1000000001.
func (g *gateway) guest(t *testing.T) string {
	return g.sign(t, assertion.ES256, assertion.Claims{Subject: "1000000001", Kind: "guest"}, time.Now())
}

// key is a private key of the gateway, which only a test can get at.
type key struct {
	id      string
	private any
}

// keys returns the private keys of algorithm: the current one, then the next.
func (g *gateway) keys(t *testing.T, algorithm string) []key {
	t.Helper()
	var keys []key
	for _, row := range g.store.rows {
		if row.Algorithm != algorithm {
			continue
		}
		der, _ := openSealer{}.Open(row.Sealed)
		private, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key{row.ID, private})
	}
	return keys
}

// store is an assertion.KeyStore in memory.
type store struct{ rows []assertion.StoredKey }

func (s *store) Keys(context.Context) ([]assertion.StoredKey, error) { return s.rows, nil }

func (s *store) AddKey(_ context.Context, key assertion.StoredKey) (bool, error) {
	s.rows = append(s.rows, key)
	return true, nil
}

func (s *store) ResealKey(context.Context, assertion.StoredKey, string) error { return nil }

func (s *store) DeleteKey(context.Context, string) error { return nil }

// openSealer seals nothing, so that tests can sign what the gateway never
// would.
type openSealer struct{}

func (openSealer) Seal(plaintext []byte) string { return base64.StdEncoding.EncodeToString(plaintext) }

func (openSealer) Open(sealed string) ([]byte, bool) {
	plaintext, err := base64.StdEncoding.DecodeString(sealed)
	return plaintext, err == nil
}

func (openSealer) Newest(string) bool { return true }

// object is a JSON object of a token.
type object map[string]any

// with returns a copy of o with changes; a nil value removes the name.
func (o object) with(changes object) object {
	changed := object{}
	for _, part := range []object{o, changes} {
		for name, value := range part {
			if changed[name] = value; value == nil {
				delete(changed, name)
			}
		}
	}
	return changed
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// decode returns the object in the part of token with that index.
func decode(t *testing.T, token string, part int) object {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[part])
	if err != nil {
		t.Fatal(err)
	}
	decoded := object{}
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

// unsigned returns the first two parts of a token.
func unsigned(t *testing.T, header, claims object) string {
	t.Helper()
	var parts []string
	for _, part := range []object{header, claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, encode(raw))
	}
	return strings.Join(parts, ".")
}

// forge returns a token with that header and those claims, signed with key by
// method, whatever the header says.
func forge(t *testing.T, header, claims object, method jwt.SigningMethod, key any) string {
	t.Helper()
	signed := unsigned(t, header, claims)
	signature, err := method.Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}
