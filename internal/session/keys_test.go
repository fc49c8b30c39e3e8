package session

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	secretA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	secretB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

	earlierToken = "AY85Jt4XKCxmP36Fpx358r19WZMQiHQpigP8ZTm748GLFPqSrQMWuw"
)

func newKeys(t testing.TB, secrets ...string) *Keys {
	t.Helper()
	k, err := NewKeys(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustOpen(t *testing.T, k *Keys, typ Type, token, want string) {
	t.Helper()
	got, ok := k.Open(typ, token)
	if !ok || string(got) != want {
		t.Fatalf("Open(%d, %q) = %q, %v; want %q", typ, token, got, ok, want)
	}
}

func mustRefuse(t *testing.T, k *Keys, typ Type, token string) {
	t.Helper()
	if got, ok := k.Open(typ, token); ok || got != nil {
		t.Fatalf("Open(%d, %q) = %q, %v; want it refused", typ, token, got, ok)
	}
}

func TestNewKeysNamesTheSecretThatIsTooShort(t *testing.T) {
	for _, tc := range []struct {
		name    string
		secrets []string
		want    string
	}{
		{"none", nil, "deriving keys: no secret"},
		{"empty", []string{""}, "deriving keys: secret 1 of 1 has 0 bytes, at least 32 are needed"},
		{"second", []string{secretA, secretB[1:]}, "deriving keys: secret 2 of 2 has 31 bytes, at least 32 are needed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, err := NewKeys(tc.secrets...)
			if k != nil || err == nil || err.Error() != tc.want {
				t.Errorf("NewKeys = %v, %v; want error %q", k, err, tc.want)
			}
		})
	}
}

func TestSealedOpens(t *testing.T) {
	k := newKeys(t, secretA)
	for _, plaintext := range []string{"", "x", "微信", strings.Repeat("x", MaxPlaintext)} {
		for typ := range typeCount {
			token := k.Seal(typ, []byte(plaintext))
			mustOpen(t, k, typ, token, plaintext)
			// Another process with the same secret.
			mustOpen(t, newKeys(t, secretA), typ, token, plaintext)
		}
	}
}

// What instances of different versions exchange must not change by accident:
// this token was sealed by the first version.
func TestTokenOfAnEarlierVersionOpens(t *testing.T) {
	mustOpen(t, newKeys(t, secretA), TypeSession, earlierToken, "earlier")
}

// Two tokens of one plaintext tell nobody that they are the same.
func TestSealIsDifferentEveryTime(t *testing.T) {
	k := newKeys(t, secretA)
	if a, b := k.Seal(TypeFlow, []byte("x")), k.Seal(TypeFlow, []byte("x")); a == b {
		t.Errorf("Seal returned %q twice", a)
	}
}

// Attack: a login under way is put in the place of a session, or the
// other way round.
func TestTokenOpensAsItsOwnTypeOnly(t *testing.T) {
	k := newKeys(t, secretA)
	for sealed := range typeCount {
		token := k.Seal(sealed, []byte("{}"))
		for opened := range typeCount + 1 {
			if opened == sealed {
				continue
			}
			mustRefuse(t, k, opened, token)
		}
	}
}

// Attack, should two types ever have the same key: the associated data
// alone keeps them apart.
func TestTokenOpensAsItsOwnTypeOnlyWhenKeysAreEqual(t *testing.T) {
	k := newKeys(t, secretA)
	for typ := range typeCount {
		k.keys[0].aeads[typ] = k.keys[0].aeads[TypeSession]
	}
	for sealed := range typeCount {
		token := k.Seal(sealed, []byte("{}"))
		mustOpen(t, k, sealed, token, "{}")
		for opened := range typeCount {
			if opened != sealed {
				mustRefuse(t, k, opened, token)
			}
		}
	}
}

// The other half: the keys differ as well, should the associated data
// ever be the same.
func TestTypesHaveTheirOwnKeys(t *testing.T) {
	k := newKeys(t, secretA)
	for typ := range typeCount {
		k.keys[0].data[typ] = k.keys[0].data[TypeSession]
	}
	for typ := TypeSession + 1; typ < typeCount; typ++ {
		mustRefuse(t, k, TypeSession, k.Seal(typ, []byte("{}")))
	}
}

// Attack: a visitor changes his token, a bit at a time.
func TestTokenWithAnyBitFlippedIsRefused(t *testing.T) {
	k := newKeys(t, secretA)
	token := k.Seal(TypeSession, []byte(`{"u":"1000000001"}`))
	for i := range len(token) {
		for bit := range 8 {
			changed := []byte(token)
			changed[i] ^= 1 << bit
			mustRefuse(t, k, TypeSession, string(changed))
		}
	}
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	for i := range raw {
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			mustRefuse(t, k, TypeSession, base64.RawURLEncoding.EncodeToString(changed))
		}
	}
}

func TestTruncatedTokenIsRefused(t *testing.T) {
	k := newKeys(t, secretA)
	token := k.Seal(TypeSession, []byte("{}"))
	for n := range len(token) {
		mustRefuse(t, k, TypeSession, token[:n])
		mustRefuse(t, k, TypeSession, token[n+1:])
	}
}

// Attack: one session, many spellings, so that a revoked or limited token comes
// back as another string.
func TestOtherSpellingsOfATokenAreRefused(t *testing.T) {
	k := newKeys(t, secretA)
	// The last character of this token carries four bits that mean nothing.
	token := k.Seal(TypeSession, []byte("x"))
	last := strings.IndexByte(base64URL, token[len(token)-1])
	for name, spelling := range map[string]string{
		"padded":             token + "==",
		"trailing bits":      token[:len(token)-1] + string(base64URL[last+1]),
		"line feed":          token[:8] + "\n" + token[8:],
		"carriage return":    token + "\r",
		"four line feeds":    token + "\n\n\n\n",
		"space":              token + " ",
		"quoted":             `"` + token + `"`,
		"standard alphabet":  strings.NewReplacer("-", "+", "_", "/").Replace(sealWith(k, "-")),
		"percent-encoded":    "%" + fmt.Sprintf("%X", token[0]) + token[1:],
		"followed by itself": token + token,
	} {
		t.Run(name, func(t *testing.T) { mustRefuse(t, k, TypeSession, spelling) })
	}
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// sealWith returns a token that has the character c.
func sealWith(k *Keys, c string) string {
	for {
		if token := k.Seal(TypeSession, []byte("{}")); strings.Contains(token, c) {
			return token
		}
	}
}

// Attack: megabytes of token on every request.
func TestOversizedTokenIsRefusedBeforeAnyWork(t *testing.T) {
	k := newKeys(t, secretA)
	token := k.Seal(TypeSession, make([]byte, MaxPlaintext+1))
	if len(token) <= MaxToken {
		t.Fatalf("a plaintext of %d bytes gave a token of %d bytes", MaxPlaintext+1, len(token))
	}
	mustRefuse(t, k, TypeSession, token)
	allocs := testing.AllocsPerRun(10, func() { k.Open(TypeSession, token) })
	if allocs != 0 {
		t.Errorf("refusing it took %v allocations, want 0", allocs)
	}
}

// Attack: a token of another gateway, sealed with the attacker's own secret.
func TestTokenOfAForeignKeyIsRefused(t *testing.T) {
	k, foreign := newKeys(t, secretA), newKeys(t, secretB)
	token := foreign.Seal(TypeSession, []byte("{}"))
	mustRefuse(t, k, TypeSession, token)

	// The same with our key id, which is no secret.
	foreign.keys[0].id = k.keys[0].id
	mustRefuse(t, k, TypeSession, foreign.Seal(TypeSession, []byte("{}")))
}

func TestRotatedSecrets(t *testing.T) {
	before, during, after := newKeys(t, secretA), newKeys(t, secretB, secretA), newKeys(t, secretB)
	old := before.Seal(TypeSession, []byte("old"))
	mustOpen(t, during, TypeSession, old, "old")
	mustRefuse(t, after, TypeSession, old)

	renewed := during.Seal(TypeSession, []byte("new"))
	mustOpen(t, during, TypeSession, renewed, "new")
	mustOpen(t, after, TypeSession, renewed, "new")
	mustRefuse(t, before, TypeSession, renewed)

	if during.Newest(TypeSession, old) || !during.Newest(TypeSession, renewed) || before.Newest(TypeSession, renewed) {
		t.Error("what the newest secret has sealed is not told from what an older one has")
	}
}

// Ids are four bytes: should those of two secrets be the same, both open.
func TestSecretsWithTheSameIDBothOpen(t *testing.T) {
	first, second := newKeys(t, secretA), newKeys(t, secretB)
	second.keys[0].id = first.keys[0].id
	token := second.Seal(TypeSession, []byte("{}"))
	both := &Keys{keys: append(first.keys, second.keys...), encoding: first.encoding}
	mustOpen(t, both, TypeSession, token, "{}")
}

func TestKeysDoNotPrint(t *testing.T) {
	k := newKeys(t, secretA)
	var got []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		got = append(got, fmt.Sprintf(verb, k))
	}
	want := []string{"REDACTED", "REDACTED", "REDACTED", "REDACTED", "REDACTED"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Nothing but what Seal has returned opens, and Open survives everything.
func FuzzOpen(f *testing.F) {
	k := newKeys(f, secretA, secretB)
	for typ := range typeCount {
		f.Add(byte(typ), k.Seal(typ, []byte(`{"i":"x"}`)))
	}
	f.Add(byte(TypeSession), earlierToken)
	f.Add(byte(TypeSession), earlierToken+"\n")
	f.Add(byte(TypeSession), "")
	f.Add(byte(TypeSession), "AQ")
	f.Add(byte(typeCount), strings.Repeat("A", MaxToken))
	f.Fuzz(func(t *testing.T, typ byte, token string) {
		plaintext, ok := k.Open(Type(typ), token)
		if !ok {
			if plaintext != nil {
				t.Errorf("Open(%d, %q) refused, and returned %q", typ, token, plaintext)
			}
			return
		}
		// The fuzzer cannot forge, so this is a seed, and spelled as it was.
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != token {
			t.Errorf("Open(%d, %q) accepted a token that Seal does not write", typ, token)
		}
		if plaintext := string(plaintext); plaintext != `{"i":"x"}` && plaintext != "earlier" {
			t.Errorf("Open(%d, %q) = %q, which was never sealed", typ, token, plaintext)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := newKeys(b, secretB, secretA)
	token := newKeys(b, secretA).Seal(TypeSession, make([]byte, 500))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := k.Open(TypeSession, token); !ok {
			b.Fatal("refused")
		}
	}
}
