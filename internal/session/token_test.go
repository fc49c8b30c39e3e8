package session

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fullSession has every field set, the ids as long as they get.
func fullSession() *Session {
	return &Session{
		ID: NewID(), Root: NewID(), UserID: strings.Repeat("u", 64), Kind: "member", Born: 1_767_225_600,
		IssuedAt: 1_767_225_600, RenewedAt: 1_767_225_600, ExpiresAt: 1_769_817_600,
		Channel: "mini_program", AMR: "wechat_phone",
		AppID: "wx1111111111111111", OpenID: strings.Repeat("o", 128), UnionID: strings.Repeat("n", 128),
		SignedOut: true, Snapshot: true, ConsentedAt: 1_767_225_600, AskedAt: 1_767_225_600,
		HandedOver: true, Left: strings.Repeat("l", 64), LeftBorn: 1_767_225_600,
	}
}

func TestFullSessionHasEveryFieldSet(t *testing.T) {
	v := reflect.ValueOf(*fullSession())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set", v.Type().Field(i).Name)
		}
	}
}

func TestSessionComesBackAsItWasSealed(t *testing.T) {
	k := newKeys(t, secretA)
	want := fullSession()
	token, err := k.SealSession(want)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := k.OpenSession(token, time.Unix(want.IssuedAt, 0))
	if !ok {
		t.Fatal("refused")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLongestSessionStaysUnderOneKilobyte(t *testing.T) {
	token, err := newKeys(t, secretA).SealSession(fullSession())
	if err != nil || len(token) >= 1024 {
		t.Errorf("token has %d bytes, %v; want less than 1024", len(token), err)
	}
}

func TestSealSessionRefusesWhatWouldNotComeBack(t *testing.T) {
	k := newKeys(t, secretA)
	long := fullSession()
	long.UserID = strings.Repeat("u", 500)
	if token, err := k.SealSession(long); err == nil {
		t.Errorf("sealed a session of %d bytes", len(token))
	}
	for n := range 500 { // to the byte
		s := &Session{ID: NewID(), UserID: strings.Repeat("u", 300+n), ExpiresAt: 2000}
		token, err := k.SealSession(s)
		if _, ok := k.OpenSession(token, time.Unix(1000, 0)); ok != (err == nil) {
			t.Errorf("%d bytes: sealed with the error %v, and opened %v", len(token), err, ok)
		}
	}
	// Two shop ids that differ only in a byte that is not UTF-8 would become
	// one person.
	for i := range reflect.TypeFor[Session]().NumField() {
		odd := fullSession()
		field := reflect.ValueOf(odd).Elem().Field(i)
		if field.Kind() != reflect.String {
			continue
		}
		field.SetString("caf\xe9")
		if _, err := k.SealSession(odd); err == nil {
			t.Errorf("sealed a %s that is not UTF-8", reflect.TypeFor[Session]().Field(i).Name)
		}
	}
}

func TestSessionExpiresToTheSecond(t *testing.T) {
	k := newKeys(t, secretA)
	s := &Session{ID: NewID(), ExpiresAt: 1_000}
	token, err := k.SealSession(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.OpenSession(token, time.Unix(999, 999_999_999)); !ok {
		t.Error("refused before its end")
	}
	if s, ok := k.OpenSession(token, time.Unix(1_000, 0)); ok || s != nil {
		t.Error("accepted at its end")
	}
}

func TestTokenThatHoldsNoSessionIsRefused(t *testing.T) {
	k := newKeys(t, secretA)
	now := time.Unix(1_000, 0)
	for name, plaintext := range map[string]string{
		"empty":         ``,
		"not JSON":      `{"i":"x","e":2000`,
		"null":          `null`,
		"list":          `[]`,
		"no id":         `{"e":2000}`,
		"no expiry":     `{"i":"x"}`,
		"wrong type":    `{"i":"x","e":"2000"}`,
		"trailing data": `{"i":"x","e":2000}{}`,
		"padded":        `{"i":"x","e":2000}` + strings.Repeat(" ", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			if s, ok := k.OpenSession(k.Seal(TypeSession, []byte(plaintext)), now); ok || s != nil {
				t.Errorf("OpenSession = %+v, %v; want it refused", s, ok)
			}
		})
	}
	if _, ok := k.OpenSession(k.Seal(TypeSession, []byte(`{"i":"x","e":2000}`)), now); !ok {
		t.Error("the least session is refused")
	}
}

// Attack: the result of a login, which a store operator may see, is sent
// as a session.
func TestResultIsNoSession(t *testing.T) {
	k := newKeys(t, secretA)
	s := fullSession()
	plaintext, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.OpenSession(k.Seal(TypeResult, plaintext), time.Unix(s.IssuedAt, 0)); ok {
		t.Error("a finished login opened as a session")
	}
}

func TestIDsAreCookieSafeAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if len(id) < 22 || strings.Trim(id, base64URL) != "" || seen[id] {
			t.Fatalf("NewID() = %q, seen before: %v", id, seen[id])
		}
		seen[id] = true
	}
}

func BenchmarkOpenSession(b *testing.B) {
	k := newKeys(b, secretA)
	s := fullSession()
	token, err := k.SealSession(s)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Unix(s.IssuedAt, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := k.OpenSession(token, now); !ok {
			b.Fatal("refused")
		}
	}
}

func TestLineOutlivesRotations(t *testing.T) {
	first := Session{ID: NewID()}
	second := Session{ID: NewID(), Root: first.Line()}
	third := Session{ID: NewID(), Root: second.Line()}
	if first.Line() != first.ID || second.Line() != first.ID || third.Line() != first.ID {
		t.Errorf("%q, %q, %q; want %q", first.Line(), second.Line(), third.Line(), first.ID)
	}
}
