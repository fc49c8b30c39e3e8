// Package assertion signs X-User-Assertion, a JWT that proves to the shop what
// the identity headers say, and publishes and rotates the keys it is signed
// with.
package assertion

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Claims is what an assertion says of a user. Zero fields are left out, except
// Kind and PhoneVerified.
type Claims struct {
	Subject       string // user id; required
	Kind          string // guest or member
	PhoneVerified bool
	Previous      []string
	AMR           []string
	Channel       string
	AppID         string
	OpenID        string // only when the operator asked for it
	UnionID       string // only when the operator asked for it
	Phone         string // only when the operator asked for it; E.164
}

// Algorithms. HS256 is for shops that cannot do more; it needs a key of the
// shop's own.
const (
	ES256 = "ES256"
	RS256 = "RS256"
	EdDSA = "EdDSA" // with the curve Ed25519
	HS256 = "HS256"
)

// DefaultTTL is how long an assertion is valid after signing.
const DefaultTTL = 300 * time.Second

// MaxTTL is the longest life an assertion can be given. Keys stay published
// for at least that long after their last use.
const MaxTTL = 600 * time.Second

const (
	// tokenType sets assertions apart from every other JWT that might be signed
	// with the same key (RFC 8725, 3.11).
	tokenType = "wxgate-assertion+jwt"

	// backdate makes up for a shop whose clock is behind ours.
	backdate = 5 * time.Second

	// minHS256Key is the size RFC 7518, 3.2 asks for.
	minHS256Key = 32
)

// ErrNoKey means that the keyring holds no key of the signer's algorithm,
// because it was not loaded.
var ErrNoKey = errors.New("no assertion key")

// SignerConfig says how the assertions of one site are signed.
type SignerConfig struct {
	Keyring   *Keyring      // signs ES256, RS256 and EdDSA; must be nil with HS256
	Key       string        // the key of HS256, at least 32 bytes; must be empty otherwise
	Algorithm string        // default ES256
	Issuer    string        // the site's external URL; required
	Audience  string        // default: the issuer
	TTL       time.Duration // default DefaultTTL; whole seconds, 1 s to MaxTTL
}

// Signer signs the assertions of one site. Its methods may be called by many
// goroutines and take no lock.
type Signer struct {
	config SignerConfig
	hmac   *signingKey // nil unless the algorithm is HS256
}

// NewSigner checks config. The keyring need not be loaded yet.
func NewSigner(config SignerConfig) (*Signer, error) {
	if config.Algorithm == "" {
		config.Algorithm = ES256
	}
	if config.Audience == "" {
		config.Audience = config.Issuer
	}
	if config.TTL == 0 {
		config.TTL = DefaultTTL
	}
	switch {
	case config.Issuer == "":
		return nil, errors.New("an assertion needs an issuer")
	case config.TTL < time.Second || config.TTL > MaxTTL || config.TTL%time.Second != 0:
		return nil, fmt.Errorf("assertion ttl %v: must be whole seconds from 1s to %v", config.TTL, MaxTTL)
	case config.Algorithm == HS256:
		return newHS256Signer(config)
	case config.Key != "":
		return nil, fmt.Errorf("assertion key: only %s has one, %s signs with the gateway's own keys", HS256, config.Algorithm)
	case config.Keyring == nil || !slices.Contains(config.Keyring.algorithms, config.Algorithm):
		return nil, fmt.Errorf("assertion algorithm %q: the keyring has no keys for it", config.Algorithm)
	}
	return &Signer{config: config}, nil
}

func newHS256Signer(config SignerConfig) (*Signer, error) {
	if config.Keyring != nil {
		return nil, errors.New("assertion algorithm HS256: signs with the shop's key, not with a keyring")
	}
	if len(config.Key) < minHS256Key {
		return nil, fmt.Errorf("assertion algorithm HS256: needs a key of at least %d bytes, got %d", minHS256Key, len(config.Key))
	}
	return &Signer{
		config: config,
		hmac: &signingKey{
			method:  jwt.SigningMethodHS256,
			private: []byte(config.Key),
			header:  encodeHeader(HS256, ""),
		},
	}, nil
}

// payload is the claim set as the shop sees it.
type payload struct {
	Issuer        string   `json:"iss"`
	Audience      string   `json:"aud"`
	Subject       string   `json:"sub"`
	Kind          string   `json:"kind"`
	PhoneVerified bool     `json:"phone_verified"`
	Previous      []string `json:"previous,omitempty"`
	AMR           []string `json:"amr,omitempty"`
	Channel       string   `json:"channel,omitempty"`
	AppID         string   `json:"appid,omitempty"`
	OpenID        string   `json:"openid,omitempty"`
	UnionID       string   `json:"unionid,omitempty"`
	Phone         string   `json:"phone,omitempty"`
	IssuedAt      int64    `json:"iat"`
	ExpiresAt     int64    `json:"exp"`
	ID            string   `json:"jti"`
}

// Signed is an assertion and its times.
type Signed struct {
	Token     string
	RefreshAt time.Time // sign again from here on: a third of its life remains
	ExpiresAt time.Time
}

// Sign returns an assertion of claims, valid from now (backdated by 5 s) for
// the ttl, to be sent again and again until RefreshAt. Claims without a
// subject are an error, and so is a keyring that was never loaded (ErrNoKey).
func (s *Signer) Sign(claims Claims, now time.Time) (Signed, error) {
	if claims.Subject == "" {
		return Signed{}, errors.New("signing an assertion: no subject")
	}
	key := s.hmac
	if key == nil {
		key = s.config.Keyring.current(s.config.Algorithm, now)
	}
	if key == nil {
		return Signed{}, fmt.Errorf("signing an assertion with %s: %w", s.config.Algorithm, ErrNoKey)
	}
	now = now.Truncate(time.Second)
	expiresAt := now.Add(s.config.TTL)
	token, err := key.sign(payload{
		Issuer:        s.config.Issuer,
		Audience:      s.config.Audience,
		Subject:       claims.Subject,
		Kind:          claims.Kind,
		PhoneVerified: claims.PhoneVerified,
		Previous:      claims.Previous,
		AMR:           claims.AMR,
		Channel:       claims.Channel,
		AppID:         claims.AppID,
		OpenID:        claims.OpenID,
		UnionID:       claims.UnionID,
		Phone:         claims.Phone,
		IssuedAt:      now.Add(-backdate).Unix(),
		ExpiresAt:     expiresAt.Unix(),
		ID:            rand.Text(),
	})
	if err != nil {
		return Signed{}, fmt.Errorf("signing an assertion: %w", err)
	}
	return Signed{Token: token, RefreshAt: expiresAt.Add(-s.config.TTL / 3), ExpiresAt: expiresAt}, nil
}

// Fingerprint is equal for two signers only if the assertions of one can take
// the place of the other's: what was signed before a reload is used after it
// only while its key is published. Call it after the keyring's Load. It does
// not tell the key of HS256.
func (s *Signer) Fingerprint() string {
	c := s.config
	var jwks []byte
	if c.Keyring != nil {
		jwks = c.Keyring.JWKS()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %d %q", c.Algorithm, c.Issuer, c.Audience, c.Key, c.TTL, jwks))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// encodeHeader returns the JOSE header as it stands in a token. It is the same
// for all tokens of a key.
func encodeHeader(algorithm, keyID string) string {
	header, _ := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid,omitempty"`
		Type      string `json:"typ"`
	}{algorithm, keyID, tokenType})
	return base64.RawURLEncoding.EncodeToString(header)
}
