package account

import (
	"slices"
	"strings"
)

// secrets is a Sealer that hides nothing, so that a test sees which secret
// sealed what. The first is the newest.
type secrets []string

func (s secrets) Seal(plaintext []byte) string { return s[0] + ":" + string(plaintext) }

func (s secrets) Open(sealed string) ([]byte, bool) {
	by, plaintext, ok := strings.Cut(sealed, ":")
	return []byte(plaintext), ok && slices.Contains(s, by)
}

func (s secrets) Newest(sealed string) bool { return strings.HasPrefix(sealed, s[0]+":") }
