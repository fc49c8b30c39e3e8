package assertion

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustRotate(t *testing.T, keyring *Keyring, now time.Time) {
	t.Helper()
	if err := keyring.Rotate(t.Context(), now); err != nil {
		t.Fatal(err)
	}
}

func TestRotationByCommandTakesOverWhenEveryCacheKnowsTheKey(t *testing.T) {
	const day = 24 * time.Hour
	for name, offset := range map[string]time.Duration{
		"in the middle of a rotation":               40 * day,
		"two days before the next key signs anyway": 88 * day,
	} {
		t.Run(name, func(t *testing.T) {
			store := &memoryStore{}
			keyring, now := newKeyring(t, store, ES256, EdDSA), gridStart().Add(offset+17*time.Minute)
			mustTick(t, newKeyring(t, store, ES256, EdDSA), gridStart())
			mustTick(t, keyring, now)
			was := keyring.current(ES256, now).id
			mustRotate(t, keyring, now)

			states := keyring.Keys(now)
			want := []string{"ES256 signs", "ES256 next", "EdDSA signs", "EdDSA next"}
			var got []string
			for _, k := range states {
				got = append(got, k.Algorithm+" "+k.State)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("keys after a rotation (-want +got):\n%s", diff)
			}
			next := states[1]
			if notice := next.ActiveFrom.Sub(now); notice < 25*time.Hour || notice > 26*time.Hour {
				t.Errorf("the next key signs after %v", notice)
			}
			lives := watch(t, keyring, now, 120*day)
			if signed := lives[was].lastSigned; !signed.Before(next.ActiveFrom) {
				t.Errorf("the key of before signed at %v, after %v", signed, next.ActiveFrom)
			}
			life := lives[next.ID]
			if used := life.lastSigned.Sub(life.signed); used < 89*day || used > 91*day {
				t.Errorf("the new key signed for %v, want a rotation of its own", used)
			}
			for id, life := range lives {
				if notice := life.signed.Sub(life.published); id != was && !life.signed.IsZero() && notice < day {
					t.Errorf("key %s signed %v after it was published", id, notice)
				}
				if after := life.lastPublished.Sub(life.lastSigned); !life.signed.IsZero() && life.lastPublished.Before(now.Add(119*day)) && after < day {
					t.Errorf("key %s was withdrawn %v after its last signature", id, after)
				}
			}
		})
	}
}

func TestRotationByCommandTwiceIsOne(t *testing.T) {
	store, now := &memoryStore{}, gridStart().Add(1000*time.Hour)
	one, two := newKeyring(t, store, ES256), newKeyring(t, store, ES256)
	mustTick(t, one, now)
	mustTick(t, two, now)
	var wg sync.WaitGroup
	for _, keyring := range []*Keyring{one, two, one, two} {
		wg.Go(func() {
			if err := keyring.Rotate(t.Context(), now); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mustRotate(t, one, now.Add(3*time.Hour))
	mustTick(t, two, now.Add(3*time.Hour))
	if diff := cmp.Diff(string(one.JWKS()), string(two.JWKS())); diff != "" {
		t.Errorf("two instances publish different keys:\n%s", diff)
	}
	if ids := publishedIDs(t, one.JWKS()); len(ids) != 2 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 2 {
		t.Errorf("published keys: %v, want the current and one next", ids)
	}
}

func TestKeyThatOnlyServesUntilItsLastTokenIsDeadIsCalledPrevious(t *testing.T) {
	keyring, now := newKeyring(t, &memoryStore{}, ES256), gridStart().Add(1000*time.Hour)
	mustTick(t, keyring, now)
	mustRotate(t, keyring, now)
	now = now.Add(27 * time.Hour)
	mustTick(t, keyring, now)
	var got []string
	for _, k := range keyring.Keys(now) {
		got = append(got, k.State)
	}
	if diff := cmp.Diff([]string{StatePrevious, StateSigns, StateNext}, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}
