package account

import (
	"context"
	"strings"
	"testing"
	"time"
)

// decided is what a Link has read and decided before it stores anything.
func (w *world) decided(in Input) (call, *facts, plan) {
	w.t.Helper()
	number, err := w.db.phone(in.Phone)
	must(w.t, err)
	c := call{rules: w.rules, in: in, phone: number}
	f, p, err := w.db.decideReading(w.t.Context(), c)
	must(w.t, err)
	return c, f, p
}

// written is all that a Link may have stored, times left out.
func (w *world) written() []string {
	w.t.Helper()
	found := w.stored()
	for _, query := range []string{
		`SELECT CASE WHEN phone_key IS NULL THEN kind ELSE kind || ' with a phone' END || ' ' || id FROM wxgate_user ORDER BY created, id`,
		`SELECT type || ' ' || subject FROM wxgate_event ORDER BY written`,
		`SELECT 'changed ' || user_id FROM wxgate_invalidation ORDER BY seq`,
		`SELECT 'unionid ' || scope || ' ' || unionid || ' ' || apart || ' ' || coalesce(user_id, '-') FROM wxgate_unionid ORDER BY scope, unionid`,
		`SELECT 'open ' || id FROM wxgate_conflict WHERE open_as IS NOT NULL`,
	} {
		for _, l := range w.lines(query) {
			at := strings.LastIndexByte(l, ' ') + 1
			found = append(found, l[:at]+w.name(l[at:], Nobody))
		}
	}
	return found
}

func TestAStrangerIsStoredInOneGoAsHeWouldBeOtherwise(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range []struct {
			name     string
			rules    Rules
			in       Input
			stranger bool
		}{
			{"W1: a guest", phoneMode(), proved("oa", "x", "X"), true},
			{"W1: nobody", off(), proved("oa", "x", "X"), true},
			{"W5: the session's guest", phoneMode(), proved("oa", "x", "X").as("V7"), true},
			{"W19: a member", Rules{}, proved("oa", "x", "X").login(), true},
			{"W1: a stand-in", Rules{StandIns: map[string]bool{"mp": true}}, at("mp", "x"), true},
			{"W1: with many unionids", many(), proved("oa", "x", "X"), true},
			{"N1: a visitor", phoneMode(), at("oa", "x"), true},
			{"N3b: the session's guest as a visitor", phoneMode(), at("oa", "x").as("V7"), true},
			{"N5: a member by phone", phoneMode(), Input{}.with("p7").outside().login(), true},
			{"P1: a member by phone", phoneMode(), proved("oa", "x", "X").with("p7").login(), true},
			{"with a text that must not be taken for SQL", phoneMode(), proved("oa", `x'";--\`, "X?\n$1'客"), true},

			{"the session's guest would merge", Rules{}, proved("oa", "x", "X").as("V7").login(), false},
			{"the openid is a visitor", phoneMode(), proved("oa", "v", "X"), false},
			{"the openid is imported", phoneMode(), proved("oa", "i", "X"), false},
			{"the unionid is known", phoneMode(), proved("oa", "x", "Y"), false},
			{"the phone is known", phoneMode(), proved("oa", "x", "X").with("p1").login(), false},
			{"the session's guest is stored", phoneMode(), proved("oa", "x", "X").as("V1"), false},
		} {
			t.Run(c.name, func(t *testing.T) {
				given := []string{"member U1", "phone U1 p1", "identity mp y Y U1", "member U2", "imported oa i U2", "guest V1 1", "identity mp z Z V1", "guest V2 2", "visitor oa v V2"}
				w := newWorldIn(t, db, c.rules, given...)
				call, f, p := w.decided(c.in)
				before := w.written()
				out, stored := db.storeStranger(t.Context(), call, f, p)
				if stored != c.stranger {
					t.Fatalf("stored is %t", stored)
				}
				if !stored {
					diff(t, "all that is stored", before, w.written())
					return
				}
				checkInvariants(t, db)
				said, found := w.said(out), w.written()

				w = newWorldIn(t, db, c.rules, given...)
				out, err := db.linkWriting(t.Context(), call, f.lockSet())
				must(t, err)
				diff(t, "the outcome", w.said(out), said)
				diff(t, "all that is stored", w.written(), found)
			})
		}
	})
}

func TestWhoIsNoStrangerAnyMoreIsStoredInTheOrdinaryWay(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range []struct {
			name      string
			in        Input
			meanwhile []string
			conflict  string // wants this
			want      string
		}{
			{"he was stored himself", proved("oa", "x", "X"), []string{"guest V1 1", "identity oa x X V1"}, "", "V1, guest"},
			{"he became a visitor", proved("oa", "x", "X"), []string{"guest V1 1", "visitor oa x V1"}, "", "V1, guest, linked oa/x"},
			{"he was imported", proved("oa", "x", "X"), []string{"member U1", "imported oa x U1"}, "", "U1, ok, linked oa/x"},
			{"his openid got a unionid", at("oa", "x"), []string{"guest V1 1", "identity oa x X V1"}, "", "V1, guest"},
			{"his unionid came by another app", proved("oa", "x", "X"), []string{"member U1", "identity mp y X U1"}, "", "U1, ok, linked oa/x"},
			{"his unionid got another openid", proved("oa", "x", "X"), []string{"member U1", "identity oa y X U1"}, "", "V+1, openid_changed, opened"},
			{"his session's guest was merged", proved("oa", "x", "X").as("V1"), []string{"guest V1 1", "guest V2 2", "identity mp y Y V2", "merged V1 V2"}, "", "V+1, guest_owned_by_other, linked oa/x"},
			{"his phone was taken", proved("oa", "x", "X").with("p1").login(), []string{"member U1", "phone U1 p1"}, "", "U1, ok, linked oa/x"},
			{"what he does was refused", proved("oa", "x", "X"), nil, wantsRow("oa", "x", "X"), "V+1, guest, closed, linked oa/x"},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, phoneMode())
				call, f, p := w.decided(c.in)
				for _, line := range c.meanwhile {
					w.given(line)
				}
				if c.conflict != "" {
					w.exec(`INSERT INTO wxgate_conflict (id, code, parties, wants, open_as, appid, openid, opened) VALUES ('c', ?, 'a', ?, 'o', 'oa', 'x', 1)`,
						string(CodeUnionIDChanged), c.conflict)
					w.exec(`INSERT INTO wxgate_event (id, type, subject, time, data) VALUES ('e', 'conflict.opened', 'c', 1, '{"id":"c"}')`)
				}
				before := w.written()
				if _, stored := db.storeStranger(t.Context(), call, f, p); stored {
					t.Error("he was stored as a stranger")
				}
				diff(t, "all that is stored", before, w.written())
				out, err := db.linkWriting(t.Context(), call, f.lockSet())
				must(t, err)
				checkInvariants(t, db)
				diff(t, "said", c.want, w.said(out))
			})
		}
	})
}

// An openid that becomes a visitor in a transaction that is not over yet must
// not become an identity beside it.
func TestAStrangerWaitsForWhoeverIsAboutHisOpenID(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode(), "guest V1 1")
		for name, lock := range map[string]func(context.Context, *change) error{
			"a Link": func(ctx context.Context, c *change) error {
				return w.db.lock(ctx, c.tx, lockSet{openIDs: []openID{{"oa", "x"}}})
			},
			"an operation": func(ctx context.Context, c *change) error { return w.db.lockAlone(ctx, c.tx) },
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorldIn(t, w.db, phoneMode(), "guest V1 1")
				call, f, p := w.decided(proved("oa", "x", "X"))
				tx, err := w.db.write.BeginTx(t.Context(), &w.db.writes)
				must(t, err)
				defer tx.Rollback()
				must(t, lock(t.Context(), &change{tx: tx}))
				_, err = tx.Exec(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created) VALUES ('oa', 'x', 'V1', 0)`)
				must(t, err)
				stored := make(chan bool, 1)
				go func() {
					_, ok := w.db.storeStranger(t.Context(), call, f, p)
					stored <- ok
				}()
				select {
				case <-stored:
					t.Fatal("he did not wait")
				case <-time.After(50 * time.Millisecond):
				}
				must(t, tx.Commit())
				if <-stored {
					t.Error("he was stored as a stranger")
				}
				checkInvariants(t, w.db)
			})
		}
	})
}

func TestAScriptForMySQLTakesOnlyWhatItCanWrite(t *testing.T) {
	script, err := mysqlScript([]write{{"A ? ? ?", []any{"';\\", int64(-7), nil}}, {query: "B"}})
	must(t, err)
	diff(t, "the script", "START TRANSACTION; A x'273b5c' -7 NULL; B; COMMIT", script)
	for what, w := range map[string]write{
		"too few values":  {"A ? ?", []any{"x"}},
		"too many values": {"A ?", []any{"x", "y"}},
		"a number of a kind that no statement has": {"A ?", []any{1.5}},
	} {
		if _, err := mysqlScript([]write{w}); err == nil {
			t.Errorf("%s: written", what)
		}
	}
}

func TestWhatGoesTogetherLeavesNoTransactionBehind(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		user := write{`INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES (?, 'guest', 0, 0)`, []any{"V1"}}
		for range 2 * maxConnections {
			if err := w.db.together(t.Context(), []write{user, user}); err == nil {
				t.Fatal("a user was stored twice")
			}
		}
		must(t, w.db.together(t.Context(), []write{user}))
		diff(t, "stored", []string{"V1"}, w.lines(`SELECT id FROM wxgate_user`))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.db.together(ctx, []write{user}); err == nil {
			t.Error("it ran though nobody waits for it")
		}
		w.exec(`DELETE FROM wxgate_user WHERE id = 'V1'`) // nobody has it locked
	})
}
