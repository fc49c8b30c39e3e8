package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// twin does everything twice: in a database, through its public methods, and in
// the model.
type twin struct {
	testing.TB
	db *DB
	m  *model
}

func newTwin(t testing.TB, db *DB, m *model) *twin {
	storeModel(t, db, m)
	return &twin{t, db, m}
}

func knownPhones() []Phone {
	phones := []Phone{phoneOwner, phoneImported, phoneSession, phoneAlone, phoneBound, phoneIdle, phoneStandIn, phoneFree}
	for _, p := range people() {
		phones = append(phones, phoneOf(p))
	}
	return phones
}

// link does a Link in both. The database goes first, for it makes the ids.
func (w *twin) link(in Input) (Outcome, error) {
	w.m.now = time.Now()
	before := w.m.stored()
	got, err := w.db.Link(context.Background(), w.m.rules, in)
	if err != nil {
		return got, fmt.Errorf("%s: %w", describe(in), err)
	}
	if _, known := w.m.born[got.UserID]; !known && w.m.users[got.UserID] == nil {
		w.m.born[got.UserID] = got.Born
	}
	w.m.mint = func(Kind) string { return got.UserID }
	want := w.m.link(in)
	if d := w.differs(want, got, got.Events); d != "" {
		return got, fmt.Errorf("the tables (-) and the database (+) differ:\n%s%s\nin %+v\nwith\n%s", d, describe(in), w.m.rules, strings.Join(before, "\n"))
	}
	return got, nil
}

// differs compares an outcome, what was told, and all that is stored.
func (w *twin) differs(want, got Outcome, events []Event) string {
	stored, untold := loadModel(w, w.db, knownPhones()...)
	line := func(o Outcome) string {
		return fmt.Sprintf("%s %q %s %d unionid %q", o.Code, o.UserID, o.Kind, max(o.Born.Unix(), 0), o.UnionID)
	}
	tables := slices.Concat([]string{line(want)}, sorted(w.m.told), w.m.stored(), w.m.openConflicts())
	database := slices.Concat([]string{line(got)}, sorted(w.said(events)), stored.stored(), stored.openConflicts(), stored.broken(), untold)
	if slices.Equal(tables, database) {
		return ""
	}
	return cmp.Diff(tables, database)
}

// said are events in the words of the model. Aliases are those of the last merge
// of each survivor.
func (w *twin) said(events []Event) (said []string) {
	aliases := map[string][]string{}
	for _, e := range events {
		switch d := e.Data.(type) {
		case Merged:
			said = append(said, fmt.Sprintf("%s %s->%s", e.Type, d.From, d.To))
			if d.FromKind != w.m.users[d.From].kind || d.ToKind != w.m.users[d.To].kind || e.Subject != d.To {
				said = append(said, fmt.Sprintf("%+v", e))
			}
			aliases[d.To] = d.Aliases
		case Linked:
			if e.Type == EventIdentityUnlinked {
				if d.UnionID == "" { // the openid stood in for it
					d.UnionID = d.OpenID
				}
				said = append(said, fmt.Sprintf("%s %s", e.Type, d.UnionID))
			} else {
				said = append(said, fmt.Sprintf("%s %s/%s", e.Type, d.AppID, d.OpenID))
			}
		case Conflict:
			said = append(said, fmt.Sprintf("%s %s", e.Type, d.Code))
		default:
			said = append(said, fmt.Sprintf("%s %s", e.Type, e.Subject))
		}
	}
	for to, ids := range aliases {
		if !slices.Equal(sorted(ids), w.m.aliases(to)) {
			said = append(said, fmt.Sprintf("aliases of %s: %v, want %v", to, ids, w.m.aliases(to)))
		}
	}
	return said
}

// step does what happens besides a Link in both.
func (w *twin) step(s *modelStep) error {
	ctx, by := context.Background(), By{Operator: true, Reason: "a test"}
	w.m.now = time.Now()
	before := w.m.stored()
	var out Outcome
	var err error
	refusal := CodeOK
	switch s.op {
	case "register":
		_, err = w.db.write.Exec(`INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES (?, 'member', 0, ?)`, s.user, millis(w.m.now))
	case "import":
		_, err = w.db.write.Exec(`INSERT INTO wxgate_identity (appid, openid, user_id, created) VALUES (?, ?, ?, 0)`, s.at.appID, s.at.openID, s.user)
	case "idle":
		_, err = w.db.write.Exec(`UPDATE wxgate_user SET last_seen = ? WHERE id = ?`, millis(w.m.now.Add(-w.m.rules.PhoneIdle*2)), s.user)
	case "unbind":
		u := Unbinding{UserID: s.user, UnionID: s.union.unionID, AppID: s.union.scope, By: by}
		out, err = w.db.Unbind(ctx, u)
		refusal = CodeLastCredential
	case "cancel":
		out, err = w.db.Cancel(ctx, Cancelling{UserID: s.user, By: by})
	case "merge":
		out, err = w.db.Merge(ctx, w.m.rules, Merging{From: s.user, To: s.to, By: by})
		refusal = CodeUserIDBoundToOtherWeChat
	case "move":
		_, err = w.db.MapOpenIDs(ctx, OpenIDMap{
			Moves: []OpenIDMove{{s.from.appID, s.from.openID, s.at.appID, s.at.openID}}, RetireOld: s.retire, By: by,
		})
	case "rebind":
		_, err = w.db.Rebind(ctx, Rebinding{AppID: s.at.appID, By: by})
	}
	if err != nil {
		return fmt.Errorf("%+v: %w", *s, err)
	}
	refused := w.m.step(s)
	if refused != (out.Code != "" && out.Code == refusal && refusal != CodeOK) {
		return fmt.Errorf("%+v is answered %q, refused is %t; before\n%s", *s, out.Code, refused, strings.Join(before, "\n"))
	}
	if s.op == "move" || s.op == "rebind" { // tell nothing to the caller
		w.m.told = nil
	}
	if d := w.differs(Outcome{}, Outcome{}, out.Events); d != "" {
		return fmt.Errorf("the tables (-) and the database (+) differ:\n%s%+v\nbefore\n%s", d, *s, strings.Join(before, "\n"))
	}
	return nil
}

// openConflicts are the open ones, by code and parties.
func (m *model) openConflicts() (all []string) {
	for c := range m.conflicts {
		all = append(all, fmt.Sprintf("open %s %s", c.code, c.parties))
	}
	return sorted(all)
}

// TestRandomStories compares each kind of database with the tables, step by
// step: visits and operations of a few people, apps and phones.
func TestRandomStories(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		steps := 0
		rapid.Check(t, func(rt *rapid.T) {
			emptyDB(t, db)
			w := &walk{draws: func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) }}
			w.m = newModel(w.rules())
			both := newTwin(t, db, w.m)
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				steps++
				if err := w.next(both); err != nil {
					rt.Fatal(err)
				}
			}
		})
		t.Logf("%d steps", steps)
	})
}

// next is one step of a story. What a Link has settled it leaves as it is: the
// same once more, with the session that the answer gave, changes nothing.
func (w *walk) next(both *twin) error {
	if w.seldom("operation", 8) {
		if s := w.operate(); s != nil {
			return both.step(s)
		}
		return nil
	}
	if w.seldom("new rules", 10) {
		w.newRules()
	}
	in := w.visit()
	out, err := both.link(in)
	if err != nil {
		return err
	}
	w.carry(in, out)
	if !w.seldom("again", 5) || out.UserID == "" {
		return nil
	}
	t := w.tokens[len(w.tokens)-1]
	in.UserID, in.UserKind, in.UserBorn, in.Want = t.UserID, t.UserKind, t.UserBorn, WantIdentify
	in.SessionAppID, in.SessionOpenID, in.SessionUnionID = t.SessionAppID, t.SessionOpenID, t.SessionUnionID
	again, err := both.link(in)
	if err == nil && (again.UserID != out.UserID || len(again.Events) > 0) {
		err = errors.New("it changes something")
	}
	if err != nil {
		return fmt.Errorf("once more, after %+v: %w", out, err)
	}
	return nil
}
