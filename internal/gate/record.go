package gate

import (
	"encoding/json"

	"github.com/wxgate/wxgate/internal/session"
)

// sealRecord makes text of a small record, of strings, numbers and flags, that
// only a gateway with the secret reads, and only as its type.
func (s *Site) sealRecord(typ session.Type, record any) []byte {
	raw, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	return []byte(s.Keys.Seal(typ, raw))
}

// openRecord reads what sealRecord has made. It is not ok with what this version,
// or this secret, has not sealed, and record counts for nothing then.
func (s *Site) openRecord(typ session.Type, sealed []byte, record any) (ok bool) {
	raw, ok := s.Keys.Open(typ, string(sealed))
	return ok && json.Unmarshal(raw, record) == nil
}
