package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// TestGatewaysWithDifferentClocksAgree: one is 5 s ahead of the other.
func TestGatewaysWithDifferentClocksAgree(t *testing.T) {
	t.Parallel()
	hooks := newReceiver(t, func(int) {})
	f := newFleet(t, 2, hooks.lines())
	slow, fast := f.all[0], f.all[1]
	fast.start = inAnotherTime(5 * time.Second)
	f.run()
	f.listening()
	var members []string
	for n := range 4 {
		member, err := f.journey(n)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, member)
	}
	other, err := f.journey(9)
	if err == nil {
		err = f.byPhone(9, other)
	}
	if err != nil {
		t.Error(err)
	}
	f.revokes(slow, 0, members[0])
	f.revokes(fast, 1, members[1])
	for n := range f.all {
		f.logsOut(n, 3, members[3])
	}
	f.agreesOnKeys()
	// One, if none of WeChat's answers takes so long that it is asked again.
	if n := slow.wechat.Count(wechattest.StableToken); n < 1 || n > 3 {
		t.Errorf("%d access tokens were fetched for one app", n)
	}
	for _, member := range members {
		f.until("the shop has heard that the merge is settled", func() bool {
			return slices.Contains(typesOf(hooks.about(member)), settled)
		})
		want := []string{"wxgate.identity.linked", "wxgate.identity.linked", "wxgate.phone.bound", "wxgate.user.created", settled, "wxgate.user.merged"}
		if diff := cmp.Diff(want, typesOf(hooks.about(member))); diff != "" {
			t.Errorf("events of %s (-want +got)\n%s", member, diff)
		}
	}
	f.wantsNothingRefused()
}

// typesOf are the types of events, sorted. One that was sent twice is one.
func typesOf(all []heard) (types []string) {
	seen := map[string]bool{}
	for _, h := range all {
		if what, _, _ := strings.Cut(h.what, " "); !seen[h.id] {
			seen[h.id] = true
			types = append(types, what)
		}
	}
	slices.Sort(types)
	return types
}

// TestAssertionKeysRotateUnderLoad, while one gateway is 5 s ahead of the other.
func TestAssertionKeysRotateUnderLoad(t *testing.T) {
	for name, begin := range map[string]func(g *gateway){
		"on schedule": func(*gateway) {},
		"by command": func(g *gateway) {
			g.must("key", "rotate", "--reason", "yearly audit", "--yes")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 2, "")
			f.run()
			load := f.load(0, f.visit)
			begin(f.all[0])
			load.goesOn(100)
			next := f.nextKey()
			load.ends()
			f.startBefore(next)
			load = f.load(1000, f.visit)
			f.until("the next key has signed for a while", func() bool { return f.shop.signed(next.ID) >= 50 })
			load.ends()
			f.agreesOnKeys()
			f.wantsNothingRefused()
		})
	}
}

// startBefore lets all gateways, and the shop, begin anew shortly before a key is
// to sign, so early that the one before still does.
func (f *fleet) startBefore(next keyState) {
	f.t.Helper()
	for lead := 20 * time.Second; ; lead *= 2 {
		ahead, before := time.Until(next.ActiveFrom)-lead, f.shop.signed(next.ID)
		for i, g := range f.all {
			g.kill()
			g.start = inAnotherTime(ahead + 5*time.Second*time.Duration(i))
		}
		f.shop.verifier.start(inAnotherTime(ahead))
		f.run()
		if _, err := f.visit(int(500 + lead/time.Second)); err != nil {
			f.t.Fatal(err)
		}
		if f.shop.signed(next.ID) == before {
			return
		}
		if lead > time.Hour {
			f.t.Fatal("the next key signs before its time")
		}
	}
}
