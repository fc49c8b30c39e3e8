package account

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestNewMembersByPhoneGetTheShopsIDs(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		number := phoneNumber("p1")
		for _, tt := range []struct {
			name   string
			given  []string
			in     Input
			asked  Newcomer
			before string // while the shop is down
			after  string
		}{
			{"N5: outside WeChat", nil, Input{Outside: true}.as("V1").with("p1"), Newcomer{GuestID: "V1", Phone: number},
				"V1, unavailable", "shop-1, ok, created shop-1, merged V1>shop-1, phone.bound shop-1"},
			{"N5: without a unionid", nil, at("oa", "x").as("V1").with("p1"), Newcomer{GuestID: "V1", Phone: number, AppID: "oa", OpenID: "x"},
				"V1, unavailable", "shop-1, unionid_missing, created shop-1, merged V1>shop-1, phone.bound shop-1"},
			{"P1", nil, proved("oa", "x", "X").as("V1").with("p1"), Newcomer{GuestID: "V1", Phone: number, AppID: "oa", OpenID: "x", UnionID: "X"},
				"V1, unavailable, linked oa/x", "shop-1, ok, created shop-1, merged V1>shop-1, phone.bound shop-1"},
			{"a stand-in is no unionid", nil, at("app0", "x").as("V1").with("p1"), Newcomer{GuestID: "V1", Phone: number, AppID: "app0", OpenID: "x"},
				"V1, unavailable, linked app0/x", "shop-1, ok, created shop-1, merged V1>shop-1, phone.bound shop-1"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				shop := userTable{before: down}
				rules := phoneMode()
				rules.MakeUserID, rules.StandIns = shop.make, map[string]bool{"app0": true}
				w := newWorldIn(t, db, rules, tt.given...)
				diff(t, "while the shop is down", tt.before, w.said(w.link(tt.in)))
				tt.asked.Key = shop.asked[0].Key
				if len(shop.asked) != 1 || shop.asked[0] != tt.asked {
					t.Errorf("asked %+v, want %+v", shop.asked, tt.asked)
				}
				diff(t, "phones", 0, len(w.lines(`SELECT id FROM wxgate_user WHERE phone_key IS NOT NULL`)))
				shop.before = nil
				diff(t, "afterwards", tt.after, w.said(w.link(tt.in)))
				diff(t, "keys", []string{"k1", "k1"}, shop.keys())
			})
		}
	})
}

// A person is asked for with one key until he is a member: in whatever session,
// app and way he comes, and whichever instance he meets.
func TestOnePersonHasOneKey(t *testing.T) {
	openedOnEach(t, func(t *testing.T, newOne func(*testing.T) opened) {
		shop := userTable{before: down}
		o := newOne(t)
		rules := Rules{MakeUserID: shop.make}
		ways := []Input{
			proved("oa", "x", "X").as("V1").login(),
			proved("oa", "x", "X").as("V2").login(),
			at("oa", "x").login(),
			proved("mp", "m", "X").login(),
			proved("mp", "m", "X").with("p1"),
		}
		link := func(in Input) (out Outcome) {
			o.with(IDConfig{}, func(db *DB) { // another instance, or the same after a crash
				must(t, db.Unlock(t.Context(), secrets{"first"}))
				var err error
				out, err = db.Link(t.Context(), rules, in)
				must(t, err)
			})
			return out
		}
		for _, in := range ways {
			link(in)
		}
		diff(t, "keys", []string{"k1", "k1", "k1", "k1", "k1"}, shop.keys())
		link(proved("oa", "y", "Y").login())
		link(Input{Outside: true}.with("p2"))
		shop.before = nil
		first := link(ways[2])
		diff(t, "keys: somebody else, a phone, and the first", []string{"k1", "k1", "k1", "k1", "k1", "k2", "k3", "k1"}, shop.keys())

		// Whoever cancels his account comes back as a new person.
		o.with(IDConfig{}, func(db *DB) {
			_, err := db.Cancel(t.Context(), Cancelling{UserID: first.UserID})
			must(t, err)
		})
		second := link(ways[0])
		if keys := shop.keys(); keys[len(keys)-1] != "k4" || second.UserID == first.UserID || second.Kind != Member {
			t.Errorf("%+v after %+v, keys %v", second, first, keys)
		}
	})
}

func TestKeysOfThoseWhoNeverCameBackAreForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		shop := userTable{before: down}
		w := newWorldIn(t, db, Rules{MakeUserID: shop.make})
		w.link(proved("oa", "x", "X").login())
		must(t, w.db.Prune(t.Context(), time.Now().Add(newcomerKept-time.Hour)))
		w.link(at("oa", "x").login())
		must(t, w.db.Prune(t.Context(), time.Now().Add(newcomerKept+time.Hour)))
		w.link(at("oa", "x").login())
		diff(t, "keys", []string{"k1", "k1", "k2"}, shop.keys())
	})
}

// What happens while the shop makes an id: Link looks again before it uses it.
func TestFactsThatChangeWhileTheShopIsAsked(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, tt := range []struct {
			name      string
			given     []string
			in        Input
			meanwhile func(*world, Newcomer)
			want      string
			stored    []string
			keys      []string
		}{
			{"another call makes him a member", nil, proved("oa", "x", "X").as("V1").login(), func(w *world, n Newcomer) {
				diff(w.t, "the other call", "shop-1, ok, created shop-1, linked oa/x, merged V1>shop-1", w.said(w.link(proved("oa", "x", "X").as("V1").login())))
			}, "shop-1, ok", []string{"oa x X shop-1"}, []string{"k1", "k1"}},
			{"another call, in another app and session", nil, proved("oa", "x", "X").as("V1").login(), func(w *world, n Newcomer) {
				diff(w.t, "the other call", "shop-1, ok, created shop-1, linked mp/m, merged V2>shop-1", w.said(w.link(proved("mp", "m", "X").as("V2").login())))
			}, "shop-1, ok, linked oa/x, merged V1>shop-1", []string{"mp m X shop-1", "oa x X shop-1"}, []string{"k1", "k1"}},
			{"he is imported", []string{"member U1"}, proved("oa", "x", "X").as("V1").login(), func(w *world, _ Newcomer) {
				w.given("imported oa x U1")
			}, "U1, ok, linked oa/x, merged V1>U1", []string{"oa x X U1"}, []string{"k1"}},
			{"his guest is cancelled", []string{"guest V1 1"}, proved("oa", "x", "X").as("V1").login(), func(w *world, _ Newcomer) {
				w.given("cancelled V1")
			}, "shop-1, ok, created shop-1, linked oa/x", []string{"oa x X shop-1"}, []string{"k1"}},
			{"his guest is linked to somebody else", []string{"guest V1 1"}, proved("oa", "x", "X").as("V1").login(), func(w *world, _ Newcomer) {
				w.given("identity oa y Y V1")
			}, "shop-1, guest_owned_by_other, created shop-1, linked oa/x", []string{"oa x X shop-1", "oa y Y V1"}, []string{"k1"}},
			{"somebody gets the id", nil, proved("oa", "x", "X").as("V1").login(), func(w *world, _ Newcomer) {
				w.given("member shop-1")
			}, "V1, unavailable, linked oa/x", []string{"oa x X V1"}, []string{"k1"}},
			{"somebody gets the phone", []string{"member U1"}, proved("oa", "x", "X").as("V1").with("p1"), func(w *world, _ Newcomer) {
				w.given("phone U1 p1")
			}, "U1, ok, linked oa/x, merged V1>U1", []string{"oa x X U1"}, []string{"k1"}},
			{"his openid gets another unionid", []string{"guest V5 5", "identity oa x X V5"}, at("oa", "x").login(), func(w *world, _ Newcomer) {
				if len(w.lines(`SELECT unionid FROM wxgate_unionid WHERE unionid = 'X'`)) > 0 {
					w.exec(`DELETE FROM wxgate_identity`)
					w.exec(`DELETE FROM wxgate_unionid`)
					w.given("identity oa x Z V5")
				}
			}, "shop-2, ok, created shop-2, merged V5>shop-2", []string{"oa x Z shop-2"}, []string{"k1", "k2"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				var shop userTable
				w := newWorldIn(t, db, Rules{MakeUserID: shop.make}, tt.given...)
				asked := false
				shop.before = func(n Newcomer) error {
					if !asked || tt.keys[len(tt.keys)-1] == "k2" {
						asked = true
						tt.meanwhile(w, n)
					}
					return nil
				}
				diff(t, "outcome", tt.want, w.said(w.link(tt.in)))
				diff(t, "stored", tt.stored, w.stored())
				diff(t, "asked", tt.keys, shop.keys())
			})
		}
	})
}

// Sixteen workers of two instances and a shop that fails every third time.
func TestManyNewMembersAtOnce(t *testing.T) {
	openedOnEach(t, func(t *testing.T, newOne func(*testing.T) opened) {
		o := newOne(t)
		var dbs [2]*DB
		for i := range dbs {
			db, err := o.open(IDConfig{})
			must(t, err)
			defer db.Close()
			dbs[i] = db
		}
		var shop userTable
		shop.before = func(Newcomer) error {
			time.Sleep(rand.N(2 * time.Millisecond)) // of the shop's own work
			if rand.N(3) == 0 {
				return errShopDown
			}
			return nil
		}
		const people = 12
		apps := []string{"oa", "mp", "mp2"}
		var mu sync.Mutex
		members := map[string][]string{} // unionid -> ids of the members he was
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for range 30 {
					n := rand.N(people)
					unionID, app := fmt.Sprintf("X%d", n), apps[rand.N(len(apps))]
					in := proved(app, fmt.Sprintf("%s-%d", app, n), unionID).login()
					out, err := dbs[i%2].Link(context.Background(), Rules{MakeUserID: shop.make}, in)
					switch {
					case err != nil:
						t.Error(err)
					case out.Code == CodeUnavailable:
						if none := (*noUserID)(nil); !errors.As(out.Unavailable, &none) || !errors.Is(none.err, errShopDown) {
							t.Errorf("unavailable because of %v", out.Unavailable)
						}
					case out.Kind != Member:
						t.Errorf("outcome %+v", out)
					default:
						mu.Lock()
						if !slices.Contains(members[unionID], out.UserID) {
							members[unionID] = append(members[unionID], out.UserID)
						}
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		checkInvariants(t, dbs[0])
		for unionID, ids := range members {
			if len(ids) != 1 {
				t.Errorf("%s was the members %v", unionID, ids)
			}
		}
		made := linesOf(t, dbs[0], `SELECT id FROM wxgate_user WHERE kind = 'member'`)
		diff(t, "members, ids that the shop made, user.created", []int{len(members), len(members), len(members)},
			[]int{len(made), len(shop.made), len(linesOf(t, dbs[0], `SELECT id FROM wxgate_event WHERE type = 'user.created'`))})
		diff(t, "keys left", 0, len(linesOf(t, dbs[0], `SELECT person FROM wxgate_newcomer`)))
	})
}

// The shop lets one call down and not another.
func TestWhoBecameAMemberMeanwhileNeedsNoID(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, tt := range []struct {
			in   Input
			want string
		}{
			{proved("oa", "x", "X").as("V1").login(), "shop-1, ok"},
			// His phone was not attached, so he has to try again.
			{proved("oa", "x", "X").as("V1").login().with("p1"), "shop-1, unavailable"},
		} {
			var shop userTable
			w := newWorldIn(t, db, Rules{MakeUserID: shop.make})
			shop.before = func(Newcomer) error {
				shop.before = nil
				w.link(proved("oa", "x", "X").as("V1").login())
				return errShopDown
			}
			diff(t, "outcome", tt.want, w.said(w.link(tt.in)))
		}
	})
}
