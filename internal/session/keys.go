package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// Type says what a sealed token is for. A token opens only as the type it was
// sealed as.
type Type byte

const (
	// TypeSession is a visitor's session, in a cookie or a header.
	TypeSession Type = iota
	// TypeFlow is the cookie that ties a login under way to its browser.
	TypeFlow
	// TypeResult is a finished login that waits in the Store.
	TypeResult
	// TypeSigningKey is a private key of the assertion, kept in the database.
	TypeSigningKey
	// TypeDataKey is the key that phone numbers are stored with, kept in the
	// database.
	TypeDataKey
	// TypeCode is a code that was sent to a phone, in the Store.
	TypeCode
	// TypeProof is what a visitor has proved to change his phone, in the Store.
	TypeProof
	// TypeTicket is what WeChat has told a callback host, in the Store.
	TypeTicket
	// TypeCredential is an access token of WeChat's API, in the Store.
	TypeCredential
	// TypeHandoff is a session that a mini program hands to its web-view, in the
	// Store.
	TypeHandoff
	// TypeSessionKey is a mini program's session_key, in the Store.
	TypeSessionKey

	typeCount
)

const (
	// MaxToken is the length of the longest token that is opened, in bytes.
	MaxToken = 4096

	minSecret  = 32
	version    = 1
	keyIDSize  = 4
	headerSize = 1 + keyIDSize
	gcmSize    = 12 + 16 // nonce and tag

	// MaxPlaintext is the length of the longest plaintext that fits into
	// MaxToken, in bytes.
	MaxPlaintext = MaxToken/4*3 - headerSize - gcmSize
)

// Keys seals tokens and opens them again. Whoever has the same secrets has the
// same Keys; nothing else is needed, no database and no clock. Its methods may
// be called by many goroutines.
//
// A token is base64url without padding of
//
//	version (1 byte) | key id (4) | nonce (12) | AES-256-GCM of the plaintext
//
// with version and type as associated data. Nonces are random, so one secret
// is good for 2^32 tokens (NIST SP 800-38D, 8.3): a hundred every second for
// a year.
type Keys struct {
	keys     []key // the first seals, all open
	encoding *base64.Encoding
}

// A key is what one secret gives: an id that is no secret, and for each type a
// cipher and the associated data.
type key struct {
	id    [keyIDSize]byte
	aeads [typeCount]cipher.AEAD
	data  [typeCount][]byte
}

// NewKeys derives keys from secrets. The first secret seals and all of them
// open, so secrets are replaced by putting a new one in front and taking the
// old one away when the last token it sealed has expired. It is an error when
// there is no secret or when one is shorter than 32 bytes.
func NewKeys(secrets ...string) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("deriving keys: no secret")
	}
	k := &Keys{encoding: base64.RawURLEncoding.Strict()}
	for i, secret := range secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("deriving keys: secret %d of %d has %d bytes, at least %d are needed",
				i+1, len(secrets), len(secret), minSecret)
		}
		derived, err := deriveKey([]byte(secret))
		if err != nil {
			return nil, fmt.Errorf("deriving keys from secret %d of %d: %w", i+1, len(secrets), err)
		}
		k.keys = append(k.keys, derived)
	}
	return k, nil
}

// purpose is the info of HKDF (RFC 5869). Changing one makes every token of
// that type unreadable.
func (t Type) purpose() string {
	return [typeCount]string{
		TypeSession:    "wxgate session",
		TypeFlow:       "wxgate flow",
		TypeResult:     "wxgate result",
		TypeSigningKey: "wxgate signing key",
		TypeDataKey:    "wxgate data key",
		TypeCode:       "wxgate code",
		TypeProof:      "wxgate proof",
		TypeTicket:     "wxgate ticket",
		TypeCredential: "wxgate credential",
		TypeHandoff:    "wxgate handoff",
		TypeSessionKey: "wxgate session key",
	}[t]
}

func deriveKey(secret []byte) (key, error) {
	var k key
	id, err := hkdf.Key(sha256.New, secret, nil, "wxgate key id", keyIDSize)
	if err != nil {
		return key{}, err
	}
	copy(k.id[:], id)
	for t := range typeCount {
		raw, err := hkdf.Key(sha256.New, secret, nil, t.purpose(), 32)
		if err != nil {
			return key{}, err
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return key{}, err
		}
		if k.aeads[t], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return key{}, err
		}
		k.data[t] = []byte{version, byte(t)}
	}
	return k, nil
}

// Seal returns plaintext as a token of the given type. A plaintext longer than
// MaxPlaintext makes a token that does not open.
func (k *Keys) Seal(typ Type, plaintext []byte) string {
	key := &k.keys[0]
	sealed := make([]byte, 0, headerSize+gcmSize+len(plaintext))
	sealed = append(sealed, version)
	sealed = append(sealed, key.id[:]...)
	sealed = key.aeads[typ].Seal(sealed, nil, plaintext, key.data[typ])
	return k.encoding.EncodeToString(sealed)
}

// Open returns the plaintext of a token that one of the secrets has sealed as
// the given type. Anything else is not ok: another type, a foreign key, a
// changed byte, a spelling that Seal does not write, more than MaxToken bytes.
func (k *Keys) Open(typ Type, token string) (plaintext []byte, ok bool) {
	// The decoder skips line breaks even when strict.
	if len(token) > MaxToken || typ >= typeCount || strings.ContainsAny(token, "\r\n") {
		return nil, false
	}
	raw, err := k.encoding.DecodeString(token)
	if err != nil || len(raw) < headerSize+gcmSize || raw[0] != version {
		return nil, false
	}
	id, sealed := [keyIDSize]byte(raw[1:headerSize]), raw[headerSize:]
	for i := range k.keys {
		key := &k.keys[i]
		if key.id != id {
			continue
		}
		// Not in place: Open overwrites its destination even when it fails,
		// and a second key may have the same id.
		if plaintext, err := key.aeads[typ].Open(nil, nil, sealed, key.data[typ]); err == nil {
			return plaintext, true
		}
	}
	return nil, false
}

// Newest says whether a token that opens was sealed with the first secret.
func (k *Keys) Newest(typ Type, token string) bool {
	_, ok := (&Keys{keys: k.keys[:1], encoding: k.encoding}).Open(typ, token)
	return ok
}

// Format keeps the keys out of logs, whatever the verb.
func (k *Keys) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "REDACTED")
}
