package main

import (
	"strings"
	"testing"
)

// TestSecretsAreReplacedUnderLoad, on two gateways one after the other, as
// docs/operations.md says.
func TestSecretsAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	other := strings.Repeat("another secret ", 3)
	f := newFleet(t, 2, "")
	f.run()
	stages := [][]string{{secret, other}, {other, secret}, {other}}
	n, load := 0, f.load(0, f.journey)
	for _, secrets := range stages {
		if len(secrets) == 1 { // after 30 days no session is left that the old one has sealed
			load.ends()
			load = f.load(10_000, f.journey)
		}
		for _, g := range f.all {
			f.configure(g, secrets...)
			g.reload()
			load.goesOn(100)
			n++
			member, err := f.journey(20_000 + n)
			if err == nil {
				err = f.byPhone(20_000+n, member)
			}
			if err != nil {
				t.Errorf("with %q at one of two: %v", secrets, err)
			}
		}
		f.agreesOnKeys()
	}
	load.ends()
	f.wantsNothingRefused()
	if n := f.shop.signedBy(); n != 1 {
		t.Errorf("%d keys have signed: one did not outlive its secret", n)
	}
}
