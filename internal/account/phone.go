package account

import (
	"crypto/sha256"
	"encoding/hex"
)

// phone is a verified number as it is kept. The zero value is none.
type phone struct {
	key    string // finds it without opening it; equal numbers have equal keys
	sealed string
	masked string // what people and events may see
}

// phone prepares a number in the form of E.164 for storing and comparing.
func (db *DB) phone(e164 string) (phone, error) {
	if e164 == "" {
		return phone{}, nil
	}
	key := sha256.Sum256([]byte(e164))
	return phone{key: hex.EncodeToString(key[:]), sealed: "", masked: ""}, nil
}
