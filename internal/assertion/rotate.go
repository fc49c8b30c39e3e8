package assertion

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// The states of a key.
const (
	StateSigns    = "signs"
	StateNext     = "next"     // published so that every shop knows it before it signs
	StatePrevious = "previous" // published until its last token has died
)

// KeyState is what may be told of a published key.
type KeyState struct {
	ID         string    `json:"kid"`
	Algorithm  string    `json:"alg"`
	State      string    `json:"state"`
	ActiveFrom time.Time `json:"active_from"` // from then on it signs, until the next one does
}

// Keys returns the published keys of the keyring's algorithms, in the order of
// the JWKS.
func (k *Keyring) Keys(now time.Time) []KeyState {
	var states []KeyState
	published := k.view.Load().keys
	for _, algorithm := range KeyAlgorithms() {
		if !slices.Contains(k.algorithms, algorithm) {
			continue
		}
		signing := k.current(algorithm, now)
		state := StatePrevious
		for _, e := range published[algorithm] {
			if e.key == signing {
				state = StateSigns
			}
			states = append(states, KeyState{e.ID, algorithm, state, e.ActiveFrom})
			if e.key == signing {
				state = StateNext
			}
		}
	}
	return states
}

// Rotate makes a key of each algorithm that takes over as soon as every shop
// and every instance can know it, 25 to 26 hours from now, and counts the
// rotation from then on. Keys that are to sign within that time stay, so that
// two calls, or two instances, do it once.
func (k *Keyring) Rotate(ctx context.Context, now time.Time) error {
	for _, algorithm := range k.algorithms {
		if err := k.rotate(ctx, algorithm, now); err != nil {
			return fmt.Errorf("rotating assertion keys: %w", err)
		}
	}
	return k.Tick(ctx, now)
}

func (k *Keyring) rotate(ctx context.Context, algorithm string, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	rows, err := k.store.Keys(ctx)
	if err != nil {
		return err
	}
	start := earliest(now)
	var later []entry
	for _, e := range k.live(rows, now)[algorithm] {
		switch {
		case e.ActiveFrom.After(start):
			later = append(later, e)
		case e.ActiveFrom.After(now):
			return nil // one takes over by then anyway
		}
	}
	if err := k.add(ctx, k.wanted(algorithm, rows, span{now, start, start.Add(k.rotation)})); err != nil {
		return err
	}
	// Those that were to sign later never do: the new one has a rotation of its
	// own. They go after it has come, or other instances would make them anew.
	for _, e := range later {
		if err := k.store.DeleteKey(ctx, e.ID); err != nil {
			return err
		}
	}
	return nil
}

// earliest is when a key that is made now may sign. Whole hours let instances
// that make one at once make the same.
func earliest(now time.Time) time.Time {
	return now.Add(lead).UTC().Truncate(time.Hour).Add(time.Hour)
}

// KeyAlgorithms are those that keys are made for, in the order of the JWKS.
func KeyAlgorithms() []string { return []string{ES256, EdDSA, RS256} }
