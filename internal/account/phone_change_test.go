package account

import (
	"slices"
	"testing"
)

func TestChangePhone(t *testing.T) {
	given := []string{"member U1", "phone U1 p1", "identity oa x X U1", "identity mp s s U1", "imported old i U1",
		"member U2", "phone U2 p2", "identity oa y Y U2", "guest V1 1", "identity oa v V V1", "guest V9 2", "merged V9 U1"}
	const changed = "U1, ok, phone.bound U1, phone.unbound U1"
	for _, c := range []struct {
		name   string
		change PhoneChange
		want   string
	}{
		{"the old phone is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{Phone: phoneNumber("p1")}}, changed},
		{"a WeChat is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "oa", OpenID: "x", UnionID: "X"}}, changed},
		{"a WeChat is proved without its unionid", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "oa", OpenID: "x"}}, changed},
		{"a WeChat is proved in an app where it is new", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "web", OpenID: "w", UnionID: "X"}}, changed},
		{"a stand-in is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "mp", OpenID: "s"}}, changed},
		{"an imported openid is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "old", OpenID: "i"}}, changed},
		{"by a replaced id", PhoneChange{"V9", phoneNumber("p3"), PhoneProof{Phone: phoneNumber("p1")}}, changed},
		{"to the phone he has", PhoneChange{"U1", phoneNumber("p1"), PhoneProof{}}, "U1, ok"},

		{"nothing is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{}}, "U1, phone_change_needs_flow"},
		{"another's phone is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{Phone: phoneNumber("p2")}}, "U1, phone_change_needs_flow"},
		{"the new phone proves nothing", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{Phone: phoneNumber("p3")}}, "U1, phone_change_needs_flow"},
		{"another's WeChat is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "oa", OpenID: "y", UnionID: "Y"}}, "U1, phone_change_needs_flow"},
		{"an unknown WeChat is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "oa", OpenID: "z", UnionID: "Z"}}, "U1, phone_change_needs_flow"},
		{"an unknown openid is proved", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "oa", OpenID: "z"}}, "U1, phone_change_needs_flow"},
		{"his openid with another unionid", PhoneChange{"U1", phoneNumber("p3"), PhoneProof{AppID: "oa", OpenID: "x", UnionID: "Y"}}, "U1, phone_change_needs_flow"},
		{"the new phone is another's", PhoneChange{"U1", phoneNumber("p2"), PhoneProof{Phone: phoneNumber("p1")}}, "U1, phone_owned_by_other_user"},
		{"of a guest", PhoneChange{"V1", phoneNumber("p3"), PhoneProof{AppID: "oa", OpenID: "v", UnionID: "V"}}, ErrNotMember.Error()},
		{"of nobody", PhoneChange{"U9", phoneNumber("p3"), PhoneProof{Phone: phoneNumber("p1")}}, ErrUnknownUser.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Rules{}, given...)
			diff(t, "outcome", c.want, w.did(w.db.ChangePhone(t.Context(), c.change)))
			now, err := w.db.PhoneOf(t.Context(), "U1")
			must(t, err)
			if want := phoneNumber("p1"); c.want != changed && now != want {
				t.Errorf("refused, and his phone is %s", string(now))
			}
			if c.want == changed && now != c.change.To {
				t.Errorf("his phone is %s", string(now))
			}
		})
	}
}

// TestChangePhoneOnEach shows on each database that the old number is free at
// once, and that a conflict about the new one closes.
func TestChangePhoneOnEach(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "phone U1 p1", "member U2", "phone U2 p2")
		outside := Input{UserID: "U1", UserKind: Member, Phone: phoneNumber("p2"), Want: WantLogin, Outside: true}
		diff(t, "refused", "U1, phone_owned_by_other_user, opened", w.said(w.link(outside)))
		_, err := w.db.ChangePhone(t.Context(), PhoneChange{"U2", phoneNumber("p3"), PhoneProof{Phone: phoneNumber("p2")}})
		must(t, err)
		diff(t, "now that it is free", "U1, ok, closed, phone.bound U1, phone.unbound U1",
			w.did(w.db.ChangePhone(t.Context(), PhoneChange{"U1", phoneNumber("p2"), PhoneProof{Phone: phoneNumber("p1")}})))
		diff(t, "the old number logs a new member in", "U+1, ok, created U+1, phone.bound U+1",
			w.said(w.link(Input{Phone: phoneNumber("p1"), Want: WantLogin, Outside: true})))
		if told := w.logged(); !slices.Contains(told, "U1") || !slices.Contains(told, "U2") {
			t.Errorf("caches are told to forget %v", told)
		}
	})
}
