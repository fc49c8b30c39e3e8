package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// atOnce runs functions at the same moment and returns what they say, in their
// order.
func atOnce(fs ...func() string) []string {
	said := make([]string, len(fs))
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() {
			<-begin
			said[i] = f()
		})
	}
	close(begin)
	wg.Wait()
	return said
}

// raced is an outcome in a race, in one line that names no new ids.
func raced(out Outcome, err error) string {
	switch {
	case errors.Is(err, ErrUserCancelled):
		return "cancelled"
	case errors.Is(err, ErrUnknownIdentity):
		return "unknown"
	case err != nil:
		return err.Error()
	}
	said := string(out.Code)
	for _, e := range out.Events {
		said += " " + string(e.Type)
	}
	return said
}

// TestRacesOfOperations runs what may happen at one moment, again and again.
// Each ends as if one had come after the other.
func TestRacesOfOperations(t *testing.T) {
	type race struct {
		name  string
		given []string
		run   func(w *world) []string
		ends  func(said []string, w *world) bool
	}
	merge := func(w *world, from, to string) func() string {
		return func() string {
			return raced(w.db.Merge(w.t.Context(), w.rules, Merging{From: from, To: to, By: byOperator()}))
		}
	}
	cancel := func(w *world, id string) func() string {
		return func() string { return raced(w.db.Cancel(w.t.Context(), Cancelling{UserID: id, By: byOperator()})) }
	}
	unbind := func(w *world, unionID string) func() string {
		return func() string {
			return raced(w.db.Unbind(w.t.Context(), Unbinding{UserID: "U1", UnionID: unionID, By: byOperator()}))
		}
	}
	link := func(w *world, in Input) func() string {
		return func() string { return raced(w.db.Link(w.t.Context(), w.rules, in)) }
	}
	living := func(w *world) []string {
		return w.lines(`SELECT id FROM wxgate_user WHERE merged_into IS NULL AND cancelled IS NULL ORDER BY id`)
	}
	two := []string{"member U1", "phone U1 p1", "identity oa x X U1", "member U2", "phone U2 p2", "identity mp s s U2"}
	cases := []race{
		{"merging both ways leaves one", two,
			func(w *world) []string { return atOnce(merge(w, "U1", "U2"), merge(w, "U2", "U1")) },
			func(said []string, w *world) bool {
				slices.Sort(said)
				return slices.Equal(said, []string{"ok", "ok phone.unbound user.merged"}) && len(living(w)) == 1 && len(w.operations()) == 1
			}},
		{"merging in a circle leaves one", append(two, "member U3"),
			func(w *world) []string {
				return atOnce(merge(w, "U1", "U2"), merge(w, "U2", "U3"), merge(w, "U3", "U1"))
			},
			func(said []string, w *world) bool { return len(living(w)) == 1 && len(w.operations()) == 2 }},
		{"the same merge twice is one", two,
			func(w *world) []string { return atOnce(merge(w, "U1", "U2"), merge(w, "U1", "U2")) },
			func(said []string, w *world) bool {
				slices.Sort(said)
				return slices.Equal(said, []string{"ok", "ok phone.unbound user.merged"}) && len(w.operations()) == 1
			}},
		{"whoever is merged and cancelled is gone", two,
			func(w *world) []string { return atOnce(merge(w, "U1", "U2"), cancel(w, "U1")) },
			func(said []string, w *world) bool {
				if said[0] == "cancelled" {
					return slices.Equal(living(w), []string{"U2"})
				}
				return said[0] == "ok phone.unbound user.merged" && len(living(w)) == 0
			}},
		{"nobody merges into the cancelled", two,
			func(w *world) []string { return atOnce(merge(w, "U1", "U2"), cancel(w, "U2")) },
			func(said []string, w *world) bool {
				if said[0] == "cancelled" {
					return slices.Equal(living(w), []string{"U1"})
				}
				return said[0] == "ok phone.unbound user.merged" && len(living(w)) == 0
			}},
		{"cancelling twice is told once", two,
			func(w *world) []string { return atOnce(cancel(w, "U1"), cancel(w, "U1")) },
			func(said []string, w *world) bool {
				slices.Sort(said)
				return slices.Equal(said, []string{"ok", "ok user.cancelled"}) && len(w.operations()) == 1
			}},
		{"a login beside the cancellation is a new person or goes with it", two,
			func(w *world) []string {
				return atOnce(cancel(w, "U1"), link(w, proved("new", "x", "X").as("U1")), link(w, proved("oa", "x", "X")))
			},
			func(said []string, w *world) bool {
				return said[0] == "ok user.cancelled" && len(w.lines(`SELECT unionid FROM wxgate_unionid WHERE user_id = 'U1'`)) == 0
			}},
		{"a phone login beside the cancellation", two,
			func(w *world) []string {
				in := proved("new", "y", "Y")
				in.Phone = phoneNumber("p1")
				return atOnce(cancel(w, "U1"), link(w, in))
			},
			func(said []string, w *world) bool {
				owners := w.lines(`SELECT id FROM wxgate_user WHERE phone_key IS NOT NULL AND id <> 'U2'`)
				return said[0] == "ok user.cancelled" && !slices.Contains(owners, "U1") && len(owners) <= 1
			}},
		{"of two last WeChat accounts one stays", []string{"member U1", "identity oa x X U1", "identity mp y Y U1"},
			func(w *world) []string { return atOnce(unbind(w, "X"), unbind(w, "Y")) },
			func(said []string, w *world) bool {
				slices.Sort(said)
				return slices.Equal(said, []string{"last_credential", "ok identity.unlinked"}) && len(w.stored()) == 1
			}},
		{"unbinding twice is told once", two,
			func(w *world) []string { return atOnce(unbind(w, "X"), unbind(w, "X")) },
			func(said []string, w *world) bool {
				slices.Sort(said)
				return slices.Equal(said, []string{"ok identity.unlinked", "unknown"})
			}},
		{"a new row beside the unbinding", two,
			func(w *world) []string { return atOnce(unbind(w, "X"), link(w, proved("new", "x", "X"))) },
			func(said []string, w *world) bool {
				return strings.HasPrefix(said[0], "ok identity.unlinked") && len(w.lines(`SELECT user_id FROM wxgate_unionid WHERE user_id = 'U1'`)) == 0
			}},
		{"visits beside a rebind", []string{"member U1", "identity oa x X U1", "guest V1 1", "identity oa y Y V1", "identity oa z Z -"},
			func(w *world) []string {
				return atOnce(func() string {
					_, err := w.db.Rebind(w.t.Context(), Rebinding{AppID: "oa", By: byOperator()})
					return fmt.Sprint(err)
				}, link(w, at("oa", "x")), link(w, proved("oa", "y", "Y").login()), link(w, proved("oa", "z", "Z")), link(w, proved("oa", "n", "N")))
			},
			func(said []string, w *world) bool {
				return said[0] == "<nil>" && said[1] != "" && len(w.lines(`SELECT openid FROM wxgate_identity WHERE openid = 'x' AND unionid IS NULL AND user_id = 'U1'`)) == 1
			}},
		{"an openid map beside visits", []string{"member U1", "identity oa x X U1", "guest V1 1", "identity oa y Y V1"},
			func(w *world) []string {
				return atOnce(func() string {
					r, err := w.db.MapOpenIDs(w.t.Context(), moved("oa x new x", "oa y new y").retiring())
					return fmt.Sprint(nonZero(r.String()), err)
				}, link(w, at("new", "x")), link(w, proved("new", "y", "Y").login()), link(w, proved("oa", "y", "Y")))
			},
			func(said []string, w *world) bool { return strings.HasSuffix(said[0], "<nil>") }},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, r := range cases {
			t.Run(r.name, func(t *testing.T) {
				for range 10 {
					w := newWorldIn(t, db, Rules{Linking: ManyUnionIDs}, r.given...)
					said := r.run(w)
					checkInvariants(t, w.db)
					for _, s := range said {
						if first, _, _ := strings.Cut(s, " "); strings.Contains(s, ":") && first != "ok" {
							t.Errorf("an error reached the caller: %s", s)
						}
					}
					if !r.ends(said, w) {
						t.Fatalf("said %q, living %v, stored %v, recorded %v", said, living(w), w.stored(), w.operations())
					}
				}
			})
		}
	})
}

func TestClosingAConflictTwiceAtOnceIsToldOnce(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "identity oa x X U1")
		w.link(proved("oa", "y", "Y").as("U1"))
		all, err := w.db.Conflicts(t.Context(), false, Page{})
		must(t, err)
		closing := func() string { return fmt.Sprint(w.db.CloseConflict(t.Context(), all[0].ID, byOperator())) }
		diff(t, "said", []string{"<nil>", "<nil>", "<nil>"}, atOnce(closing, closing, closing))
		diff(t, "told", []string{"conflict.closed"}, w.lines(`SELECT type FROM wxgate_event WHERE type = 'conflict.closed'`))
		diff(t, "recorded", 1, len(w.operations()))
	})
}
