package account

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// profile is what is stored of an openid, in short.
func (w *world) profile(appID, openID string) string {
	w.t.Helper()
	p, err := w.db.Profile(w.t.Context(), appID, openID)
	must(w.t, err)
	if p.Changed.IsZero() != (p.Nickname == "" && p.Avatar == "") {
		w.t.Errorf("changed at %v: %q %q", p.Changed, p.Nickname, p.Avatar)
	}
	return p.Nickname + " " + p.Avatar
}

func (w *world) give(appID, openID, nickname, avatar string) {
	w.t.Helper()
	_, err := w.db.KeepProfile(w.t.Context(), Profile{AppID: appID, OpenID: openID, Nickname: nickname, Avatar: avatar})
	must(w.t, err)
}

func TestProfileKeepsWhatIsNotGivenAnew(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		diff(t, "nothing was given", " ", w.profile("mp", "x"))
		w.give("mp", "x", "李雷 🍵", "")
		diff(t, "a name", "李雷 🍵 ", w.profile("mp", "x"))
		w.give("mp", "x", "", "https://a.example/1")
		diff(t, "and a picture", "李雷 🍵 https://a.example/1", w.profile("mp", "x"))
		w.give("mp", "x", "Li", "")
		diff(t, "another name", "Li https://a.example/1", w.profile("mp", "x"))
		diff(t, "in another app", " ", w.profile("oa", "x"))
		diff(t, "of another openid, in another case", " ", w.profile("mp", "X"))
		_, err := w.db.KeepProfile(t.Context(), Profile{AppID: "mp", OpenID: "x", Nickname: strings.Repeat("x", MaxNickname+1)})
		if err == nil {
			t.Error("a name that no database holds was kept")
		}
	})
}

func TestProfileThatIsGivenTwiceAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		errs := make([]error, 4)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				_, errs[i] = w.db.KeepProfile(t.Context(), Profile{AppID: "mp", OpenID: "x", Nickname: fmt.Sprint(i)})
			})
		}
		all.Wait()
		for _, err := range errs {
			must(t, err)
		}
		if w.profile("mp", "x") == " " {
			t.Error("none of them is kept")
		}
	})
}

func TestProfileGoesWithWhoGaveIt(t *testing.T) {
	given := []string{
		"member U1", "phone U1 p1", "identity mp x X U1", "identity oa x X U1", "identity mp y Y U1",
		"member U2", "identity mp z Z U2", "guest V7 7", "visitor mp v V7",
	}
	for name, c := range map[string]struct {
		do   func(*world) error
		left string // whose profile is left
	}{
		"unbound": {func(w *world) error {
			_, err := w.db.Unbind(w.t.Context(), Unbinding{UserID: "U1", UnionID: "X", By: byOperator()})
			return err
		}, "v y z"},
		"unbound, as a try": {func(w *world) error {
			_, err := w.db.Unbind(w.t.Context(), Unbinding{UserID: "U1", UnionID: "X", DryRun: true, By: byOperator()})
			return err
		}, "v x y z"},
		"cancelled": {func(w *world) error {
			_, err := w.db.Cancel(w.t.Context(), Cancelling{UserID: "U1", By: byOperator()})
			return err
		}, "v z"},
		"a guest cancelled": {func(w *world) error {
			_, err := w.db.Cancel(w.t.Context(), Cancelling{UserID: "V7", By: byOperator()})
			return err
		}, "x y z"},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, open opener) {
				w := newWorldOn(t, open, Rules{Linking: ManyUnionIDs}, given...)
				all := []string{"v", "x", "y", "z"}
				for _, openID := range all {
					w.give("mp", openID, "name of "+openID, "")
				}
				must(t, c.do(w))
				left := []string{}
				for _, openID := range all {
					if w.profile("mp", openID) != " " {
						left = append(left, openID)
					}
				}
				diff(t, "left", c.left, strings.Join(left, " "))
			})
		})
	}
}

func TestProfilesAreInTheExportOfAPerson(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "identity mp x X U1", "identity oa x X U1", "imported old i U1", "guest V7 7", "visitor mp v V7",
			"member U2", "identity mp z Z U2")
		for _, id := range []string{"mp x", "old i", "mp v", "mp z"} {
			appID, openID, _ := strings.Cut(id, " ")
			w.give(appID, openID, "name of "+openID, "")
		}
		for id, want := range map[string]string{"U1": "mp/x old/i", "V7": "mp/v", "U2": "mp/z"} {
			p, err := w.db.Person(t.Context(), id)
			must(t, err)
			var got []string
			for _, one := range p.Profiles {
				got = append(got, one.AppID+"/"+one.OpenID)
				diff(t, "name", "name of "+one.OpenID, one.Nickname)
			}
			diff(t, id, want, strings.Join(got, " "))
		}
	})
}
