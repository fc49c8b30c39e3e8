package session

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// newSealed is a sealed store in another one.
func newSealed(t *testing.T, in Store, typ Type, secret string) *Sealed {
	t.Helper()
	keys, err := NewKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	return NewSealed(in, keys, typ)
}

var sealedSecret = strings.Repeat("s", minSecret)

func TestSealedKeepsValuesFromWhoReadsTheStore(t *testing.T) {
	below := NewMemory(MemoryConfig{})
	s := newSealed(t, below, TypeCredential, sealedSecret)
	mustMiss(t, s, "a")
	mustPut(t, s, "a", "the value", time.Minute)
	mustAdd(t, s, "b", "another value", true)
	mustAdd(t, s, "b", "a third", false)
	for _, key := range []string{"a", "b"} {
		raw, found, err := below.Get(t.Context(), key)
		if err != nil || !found || bytes.Contains(raw, []byte("value")) {
			t.Errorf("below lies %q, found %v, error %v", raw, found, err)
		}
	}
	mustGet(t, s, "a", "the value")
	mustTake(t, s, "b", "another value")
	mustMiss(t, s, "b")
}

func TestSealedOpensItsOwnAlone(t *testing.T) {
	below := NewMemory(MemoryConfig{})
	mustPut(t, newSealed(t, below, TypeCredential, sealedSecret), "a", "1", time.Minute)
	mustMiss(t, newSealed(t, below, TypeTicket, sealedSecret), "a")
	mustMiss(t, newSealed(t, below, TypeCredential, strings.Repeat("x", minSecret)), "a")
	mustPut(t, below, "plain", "1", time.Minute)
	mustMiss(t, newSealed(t, below, TypeCredential, sealedSecret), "plain")
}

func TestSealedRefusesWhatWouldNotOpen(t *testing.T) {
	s := newSealed(t, NewMemory(MemoryConfig{}), TypeCredential, sealedSecret)
	longest := strings.Repeat("v", MaxPlaintext)
	mustPut(t, s, "a", longest, time.Minute)
	mustGet(t, s, "a", longest)
	if err := s.Put(t.Context(), "b", []byte(longest+"v"), time.Minute); err == nil {
		t.Error("put a value that is too long")
	}
	if added, err := s.Add(t.Context(), "b", []byte(longest+"v"), time.Minute); err == nil || added {
		t.Error("added a value that is too long")
	}
}
