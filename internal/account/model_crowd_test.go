package account

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// crowd is many workers over few people, apps and phones, on several instances.
type crowd struct {
	instances []*DB
	linking   Linking
	// answered hears of the events of every answer. Its caller waits.
	answered func([]Event)

	lock    sync.Mutex
	members []string // who were seen
}

// work does what people and operators do until it has done all steps, the
// context is cancelled, or an error is returned.
func (c *crowd) work(ctx context.Context, seed uint64, steps int) error {
	r := rand.New(rand.NewPCG(seed, 7))
	w := &walk{draws: func(_ string, n int) int { return r.IntN(n) }, m: newModel(Rules{})}
	for range steps {
		if ctx.Err() != nil {
			return nil
		}
		db := c.instances[r.IntN(len(c.instances))]
		var events []Event
		var err error
		if w.seldom("operation", 12) {
			events, err = c.operate(ctx, w, db)
		} else {
			in := w.visit()
			var out Outcome
			rules := w.rules()
			rules.Linking = c.linking
			out, err = db.Link(ctx, rules, in)
			events = out.Events
			c.met(w, in, out)
		}
		if err != nil {
			return err
		}
		c.answered(events)
	}
	return nil
}

// met remembers whom a visit was.
func (c *crowd) met(w *walk, in Input, out Outcome) {
	w.carry(in, out)
	if out.Kind != Member {
		return
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.members = append(c.members, out.UserID)
}

// one is a member whom somebody has seen lately, who may be gone by now.
func (c *crowd) one(w *walk) string {
	c.lock.Lock()
	defer c.lock.Unlock()
	n := min(len(c.members), 20)
	if n == 0 {
		return "nobody"
	}
	return c.members[len(c.members)-1-w.draws("member", n)]
}

func (c *crowd) operate(ctx context.Context, w *walk, db *DB) ([]Event, error) {
	by := By{Operator: true, Reason: "a test"}
	app, person := w.draws.one("app", "oa", "mp", "pc", "lone"), w.draws.one("person", people()...)
	var out Outcome
	var err error
	switch w.draws.one("operation", "unbind", "cancel", "merge", "merge", "move", "rebind") {
	case "unbind":
		out, err = db.Unbind(ctx, Unbinding{UserID: c.one(w), AppID: app, By: by})
	case "cancel":
		out, err = db.Cancel(ctx, Cancelling{UserID: c.one(w), By: by})
	case "merge":
		out, err = db.Merge(ctx, Rules{Linking: c.linking}, Merging{From: c.one(w), To: c.one(w), By: by})
	case "move":
		_, err = db.MapOpenIDs(ctx, OpenIDMap{Moves: []OpenIDMove{{app, person + "-" + app, "moved", person + "-moved"}}, RetireOld: w.seldom("retire", 2), By: by})
	case "rebind":
		_, err = db.Rebind(ctx, Rebinding{AppID: app, By: by})
	}
	for _, answer := range []error{ErrUnknownUser, ErrUserCancelled, ErrUnknownIdentity, ErrSeveralIdentities, ErrNotMember} {
		if errors.Is(err, answer) {
			return nil, nil
		}
	}
	return out.Events, err
}

// run lets workers work, and looks at the accounts meanwhile.
func (c *crowd) run(t *testing.T, workers, steps int) error {
	var wg sync.WaitGroup
	errs := make([]error, workers)
	done := make(chan struct{})
	for i := range errs {
		wg.Go(func() { errs[i] = c.work(context.Background(), uint64(i), steps) })
	}
	go func() { wg.Wait(); close(done) }()
	for {
		checkInvariants(t, c.instances[0])
		select {
		case <-done:
			return errors.Join(errs...)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// onEachURL runs a test with the URL of a new database of each kind.
func onEachURL(t *testing.T, f func(*testing.T, string)) {
	t.Run("sqlite", func(t *testing.T) { f(t, "sqlite:"+filepath.Join(t.TempDir(), "accounts.db")) })
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) { f(t, dbtest.Shared(t, e).Database(t)) })
	}
}

// Sixteen workers and few people: deadlocks and lost races are nobody's error,
// whoever looks sees no half of a change, and what was answered is stored.
func TestManyWorkersOverFewPeople(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		for _, linking := range []Linking{OneToOne, ManyUnionIDs} {
			t.Run(string(linking), func(t *testing.T) {
				var answered []Event
				c := &crowd{instances: []*DB{openURL(t, url), openURL(t, url)}, linking: linking}
				emptyDB(t, c.instances[0])
				c.answered = func(events []Event) {
					c.lock.Lock()
					defer c.lock.Unlock()
					answered = append(answered, events...)
				}
				must(t, c.run(t, 16, 40))
				checkInvariants(t, c.instances[0])
				checkStored(t, c.instances[0], answered)
				for _, typ := range []EventType{EventUserMerged, EventPhoneBound, EventConflictOpened} {
					if !slices.ContainsFunc(answered, func(e Event) bool { return e.Type == typ }) {
						t.Errorf("this walk has no %s", typ)
					}
				}
			})
		}
	})
}

// checkStored says which events are not in the queue.
func checkStored(t testing.TB, db *DB, events []Event) {
	t.Helper()
	stored := map[string]string{}
	eachRow(t, db.read, `SELECT id, type, subject FROM wxgate_event`, func(scan func(...any)) {
		var id, typ, subject string
		scan(&id, &typ, &subject)
		stored[id] = typ + " " + subject
	})
	for _, e := range events {
		if want := fmt.Sprint(e.Type, " ", e.Subject); stored[e.ID] != want {
			t.Errorf("%s was answered, and %q is stored", want, stored[e.ID])
		}
	}
}

// Two people's first logins at the same moment, in many tabs each, make one
// member each.
func TestFirstLoginsInManyTabs(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		instances := []*DB{openURL(t, url), openURL(t, url)}
		var wg sync.WaitGroup
		outs, errs := make([]Outcome, 40), make([]error, 40)
		for i := range outs {
			wg.Go(func() {
				n := fmt.Sprint(i % 2)
				in := proved(fmt.Sprint("app", i%4), "x"+n, "X"+n).login()
				in.UserID, in.UserKind, in.UserBorn = fmt.Sprint("V", i), Guest, time.Now()
				outs[i], errs[i] = instances[i/2%2].Link(context.Background(), Rules{}, in)
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		for i, out := range outs {
			if out.Kind != Member || out.UserID != outs[i%2].UserID {
				t.Errorf("tab %d is %+v, the first one was %s", i, out, outs[i%2].UserID)
			}
		}
		m, _ := loadModel(t, instances[0])
		diff(t, "ids that answer to the two", 40, len(m.aliases(outs[0].UserID))+len(m.aliases(outs[1].UserID)))
		diff(t, "identities", 4, len(m.rows))
		checkInvariants(t, instances[0])
	})
}
