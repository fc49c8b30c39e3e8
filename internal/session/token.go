package session

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// maxSessionToken is the length that no session token reaches, in bytes: it
// travels with every request, next to the shop's own cookies.
const maxSessionToken = 1024

// NewID returns a new session id: 128 random bits as 26 letters and digits.
func NewID() string { return rand.Text() }

// SealSession returns the token of s, shorter than 1 KB. It is an error when s
// is longer than that, or when one of its ids is not UTF-8: JSON would replace
// the odd bytes, and two ids would become one.
func (k *Keys) SealSession(s *Session) (string, error) {
	for _, id := range []string{s.ID, s.Root, s.UserID, s.Kind, s.Channel, s.AMR, s.AppID, s.OpenID, s.UnionID, s.Left} {
		if !utf8.ValidString(id) {
			return "", fmt.Errorf("sealing session: a value is not UTF-8")
		}
	}
	plaintext, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("sealing session: %w", err)
	}
	token := k.Seal(TypeSession, plaintext)
	if len(token) >= maxSessionToken {
		return "", fmt.Errorf("sealing session: the token has %d bytes, at most %d are allowed", len(token), maxSessionToken-1)
	}
	return token, nil
}

// OpenSession returns the session of a token. A token that Open refuses, that
// holds no session, or that has expired at now is not ok: it is the same as no
// token at all.
func (k *Keys) OpenSession(token string, now time.Time) (s *Session, ok bool) {
	if len(token) >= maxSessionToken {
		return nil, false
	}
	plaintext, ok := k.Open(TypeSession, token)
	if !ok {
		return nil, false
	}
	s = new(Session)
	if json.Unmarshal(plaintext, s) != nil || s.ID == "" || now.Unix() >= s.ExpiresAt {
		return nil, false
	}
	return s, true
}
