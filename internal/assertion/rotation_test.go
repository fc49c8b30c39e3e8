package assertion

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keyLife is what an onlooker sees of a key.
type keyLife struct {
	published, signed, lastSigned, lastPublished time.Time
}

// watch ticks keyring once an hour over span and records the life of each key.
func watch(t *testing.T, keyring *Keyring, from time.Time, span time.Duration) map[string]*keyLife {
	t.Helper()
	lives := map[string]*keyLife{}
	for now := from; now.Before(from.Add(span)); now = now.Add(time.Hour) {
		mustTick(t, keyring, now)
		for _, id := range publishedIDs(t, keyring.JWKS()) {
			if lives[id] == nil {
				lives[id] = &keyLife{published: now}
			}
			lives[id].lastPublished = now
		}
		life := lives[keyring.current(ES256, now).id]
		if life == nil {
			t.Fatalf("at %v a key signs that is not published", now)
		}
		if life.signed.IsZero() {
			life.signed = now
		}
		life.lastSigned = now
	}
	return lives
}

func TestKeyIsPublishedADayBeforeItsFirstAndAfterItsLastSignature(t *testing.T) {
	const day = 24 * time.Hour
	for name, offset := range map[string]time.Duration{
		"started as a rotation starts":        0,
		"started in the middle of a rotation": 40 * day,
		"started an hour before a rotation":   90*day - time.Hour,
		"started a day before a rotation":     89 * day,
	} {
		t.Run(name, func(t *testing.T) {
			start := gridStart().Add(offset)
			lives := watch(t, newKeyring(t, &memoryStore{}, ES256), start, 400*day)
			if len(lives) < 5 {
				t.Fatalf("%d keys in 400 days", len(lives))
			}
			for id, life := range lives {
				first := life.published.Equal(start) && life.signed.Equal(start)
				if notice := life.signed.Sub(life.published); !first && !life.signed.IsZero() && notice < day {
					t.Errorf("key %s signed %v after it was published", id, notice)
				}
				if used := life.lastSigned.Sub(life.signed); used > 92*day {
					t.Errorf("key %s signed for %v", id, used)
				}
				ended := life.lastPublished.Before(start.Add(399 * day))
				if after := life.lastPublished.Sub(life.lastSigned); ended && (after < day || after > day+2*time.Hour) {
					t.Errorf("key %s was published for %v after its last signature", id, after)
				}
			}
		})
	}
}

func TestDeadKeysAreDeletedFromTheStore(t *testing.T) {
	store := &memoryStore{}
	watch(t, newKeyring(t, store, ES256), gridStart(), 400*24*time.Hour)
	if len(store.rows) != 2 {
		t.Errorf("%d keys are stored after 400 days, want the current and the next", len(store.rows))
	}
}

func TestOutageOfAnyLengthEndsWithAKeyThatSigns(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		down      time.Duration
		announced bool // the key that signs after it was published before it
	}{
		"shorter than a rotation":                {60 * day, true},
		"past a rotation":                        {100 * day, true},
		"until an hour before the key after it":  {180*day - time.Hour, true},
		"until the end of the last key's notice": {180*day + 23*time.Hour, true},
		"longer than all keys live":              {400 * day, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := &memoryStore{}
			mustTick(t, newKeyring(t, store, ES256), gridStart())
			before, _ := store.Keys(t.Context())
			lives := watch(t, newKeyring(t, store, ES256), gridStart().Add(test.down), 200*day)
			var unannounced int
			for id, life := range lives {
				known := slices.ContainsFunc(before, func(row StoredKey) bool { return row.ID == id })
				if !known && !life.signed.IsZero() && life.signed.Sub(life.published) < day {
					unannounced++
				}
			}
			if want := map[bool]int{true: 0, false: 1}[test.announced]; unannounced != want {
				t.Errorf("%d keys signed without a day's notice, want %d", unannounced, want)
			}
		})
	}
}

// slowStore answers a minute after it looked, so that instances that start
// together all see an empty store before any of them has written.
type slowStore struct{ memoryStore }

func (s *slowStore) Keys(ctx context.Context) ([]StoredKey, error) {
	rows, err := s.memoryStore.Keys(ctx)
	time.Sleep(time.Minute)
	return rows, err
}

func TestInstancesThatStartTogetherAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{}
		var keyrings []*Keyring
		var wg sync.WaitGroup
		for range 4 {
			keyring := newKeyring(t, store, ES256, EdDSA)
			keyrings = append(keyrings, keyring)
			time.Sleep(10 * time.Second)
			wg.Go(func() {
				if err := keyring.Load(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, keyring := range keyrings[1:] {
			if diff := cmp.Diff(string(keyrings[0].JWKS()), string(keyring.JWKS())); diff != "" {
				t.Errorf("two instances publish different keys:\n%s", diff)
			}
		}
		if len(store.rows) != 4 {
			t.Errorf("%d keys are stored, want a current and a next of each algorithm", len(store.rows))
		}
	})
}

// instance is one of several gateways that share a store. Its clock is off by
// skew.
type instance struct {
	secrets labelSealer
	keyring *Keyring
	signer  *Signer
	skew    time.Duration
}

func startInstance(t *testing.T, store KeyStore, in instance) *instance {
	t.Helper()
	keyring, err := NewKeyring(KeyringConfig{
		Store: store, Sealer: in.secrets, Algorithms: []string{ES256}, Rotation: 48 * time.Hour,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	in.keyring = keyring
	mustTick(t, keyring, in.now())
	if err := keyring.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.signer, err = NewSigner(SignerConfig{Keyring: keyring, Issuer: testIssuer, Audience: testAudience, TTL: MaxTTL})
	if err != nil {
		t.Fatal(err)
	}
	return &in
}

// secretsAt are the secrets that an instance has, which changes them as
// docs/operations.md says: in stage 0 it has one, in stage 1 another one behind
// it, in stage 2 that one in front, and in stage 3 that one alone.
func secretsAt(stage int) labelSealer {
	old, other := fmt.Sprintf("s%d", stage/3), fmt.Sprintf("s%d", stage/3+1)
	return [...]labelSealer{labelSealer(old), labelSealer(old + "," + other), labelSealer(other + "," + old)}[stage%3]
}

func (in *instance) now() time.Time { return time.Now().Add(in.skew) }

// sample is what could be seen of all instances at one moment.
type sample struct {
	tokens []string
	jwks   [][]byte
}

// A shop may have fetched the JWKS from any instance up to 300 s ago, and
// gets tokens of any instance until they die, while the instances change their
// secrets too.
func TestRotationNeverFailsAVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			step    = 100 * time.Second
			restart = 300 // steps
		)
		store := &memoryStore{}
		instances := []*instance{
			startInstance(t, store, instance{secrets: secretsAt(0)}),
			startInstance(t, store, instance{secrets: secretsAt(0), skew: 5 * time.Second}),
			startInstance(t, store, instance{secrets: secretsAt(0), skew: -5 * time.Second}),
		}
		checked := map[string]bool{} // by token's key and JWKS
		signers := map[string]bool{}
		var seen []sample
		for i := range int(10 * 24 * time.Hour / step) {
			var s sample
			for n, in := range instances {
				if (i+n*12)%36 == 0 {
					mustTick(t, in.keyring, in.now())
				}
				s.tokens = append(s.tokens, mustSign(t, in.signer, in.now()))
				s.jwks = append(s.jwks, in.keyring.JWKS())
			}
			if i%restart == restart-1 { // with the secrets of the next stage
				n := i / restart
				instances[n%3] = startInstance(t, store, instance{secrets: secretsAt(1 + n/3), skew: instances[n%3].skew})
			}
			seen = append(seen, s)[max(0, len(seen)-5):]
			for _, fetched := range seen[max(0, len(seen)-4):] {
				for _, jwks := range fetched.jwks {
					checkAll(t, seen, jwks, checked, signers)
				}
			}
			time.Sleep(step)
		}
		if len(signers) < 5 {
			t.Errorf("%d keys signed in 10 days, want a rotation every 2 days", len(signers))
		}
	})
}

// checkAll verifies the tokens of seen with jwks; once per key and JWKS, since
// the rest of a token does not depend on them.
func checkAll(t *testing.T, seen []sample, jwks []byte, checked, signers map[string]bool) {
	t.Helper()
	for _, s := range seen {
		for _, token := range s.tokens {
			header, _, _ := strings.Cut(token, ".")
			if pair := header + string(jwks); !checked[pair] {
				checked[pair], signers[header] = true, true
				if _, err := verify(jwks, ES256, token, time.Now()); err != nil {
					t.Fatalf("at %v: %v", time.Now(), err)
				}
			}
		}
	}
}
