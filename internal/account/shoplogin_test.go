package account

import (
	"errors"
	"sync"
	"testing"
)

func (in Input) shop(id string) Input { in.ShopUserID = id; return in }

// The shop's own login is a member's session to the tables, and inside WeChat
// he is who the shop says even where his WeChat cannot be linked.
func TestLoginOfTheShopIsASession(t *testing.T) {
	runRows(t, []tableRow{
		{"an unknown id becomes a member", phoneMode(),
			nil, Input{}.shop("U1").outside(),
			"U1, ok, created U1", nil},
		{"a known one is he", phoneMode(),
			[]string{"member U1"}, Input{}.shop("U1").outside(),
			"U1, ok", nil},
		{"N4: the browser's guest merges into him", phoneMode(),
			nil, Input{}.as("V1").shop("U1").outside(),
			"U1, ok, created U1, merged V1>U1", nil},
		{"N4: the guest of a visitor row too, and the row goes", phoneMode(),
			[]string{"member U1", "guest V1 1", "visitor oa x V1"}, at("oa", "x").as("V1").shop("U1").outside(),
			"U1, unionid_missing, merged V1>U1", []string{}},
		{"N4: a guest of somebody's WeChat does not", phoneMode(),
			[]string{"member U1", "guest V1 1", "identity mp x X V1"}, Input{}.as("V1").shop("U1").outside(),
			"U1, guest_owned_by_other", nil},
		{"N4: nor one of another openid", phoneMode(),
			[]string{"member U1", "guest V1 1", "visitor mp y V1"}, at("oa", "x").as("V1").shop("U1").outside(),
			"U1, unionid_missing", nil},
		{"W12: his WeChat becomes his", phoneMode(),
			nil, proved("oa", "x", "X").as("V1").shop("U1").outside(),
			"U1, ok, created U1, linked oa/x, merged V1>U1", []string{"oa x X U1"}},
		{"W14: with the guest it had", phoneMode(),
			[]string{"member U1", "guest V1 1", "identity oa x X V1", "identity mp y X V1"},
			proved("oa", "x", "X").as("V1").from("oa", "x").sealed("X").shop("U1").outside(),
			"U1, ok, merged V1>U1", []string{"oa x X U1", "mp y X U1"}},
		{"W15: once more changes nothing", phoneMode(),
			[]string{"member U1", "identity oa x X U1"}, proved("oa", "x", "X").as("U1").from("oa", "x").sealed("X").shop("U1").outside(),
			"U1, ok", nil},
		{"W16: another member's WeChat stays his", phoneMode(),
			[]string{"member U1", "member U2", "identity oa x X U2"},
			proved("oa", "x", "X").as("U2").from("oa", "x").sealed("X").shop("U1").outside(),
			"U1, wechat_bound_to_other_user, opened", nil},
		{"W18: he has another WeChat", phoneMode(),
			[]string{"member U1", "identity oa y Y U1", "guest V1 1", "identity oa x X V1"},
			proved("oa", "x", "X").as("V1").from("oa", "x").sealed("X").shop("U1").outside(),
			"U1, userid_bound_to_other_wechat, opened", nil},
		{"W18: and may have two", many(),
			[]string{"member U1", "identity oa y Y U1", "guest V1 1", "identity oa x X V1"},
			proved("oa", "x", "X").as("V1").from("oa", "x").sealed("X").shop("U1").outside(),
			"U1, ok, merged V1>U1", []string{"oa x X U1", "oa y Y U1"}},
		{"in place of another member's session, who is not merged", phoneMode(),
			[]string{"member U1", "member U2"}, Input{}.as("U2").shop("U1").outside(),
			"U1, ok", nil},
		{"a merged id is its survivor", phoneMode(),
			[]string{"member U1", "member U2", "merged U2 U1"}, Input{}.shop("U2").outside(),
			"U1, ok", nil},
		{"G0: a cancelled one is nobody", phoneMode(),
			[]string{"member U1", "cancelled U1"}, Input{}.as("V1").shop("U1").outside(),
			"V1, guest", nil},
		{"G0: and so is one whose survivor is cancelled", phoneMode(),
			[]string{"member U1", "member U2", "merged U2 U1", "cancelled U1"}, Input{}.as("V1").shop("U2").outside(),
			"V1, guest", nil},
		{"guests off, and the WeChat without a user becomes his", off(),
			[]string{"member U1", "identity oa x X -"}, proved("oa", "x", "X").from("oa", "x").sealed("X").shop("U1").outside(),
			"U1, ok", []string{"oa x X U1"}},
	})
}

func TestShopCannotLogInAGuest(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		w := newWorldIn(t, db, phoneMode(), "guest V1 1", "guest V2 2", "member U1", "merged V2 U1")
		taken, err := db.NewGuestID(t.Context())
		must(t, err)
		before := w.everything()
		for name, in := range map[string]Input{
			"a guest with a row":                  Input{}.shop("V1"),
			"a guest who was merged":              Input{}.shop("V2"),
			"the session's guest, who has no row": Input{}.as("V3").shop("V3"),
			"a number of the gateway's own":       Input{}.shop(taken),
			"a text with a comma":                 Input{}.shop("U1,U2"),
			"a text that is too long":             Input{}.shop(string(make([]byte, 65))),
		} {
			if out, err := db.Link(t.Context(), w.rules, in.outside()); !errors.Is(err, ErrShopUserID) {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
		}
		diff(t, "stored", before, w.everything())
	})
}

// A double tap on the shop's own login button, for somebody who is new.
func TestManyLoginsOfTheShopAtOnceMakeOneMember(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		w := newWorldIn(t, db, phoneMode())
		var wg sync.WaitGroup
		said := make([]string, 8)
		for i := range said {
			wg.Go(func() {
				out, err := db.Link(t.Context(), w.rules, proved("oa", "x", "X").as("V1").shop("U1").outside())
				if err != nil {
					t.Error(err)
				}
				said[i] = out.UserID
			})
		}
		wg.Wait()
		for _, id := range said {
			if id != "U1" {
				t.Errorf("logged in as %v", said)
			}
		}
		diff(t, "stored", []string{"oa x X U1"}, w.stored())
		if n := len(w.lines(`SELECT id FROM wxgate_event WHERE type = 'user.created'`)); n != 1 {
			t.Errorf("%d members were created", n)
		}
		checkInvariants(t, db)
	})
}
