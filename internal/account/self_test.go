package account

import (
	"fmt"
	"testing"
)

func TestPersonSeesHimself(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldIn(t, open(t), phoneMode(), "member U1", "phone U1 p1", "identity oa x X U1", "imported mp y U1",
			"guest V1 1", "merged V1 U1", "member U2", "cancelled U2")
		for _, id := range []string{"U1", "V1"} {
			self, err := w.db.Self(t.Context(), id)
			must(t, err)
			said := fmt.Sprint(self.ID, " ", self.Kind, " ", self.Phone)
			for _, i := range self.Identities {
				said += fmt.Sprint(", ", i.AppID, " ", i.OpenID, " ", i.UnionID)
			}
			diff(t, "what "+id+" sees", "U1 member "+phoneNumber("p1").String()+", mp y , oa x X", said)
		}
		for _, id := range []string{"U2", "U3"} {
			if self, err := w.db.Self(t.Context(), id); err == nil {
				t.Errorf("%s sees %+v", id, self)
			}
		}
	})
}

func TestTwoAccountsMergeByWhatProvesBoth(t *testing.T) {
	both := Proofs{Phone: phoneNumber("p1"), AppID: "oa", OpenID: "x", UnionID: "X"}
	early := Proofs{Phone: phoneNumber("p1"), AppID: "oa", OpenID: "x"}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, tt := range []struct {
			name   string
			rules  Rules
			given  []string
			proofs Proofs
			said   string
			ends   []string
		}{
			{"who has the phone stays", Rules{}, []string{"member U1", "phone U1 p1", "member U2", "identity oa x X U2"}, both,
				"U1, ok, merged U2>U1", []string{"oa x X U1"}},
			{"by the openid alone", Rules{}, []string{"member U1", "phone U1 p1", "member U2", "identity oa x X U2"}, early,
				"U1, ok, merged U2>U1", []string{"oa x X U1"}},
			{"by an imported row", Rules{}, []string{"member U1", "phone U1 p1", "member U2", "imported oa x U2"}, early,
				"U1, ok, merged U2>U1", []string{"oa x - U1"}},
			{"of two phones that of the older", Rules{},
				[]string{"member U2", "phone U2 p1", "member U1", "phone U1 p2", "identity oa x X U1"}, both,
				"U1, ok, merged U2>U1, phone.unbound U2", []string{"oa x X U1"}},
			{"two WeChat accounts: one has to be unbound first", Rules{},
				[]string{"member U1", "phone U1 p1", "identity mp y Y U1", "member U2", "identity oa x X U2"}, both,
				"U2, userid_bound_to_other_wechat", nil},
			{"unless he may have both", many(),
				[]string{"member U1", "phone U1 p1", "identity mp y Y U1", "member U2", "identity oa x X U2"}, both,
				"U1, ok, merged U2>U1", []string{"mp y Y U1", "oa x X U1"}},
			{"the number of somebody long gone, who may have lost it", many(),
				[]string{"member U1", "phone U1 p1", "identity mp y Y U1", "idle U1", "member U2", "identity oa x X U2"}, both,
				"U2, second_proof_required", nil},
			{"the same, with an imported row", Rules{},
				[]string{"member U1", "phone U1 p1", "imported mp y U1", "idle U1", "member U2", "identity oa x X U2"}, both,
				"U2, second_proof_required", nil},
			{"the same, in his own session", many(),
				[]string{"member U1", "phone U1 p1", "identity mp y Y U1", "idle U1", "member U2", "identity oa x X U2"},
				Proofs{Phone: phoneNumber("p1"), AppID: "oa", OpenID: "x", UnionID: "X", UserID: "U1"},
				"U1, ok, merged U2>U1", []string{"mp y Y U1", "oa x X U1"}},
			{"long gone, without a WeChat", Rules{}, []string{"member U1", "phone U1 p1", "idle U1", "member U2", "identity oa x X U2"}, both,
				"U1, ok, merged U2>U1", []string{"oa x X U1"}},
			{"one account", Rules{}, []string{"member U1", "phone U1 p1", "identity oa x X U1"}, both, "U1, ok", nil},
			{"a phone that nobody has", Rules{}, []string{"member U2", "identity oa x X U2"}, both, ErrUnknownUser.Error(), nil},
			{"a WeChat account that nobody has", Rules{}, []string{"member U1", "phone U1 p1"}, both, ErrUnknownUser.Error(), nil},
			{"a WeChat account without a phone proved", Rules{}, []string{"member U1", "phone U1 p1", "member U2", "identity oa x X U2"},
				Proofs{AppID: "oa", OpenID: "x", UnionID: "X"}, ErrUnknownUser.Error(), nil},
			{"a guest's WeChat account", Rules{}, []string{"member U1", "phone U1 p1", "guest V1 1", "identity oa x X V1"}, both, ErrNotMember.Error(), nil},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w := newWorldIn(t, db, tt.rules, tt.given...)
				if tt.ends == nil {
					tt.ends = w.stored()
				}
				m := Merging{Proofs: tt.proofs}
				preview, previewErr := db.PreviewMerge(t.Context(), tt.rules, m)
				out, err := db.Merge(t.Context(), tt.rules, m)
				said := ""
				switch {
				case err != nil:
					said = rootOf(err).Error()
				default:
					said = w.said(out)
				}
				diff(t, "outcome", tt.said, said)
				diff(t, "stored", sorted(tt.ends), w.stored())
				if (previewErr == nil) != (err == nil) || err == nil && preview.Code != out.Code {
					t.Errorf("previewed: %+v, %v", preview, previewErr)
				}
				checkInvariants(t, db)
			})
		}
	})
}

func rootOf(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err
		}
		err = inner.Unwrap()
	}
}
