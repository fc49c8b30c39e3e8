package account

import (
	"fmt"
	"testing"
)

func TestProgramsLearnWhoAUserIs(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldIn(t, open(t), phoneMode(), "member U1", "phone U1 p1", "identity oa x X U1", "imported mp y U1",
			"guest V1 1", "merged V1 U1", "guest V2 2", "visitor oa z V2", "member U2", "cancelled U2")
		for id, want := range map[string]string{
			"U1": "U1 member true, previous V1, mp y, oa x", "V1": "U1 member true, previous V1, mp y, oa x",
			"V2": "V2 guest false, oa z", "U2": ErrUserCancelled.Error(), "U3": ErrUnknownUser.Error(),
		} {
			c, err := w.db.Contact(t.Context(), id)
			said := fmt.Sprint(c.ID, " ", c.Kind, " ", c.PhoneVerified)
			for _, p := range c.Previous {
				said += ", previous " + p.ID
			}
			for _, i := range c.Identities {
				said += ", " + i.AppID + " " + i.OpenID
			}
			if err != nil {
				said = rootOf(err).Error()
			}
			diff(t, id, want, said)
		}
	})
}
