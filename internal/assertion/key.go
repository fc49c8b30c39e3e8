package assertion

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// rsaBits is the size of the RSA keys we make, and the least we accept
// (RFC 7518, 3.3).
const rsaBits = 2048

// signingKey is a key ready to sign.
type signingKey struct {
	id        string // RFC 7638 thumbprint of the public key
	algorithm string
	method    jwt.SigningMethod
	private   any             // what method.Sign takes
	header    string          // the encoded JOSE header of its tokens
	public    json.RawMessage // the JWK for the JWKS
}

// sign returns the compact form of a token with claims.
func (k *signingKey) sign(claims payload) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := k.header + "." + base64.RawURLEncoding.EncodeToString(body)
	signature, err := k.method.Sign(signed, k.private)
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// generateKey makes a private key for algorithm, in PKCS #8.
func generateKey(algorithm string) ([]byte, error) {
	var private any
	var err error
	switch algorithm {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = errors.New("unknown algorithm")
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

// parseKey makes a private key in PKCS #8 ready to sign. The algorithm and the
// key id follow from the key itself, so that nothing stored beside it can make
// it pass for another.
func parseKey(der []byte) (*signingKey, error) {
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	method, err := methodOf(private)
	if err != nil {
		return nil, err
	}
	key := &signingKey{algorithm: method.Alg(), method: method, private: private}
	public := private.(crypto.Signer).Public()
	if key.id, key.public, err = publicJWK(public, key.algorithm); err != nil {
		return nil, err
	}
	key.header = encodeHeader(key.algorithm, key.id)
	return key, nil
}

func methodOf(private any) (jwt.SigningMethod, error) {
	switch private := private.(type) {
	case *ecdsa.PrivateKey:
		if private.Curve != elliptic.P256() {
			return nil, fmt.Errorf("an ECDSA key on %s: %s needs P-256", private.Curve.Params().Name, ES256)
		}
		return jwt.SigningMethodES256, nil
	case *rsa.PrivateKey:
		if private.N.BitLen() < rsaBits {
			return nil, fmt.Errorf("an RSA key of %d bits: %s needs at least %d", private.N.BitLen(), RS256, rsaBits)
		}
		return jwt.SigningMethodRS256, nil
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA, nil
	}
	return nil, fmt.Errorf("a key of type %T signs no assertions", private)
}

// publicJWK returns the key's RFC 7638 thumbprint and its JWK (RFC 7517).
func publicJWK(public crypto.PublicKey, algorithm string) (id string, encoded json.RawMessage, err error) {
	key, err := jwk.FromRaw(public)
	if err != nil {
		return "", nil, err
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", nil, err
	}
	id = base64.RawURLEncoding.EncodeToString(thumbprint)
	for name, value := range map[string]string{
		jwk.KeyIDKey: id, jwk.AlgorithmKey: algorithm, jwk.KeyUsageKey: string(jwk.ForSignature),
	} {
		if err := key.Set(name, value); err != nil {
			return "", nil, err
		}
	}
	encoded, err = json.Marshal(key)
	return id, encoded, err
}
