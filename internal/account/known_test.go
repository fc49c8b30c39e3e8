package account

import (
	"context"
	"errors"
	"testing"
	"time"
)

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
				f, err := db.readKnown(t.Context(), call{rules: w.rules, in: c.in, phone: number})
				must(t, err)
				if (f != nil) != c.known {
					t.Errorf("known is %t", f != nil)
				}
				w.checkKnown(c.in)
			})
		}
	})
}

func TestAUnionIDWithALineBreakIsKnownAsItIs(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1")
		const unionID = "X\nY\n"
		w.exec(`INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES ('', ?, 'U1')`, unionID)
		w.exec(`INSERT INTO wxgate_identity (appid, openid, scope, unionid, owner_id, created) VALUES ('oa', 'x', '', ?, 'U1', 0)`, unionID)
		f, err := w.db.readKnown(t.Context(), call{in: at("oa", "x")})
		must(t, err)
		if f.unionIDKey != (unionIDKey{"", unionID}) || f.ownerOf.id != "U1" {
			t.Errorf("it is read as %+v, of %s", f.unionIDKey, f.ownerOf.id)
		}
	})
}

func TestALinkWaitsForAConnectionOnlyAsLongAsItMay(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "identity oa x X U1")
		limit := w.db.read.Stats().MaxOpenConnections
		for range limit {
			conn, err := w.db.read.Conn(t.Context())
			must(t, err)
			t.Cleanup(func() { must(t, conn.Close()) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := w.db.Link(ctx, w.rules, at("oa", "x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}
