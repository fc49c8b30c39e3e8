package account

import (
	"database/sql"
	"encoding/json"
	"fmt"
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
	_, err := tx.Exec(`UPDATE orders SET user_id = ? WHERE user_id IN (?`+strings.Repeat(", ?", len(c.aliases)-1)+`)`,
		append([]any{c.to}, arguments(c.aliases)...)...)
	return err
}

func arguments(ids []string) (args []any) {
	for _, id := range ids {
		args = append(args, id)
	}
	return args
}

// story is three merges, one after the other, as one person meets them.
type story struct {
	t      *testing.T
	db     *DB
	orders [][]string // the ids under which orders are placed: before, and after each merge
	told   []claim    // by event, in the order of the feed
	shown  []claim    // by X-User-Previous-ID, on the first request after each merge
	want   []claim    // what both have to say
}

func (s *story) link(in Input) Outcome {
	s.t.Helper()
	out, err := s.db.Link(s.t.Context(), Rules{}, in)
	must(s.t, err)
	return out
}

// as is a session of a guest who is younger than all that have a row.
func (s *story) as(guest string, in Input) Outcome {
	s.t.Helper()
	in.UserID, in.UserKind, in.UserBorn = guest, Guest, time.Now().Add(time.Hour)
	return s.link(in)
}

func (s *story) guestID() string {
	id, err := s.db.NewGuestID(s.t.Context())
	must(s.t, err)
	return id
}

// merged looks at the request that follows a merge. Others are ids of the person
// that are also in use.
func (s *story) merged(out Outcome, aliases []string, others ...string) (who string) {
	s.t.Helper()
	res, err := s.db.Resolve(s.t.Context(), SessionRef{ID: "s", UserID: out.UserID, Kind: out.Kind})
	must(s.t, err)
	s.shown = append(s.shown, claim{res.UserID, sorted(res.Previous)})
	s.orders = append(s.orders, append([]string{out.UserID}, others...))
	s.want = append(s.want, claim{out.UserID, sorted(aliases)})
	return out.UserID
}

// readFeed looks at what the events say of the merges.
func (s *story) readFeed() *story {
	s.t.Helper()
	page, err := s.db.Events(s.t.Context(), 0, 100)
	must(s.t, err)
	for _, e := range page.Events {
		if e.Type == EventUserMerged {
			var m Merged
			must(s.t, json.Unmarshal(e.Data.(json.RawMessage), &m))
			s.told = append(s.told, claim{m.To, sorted(m.Aliases)})
		}
	}
	return s
}

// oneAfterTheOther is a guest of an ordinary browser who opens a page in WeChat,
// where he was a guest before, is recognised there as the guest of a mini
// program, and logs in.
func oneAfterTheOther(t *testing.T, db *DB) *story {
	s := &story{t: t, db: db}
	mini := s.link(proved("mp", "x", "X")).UserID
	page := s.link(at("oa", "x")).UserID
	browser := s.guestID()
	s.orders = [][]string{{browser, page, mini}}
	s.merged(s.as(browser, at("oa", "x")), []string{browser}, mini)
	s.merged(s.as(page, proved("oa", "x", "X")), []string{browser, page})
	s.merged(s.as(mini, proved("mp", "x", "X").login()), []string{browser, page, mini})
	return s.readFeed()
}

// twoMembers logs in by phone in a browser and by WeChat on the telephone, until
// an operator makes one of the two.
func twoMembers(t *testing.T, db *DB) *story {
	s := &story{t: t, db: db}
	mini, browser := s.link(proved("mp", "x", "X")).UserID, s.guestID()
	s.orders = [][]string{{browser, mini}}
	byPhone := s.merged(s.as(browser, Input{Phone: herPhone}.login()), []string{browser}, mini)
	byWeChat := s.merged(s.as(mini, proved("mp", "x", "X").login()), []string{mini}, byPhone)
	out, err := db.Merge(t.Context(), Rules{}, Merging{From: byPhone, To: byWeChat, By: By{Operator: true, Reason: "one person"}})
	must(t, err)
	s.merged(out, []string{browser, byPhone, mini})
	return s.readFeed()
}

func stories() map[string]func(*testing.T, *DB) *story {
	return map[string]func(*testing.T, *DB) *story{"one after the other": oneAfterTheOther, "two members": twoMembers}
}

func TestEachMergeNamesEveryIDOfThePerson(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		for name, tell := range stories() {
			s := tell(t, open(t))
			for by, got := range map[string][]claim{"events": s.told, "headers": s.shown} {
				if fmt.Sprint(got) != fmt.Sprint(s.want) {
					t.Errorf("%s: the %s say %v, want %v", name, by, got, s.want)
				}
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
		for name, tell := range stories() {
			s := tell(t, open(t))
			_, err := s.db.write.Exec(`CREATE TABLE orders (user_id VARCHAR(64) NOT NULL)`)
			must(t, err)
			for by, claims := range map[string][]claim{
				"events":  s.told,
				"headers": s.shown,
				"both":    {s.told[0], s.shown[1], s.told[2]},
			} {
				n := 0
				schedules(func(schedule []shopStep) {
					n++
					if placed, found := s.play(schedule, claims); found != placed {
						t.Fatalf("%s, told by %s in the order %v: the person has %d of his %d orders", name, by, schedule, found, placed)
					}
				})
				if n < 700 {
					t.Errorf("only %d orders were tried", n)
				}
			}
		}
	})
}

// play places orders and handles claims in the order of a schedule, and counts
// the orders, and those that the person has in the end.
func (s *story) play(schedule []shopStep, claims []claim) (placed, found int) {
	tx, err := s.db.write.BeginTx(s.t.Context(), nil)
	must(s.t, err)
	defer func() { must(s.t, tx.Rollback()) }()
	place := func(ids []string) {
		_, err := tx.Exec(`INSERT INTO orders (user_id) VALUES (?)`+strings.Repeat(", (?)", len(ids)-1), arguments(ids)...)
		must(s.t, err)
		placed += len(ids)
	}
	place(s.orders[0])
	for _, step := range schedule {
		if step.handled {
			must(s.t, claims[step.merge].handle(tx))
		} else {
			place(s.orders[step.merge+1])
		}
	}
	must(s.t, tx.QueryRow(`SELECT count(*) FROM orders WHERE user_id = ?`, s.want[2].to).Scan(&found))
	return placed, found
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
