package account

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// claim is what a shop is told of a merge: everything that aliases did is to's
// from now on.
type claim struct {
	to      string
	aliases []string
}

// handle is what docs/backends.md tells shops to write.
func (c claim) handle(tx *sql.Tx) error {
	args := []any{c.to}
	for _, id := range c.aliases {
		args = append(args, id)
	}
	_, err := tx.Exec(`UPDATE orders SET user_id = ? WHERE user_id IN (?`+strings.Repeat(", ?", len(c.aliases)-1)+`)`, args...)
	return err
}

// chain is three merges, one after the other, as one person meets them.
type chain struct {
	t      *testing.T
	db     *DB
	orders [][]string // the ids under which orders are placed: before, and after each merge
	told   []claim    // by event, in the order of the feed
	shown  []claim    // by X-User-Previous-ID, on the first request after each merge
}

func (c *chain) link(in Input) Outcome {
	c.t.Helper()
	out, err := c.db.Link(c.t.Context(), Rules{}, in)
	must(c.t, err)
	return out
}

// merges makes a call that merges, looks at the request that follows, and goes
// on as whom that request shows.
func (c *chain) merges(in Input, guest string) (who string) {
	c.t.Helper()
	in.UserID, in.UserKind, in.UserBorn = guest, Guest, time.Now().Add(time.Hour) // younger than who has a row
	out := c.link(in)
	res, err := c.db.Resolve(c.t.Context(), SessionRef{ID: "s", UserID: out.UserID, Kind: out.Kind})
	must(c.t, err)
	c.shown = append(c.shown, claim{res.UserID, res.Previous})
	c.orders = append(c.orders, []string{res.UserID})
	return res.UserID
}

// newChain is a guest of an ordinary browser who opens a page in WeChat, where
// he was a guest before, is recognised there as the guest of a mini program, and
// logs in. It returns their ids from the youngest to the member.
func newChain(t *testing.T, open opener) (c *chain, ids []string) {
	c = &chain{t: t, db: open(t)}
	mini := c.link(proved("mp", "x", "X")).UserID
	page := c.link(at("oa", "x")).UserID
	browser, err := c.db.NewGuestID(t.Context())
	must(t, err)
	c.orders = [][]string{{browser, page, mini}}
	c.merges(at("oa", "x"), browser)
	c.orders[1] = append(c.orders[1], mini) // has not been heard of yet
	c.merges(proved("oa", "x", "X"), page)
	member := c.merges(proved("mp", "x", "X").login(), mini)

	events, err := c.db.Events(t.Context(), 0, 100)
	must(t, err)
	for _, e := range events.Events {
		if e.Type == EventUserMerged {
			var m Merged
			must(t, json.Unmarshal(e.Data.(json.RawMessage), &m))
			c.told = append(c.told, claim{m.To, m.Aliases})
		}
	}
	return c, []string{browser, page, mini, member}
}

func TestAChainOfMergesNamesEveryIDEachTime(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, ids := newChain(t, open)
		var want []claim
		for n := range 3 {
			want = append(want, claim{ids[n+1], sorted(slices.Clone(ids[:n+1]))})
		}
		for what, got := range map[string][]claim{"events": c.told, "headers": c.shown} {
			got = slices.Clone(got)
			for i := range got {
				got[i].aliases = sorted(slices.Clone(got[i].aliases))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the %s say %v, want %v", what, got, want)
			}
		}
	})
}

// Orders are placed before, between and after three merges, under whichever id
// the gateway shows then. The shop is told of each merge at any time after it:
// in any order, once, twice or never, but of the last one at least once, for
// before that nobody has told it who the person is now. In the end all orders
// are one person's.
func TestAShopEndsRightInWhateverOrderItHandlesMerges(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := newChain(t, open)
		_, err := c.db.write.Exec(`CREATE TABLE orders (user_id VARCHAR(64) NOT NULL)`)
		must(t, err)
		for by, claims := range map[string][]claim{
			"events":  c.told,
			"headers": c.shown,
			"both":    {c.told[0], c.shown[1], c.told[2]},
		} {
			n := 0
			schedules(func(schedule []shopStep) {
				n++
				tx, err := c.db.write.BeginTx(t.Context(), nil)
				must(t, err)
				defer func() { must(t, tx.Rollback()) }()
				placed := 0
				place := func(ids []string) {
					for _, id := range ids {
						_, err := tx.Exec(`INSERT INTO orders (user_id) VALUES (?)`, id)
						must(t, err)
						placed++
					}
				}
				place(c.orders[0])
				for _, s := range schedule {
					if s.handled {
						must(t, claims[s.merge].handle(tx))
					} else {
						place(c.orders[s.merge+1])
					}
				}
				var found int
				must(t, tx.QueryRow(`SELECT count(*) FROM orders WHERE user_id = ?`, c.told[2].to).Scan(&found))
				if found != placed {
					t.Fatalf("told by %s in the order %v, the person has %d of his %d orders", by, schedule, found, placed)
				}
			})
			if n < 700 {
				t.Errorf("only %d orders were tried", n)
			}
		}
	})
}

// shopStep is a merge, or the handling of one by the shop.
type shopStep struct {
	merge   int
	handled bool
}

func (s shopStep) String() string {
	if s.handled {
		return fmt.Sprint("handle ", s.merge+1)
	}
	return fmt.Sprint("merge ", s.merge+1)
}

// schedules calls f with every order of three merges and their handling: each
// handled up to twice, none before its merge, the last at least once.
func schedules(f func([]shopStep)) {
	var schedule []shopStep
	var handled [3]int
	var next func(merged int)
	next = func(merged int) {
		if merged == 3 && handled[2] > 0 {
			f(schedule)
		}
		if merged < 3 {
			schedule = append(schedule, shopStep{merge: merged})
			next(merged + 1)
			schedule = schedule[:len(schedule)-1]
		}
		for m := range merged {
			if handled[m] < 2 {
				handled[m]++
				schedule = append(schedule, shopStep{m, true})
				next(merged)
				schedule = schedule[:len(schedule)-1]
				handled[m]--
			}
		}
	}
	next(0)
}
