package account

import "testing"

func TestWhoComesBackIsReadInOneStatement(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		given := []string{"member U1", "identity oa x X U1", "guest V1 1", "identity oa y Y V1", "identity mp s s U1", "member U2",
			"imported oa i U2", "identity oa e E -", "guest V2 2", "visitor oa v V2"}
		for _, c := range []struct {
			name  string
			in    Input
			known bool
		}{
			{"by his openid", at("oa", "x"), true},
			{"by his unionid", proved("oa", "x", "X"), true},
			{"with his session", proved("oa", "x", "X").as("U1"), true},
			{"with a guest's token of his id", at("oa", "x").as("U1").asGuest(), true},
			{"a guest", at("oa", "y").as("V1"), true},
			{"a guest who logs in", proved("oa", "y", "Y").login(), true},
			{"by a stand-in", at("mp", "s").as("U1"), true},
			{"with a phone", proved("oa", "x", "X").with("p1"), false},
			{"with another unionid", proved("oa", "x", "Z"), false},
			{"with a unionid in place of the stand-in", proved("mp", "s", "X"), false},
			{"with another's session", at("oa", "x").as("U2"), false},
			{"an imported row", at("oa", "i"), false},
			{"an empty user id", at("oa", "e"), false},
			{"a visitor row", at("oa", "v"), false},
			{"nobody yet", at("oa", "z"), false},
			{"outside WeChat", Input{}.as("U1"), false},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, phoneMode(), given...)
				number, err := db.phone(c.in.Phone)
				must(t, err)
				f, err := readKnown(t.Context(), db.read, call{rules: w.rules, in: c.in, phone: number})
				must(t, err)
				if (f != nil) != c.known {
					t.Errorf("known is %t", f != nil)
				}
				w.checkKnown(c.in)
			})
		}
	})
}
