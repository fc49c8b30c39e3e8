package account

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is foreseen is what comes, and foreseeing it changes nothing.
func TestForesightIsWhatLinkDoes(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		for name, tt := range map[string]struct {
			given []string
			in    Input
		}{
			"W1: a new guest":                {nil, proved("oa", "x", "X")},
			"W19: a new member":              {nil, proved("oa", "x", "X").login()},
			"W19: a guest becomes a member":  {[]string{"guest V1 1", "identity oa x X V1"}, proved("oa", "x", "X").as("V1").from("oa", "x").sealed("X").login()},
			"W4: a member":                   {[]string{"member U1", "identity oa x X U1"}, proved("oa", "x", "X").login()},
			"W16: somebody else's WeChat":    {[]string{"member U1", "member U2", "identity oa x X U2"}, proved("oa", "x", "X").as("U1")},
			"N6: no unionid":                 {[]string{"guest V1 1", "visitor oa x V1"}, at("oa", "x").as("V1").login()},
			"a session of a stand-in openid": {nil, proved("oa", "x", "x").login()},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorldOn(t, open, Rules{FirstLogin: FirstLoginWeChat, Linking: OneToOne}, tt.given...)
				before := w.everything()
				foreseen, err := w.db.Foresee(context.Background(), w.rules, tt.in)
				must(t, err)
				if diff := cmp.Diff(before, w.everything()); diff != "" {
					t.Errorf("it has changed (-before +after)\n%s", diff)
				}
				came, err := w.db.Link(context.Background(), w.rules, tt.in)
				must(t, err)
				id := came.UserID
				if !slices.Contains([]string{"V1", "U1", "U2"}, id) {
					id = UnmadeID // made by this call
				}
				if foreseen.UserID != id || foreseen.Kind != came.Kind || foreseen.Code != came.Code {
					t.Errorf("foreseen %s %s %s, came %s %s %s", foreseen.UserID, foreseen.Kind, foreseen.Code, came.UserID, came.Kind, came.Code)
				}
			})
		}
	})
}
