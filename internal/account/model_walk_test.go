package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// walker is a browser or a mini program that passes from hand to hand: it
// carries the session that the last answer gave it.
type walker struct {
	in Input // what the session says of itself
}

// carry keeps what an answer says. A session that goes on, with the user who
// stands for its own now, was created where it was created before.
func (b *walker) carry(w *world, out Outcome, in Input) {
	b.in = Input{UserID: out.UserID, UserKind: out.Kind, UserBorn: out.Born}
	b.in.SessionAppID, b.in.SessionOpenID, b.in.SessionUnionID = in.AppID, in.OpenID, out.UnionID
	survivor := in.UserID
	if into := w.lines(`SELECT merged_into FROM wxgate_user WHERE id = ? AND merged_into IS NOT NULL`, in.UserID); len(into) == 1 {
		survivor = into[0]
	}
	if out.UserID == survivor && (in.SessionOpenID != "" || in.OpenID == "") {
		b.in.SessionAppID, b.in.SessionOpenID = in.SessionAppID, in.SessionOpenID
		b.in.SessionUnionID = cmp.Or(out.UnionID, in.SessionUnionID)
	}
}

// draws is what random inputs are made of: rapid's or a plain generator.
type draws func(what string, n int) int

func (d draws) one(what string, of ...string) string { return of[d(what, len(of))] }

// visit draws what is proved to the gate when a person comes with a walker.
// Openids and unionids belong to the person, and WeChat seldom contradicts
// itself.
func visit(d draws, b *walker) Input {
	in := b.in
	person := d.one("person", "ann", "bob", "cem")
	app := d.one("app", "oa", "mp", "pc", "")
	if app != "" {
		in.AppID, in.OpenID = app, person+"-"+app
		if d("unionid", 2) == 1 {
			in.UnionID = person
			if d("contradiction", 20) == 0 {
				in.UnionID = d.one("other", "ann", "bob", "cem", "dan")
			}
		}
	}
	in.Outside = app == "" || app == "pc"
	in.InBrowser = app == "oa"
	in.Consented = d("consented", 3) == 0
	in.Snapshot = d("snapshot", 30) == 0
	if d("want", 3) == 0 {
		in.Want = WantLogin
	}
	return in
}

func rulesOf(d draws) Rules {
	return Rules{
		FirstLogin: FirstLogin(d.one("mode", string(FirstLoginWeChat), string(FirstLoginWeChatPhone))),
		GuestsOff:  d("guests", 4) == 0,
	}
}

// glimpse is what the walk has seen, to compare later states with.
type glimpse struct {
	owners map[string]string // unionid -> user id
	member map[string]bool   // of those owners
}

func look(t testing.TB, db *DB) glimpse {
	m := glimpse{map[string]string{}, map[string]bool{}}
	for _, l := range linesOf(t, db, `SELECT n.unionid || ' ' || u.id || ' ' || u.kind FROM wxgate_unionid n JOIN wxgate_user u ON u.id = n.user_id`) {
		f := strings.Fields(l)
		m.owners[f[0]] = f[1]
		m.member[f[0]] = f[2] == "member"
	}
	return m
}

// follows says what may become of the owners of unionids in one Link.
func (m glimpse) follows(before glimpse, out Outcome) error {
	for unionID, was := range before.owners {
		is := m.owners[unionID]
		merged := slices.ContainsFunc(out.Events, func(e Event) bool {
			d, ok := e.Data.(Merged)
			return ok && d.From == was && d.To == is
		})
		switch {
		case is == was:
		case before.member[unionID]:
			return fmt.Errorf("%s went from member %s to %s", unionID, was, is)
		case !merged:
			return fmt.Errorf("%s went from %s to %s without a merge", unionID, was, is)
		}
	}
	for _, e := range out.Events {
		d, ok := e.Data.(Merged)
		if !ok {
			continue
		}
		for unionID, was := range before.owners {
			if d.From == was && m.owners[unionID] != d.To {
				return fmt.Errorf("%s of %s was merged into %s, who is not %s's", was, unionID, d.To, unionID)
			}
		}
	}
	return nil
}

// TestRandomVisits walks through visits of three people whose devices change
// hands, whose old tokens come back, and whom WeChat contradicts at times.
func TestRandomVisits(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		db, err := Open(context.Background(), Config{Path: filepath.Join(dir, fmt.Sprintf("%d.db", n))})
		must(t, err)
		defer db.Close()
		w := &world{t: t, db: db, names: map[string]string{}, made: map[Kind]int{}}
		for _, l := range []string{"member U1", "member U2", "imported oa ann-oa U1", "imported mp bob-mp U1", "imported pc cem-pc U2"} {
			w.given(l)
		}
		d := draws(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) })
		rules := rulesOf(d)
		walkers := make([]walker, 3)
		var old []walker
		for range rapid.IntRange(1, 25).Draw(rt, "visits") {
			b := &walkers[d("walker", len(walkers))]
			switch {
			case d("cleared", 8) == 0:
				*b = walker{}
			case d("old", 8) == 0 && len(old) > 0:
				*b = old[d("which", len(old))]
			case d("planted", 10) == 0:
				*b = walkers[d("whose", len(walkers))]
			}
			step(rt, w, rules, b, visit(d, b))
			old = append(old, *b)
		}
		if t.Failed() {
			rt.Fatal("an invariant is broken")
		}
	})
}

func step(rt *rapid.T, w *world, rules Rules, b *walker, in Input) {
	before := look(w.t, w.db)
	out, err := w.db.Link(context.Background(), rules, in)
	if err != nil {
		rt.Fatal(err)
	}
	checkInvariants(w.t, w.db)
	if err := look(w.t, w.db).follows(before, out); err != nil {
		rt.Fatalf("%+v: %v", in, err)
	}
	if err := sound(w, rules, in, out); err != nil {
		rt.Fatalf("%+v gives %+v: %v", in, out, err)
	}
	b.carry(w, out, in)
	if in.Snapshot {
		return
	}
	// The same once more changes nothing.
	in.UserID, in.UserKind, in.UserBorn, in.Want = out.UserID, out.Kind, out.Born, WantIdentify
	in.SessionAppID, in.SessionOpenID, in.SessionUnionID = b.in.SessionAppID, b.in.SessionOpenID, b.in.SessionUnionID
	everything := w.everything()
	again, err := w.db.Link(context.Background(), rules, in)
	if err != nil {
		rt.Fatal(err)
	}
	if len(again.Events) > 0 || again.UserID != out.UserID || !slices.Equal(everything, w.everything()) {
		rt.Fatalf("%+v once more: first %+v, then %+v", in, out, again)
	}
}

// sound says what is wrong with an outcome in itself.
func sound(w *world, rules Rules, in Input, out Outcome) error {
	row := w.lines(`SELECT kind || ' ' || coalesce(merged_into, '-') FROM wxgate_user WHERE id = ?`, out.UserID)
	switch {
	case out.Kind == Member && !slices.Equal(row, []string{"member -"}):
		return errors.New("a member without a row")
	case out.Kind == Guest && len(row) > 0 && row[0] != "guest -":
		return errors.New("a guest who is " + row[0])
	case (out.Kind == Nobody) != (out.UserID == ""), out.Kind == Nobody && !rules.GuestsOff:
		return errors.New("nobody")
	case out.Kind == Guest && out.Born.IsZero(), out.Kind == Member && !out.Born.IsZero():
		return errors.New("a wrong birth")
	case out.Code == CodeOK && out.Kind != Member, out.Code == CodeGuest && out.Kind == Member:
		return errors.New("a code of the other kind")
	case (out.Code == CodeAuthRequired || out.Code == CodePhoneRequired) && (in.Want != WantLogin || out.Kind == Member):
		return errors.New("asked for a login that is not needed")
	case out.UnionID != "" && len(w.lines(`SELECT openid FROM wxgate_identity WHERE appid = ? AND openid = ? AND unionid = ?`, in.AppID, in.OpenID, out.UnionID)) != 1:
		return errors.New("a unionid that is not stored")
	}
	return nil
}

func TestManyWorkersOverFewPeople(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "member U2", "imported oa ann-oa U1", "imported mp bob-mp U2")
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			d := draws(func(_ string, n int) int { return r.IntN(n) })
			var b walker
			for range 60 {
				in := visit(d, &b)
				out, err := w.db.Link(context.Background(), Rules{FirstLogin: FirstLoginWeChat}, in)
				if err != nil {
					errs[i] = err
					return
				}
				if b.carry(w, out, in); d("cleared", 4) == 0 {
					b = walker{}
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	checkInvariants(t, w.db)
	if len(w.lines(`SELECT id FROM wxgate_event WHERE type = 'user.merged'`)) == 0 {
		t.Error("nobody was ever merged: this walk shows nothing")
	}
}

// Two people's first logins at the same moment, in many tabs each.
func TestConcurrentFirstLoginsMakeOneMemberEach(t *testing.T) {
	w := newWorld(t, Rules{})
	var wg sync.WaitGroup
	outs, errs := make([]Outcome, 40), make([]error, 40)
	for i := range outs {
		wg.Go(func() {
			n := fmt.Sprint(i % 2)
			in := proved(fmt.Sprint("app", i%4), "x"+n, "X"+n).login()
			in.UserID, in.UserKind, in.UserBorn = fmt.Sprint("V", i), Guest, time.Now()
			outs[i], errs[i] = w.db.Link(context.Background(), Rules{}, in)
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	for i, out := range outs {
		if out.Kind != Member || out.UserID != outs[i%2].UserID {
			t.Errorf("tab %d is %+v, the first one was %s", i, out, outs[i%2].UserID)
		}
	}
	diff(t, "members, merges, identities", []string{"2 40 4"}, w.lines(`SELECT
		(SELECT count(*) FROM wxgate_user WHERE kind = 'member') || ' ' ||
		(SELECT count(*) FROM wxgate_event WHERE type = 'user.merged') || ' ' || (SELECT count(*) FROM wxgate_identity)`))
	checkInvariants(t, w.db)
}
