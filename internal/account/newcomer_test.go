package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// userTable is a shop that makes user ids as the contract asks: the same key
// gives the same id.
type userTable struct {
	mu     sync.Mutex
	made   map[string]string // key -> id
	asked  []Newcomer
	before func(Newcomer) error // runs before the answer; nil: nothing
}

func (u *userTable) make(_ context.Context, n Newcomer) (string, error) {
	u.mu.Lock()
	u.asked = append(u.asked, n)
	before := u.before
	u.mu.Unlock()
	if before != nil {
		if err := before(n); err != nil {
			return "", err
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.made == nil {
		u.made = map[string]string{}
	}
	if u.made[n.Key] == "" {
		u.made[n.Key] = fmt.Sprintf("shop-%d", len(u.made)+1)
	}
	return u.made[n.Key], nil
}

// keys are the different keys that were asked with, named k1, k2, ... in order.
func (u *userTable) keys() (keys []string) {
	names := map[string]string{}
	for _, n := range u.asked {
		if names[n.Key] == "" {
			names[n.Key] = fmt.Sprintf("k%d", len(names)+1)
		}
		keys = append(keys, names[n.Key])
	}
	return keys
}

var errShopDown = errors.New("the shop is down")

func down(Newcomer) error { return errShopDown }

func TestNewMembersGetTheShopsIDs(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, tt := range []struct {
			name  string
			rules Rules
			given []string
			in    Input
			want  string // the outcome
			asked Newcomer
		}{
			{"a guest of the session", Rules{}, nil, proved("oa", "x", "X").as("V1").login(),
				"shop-1, ok, created shop-1, linked oa/x, merged V1>shop-1", Newcomer{GuestID: "V1", AppID: "oa", OpenID: "x", UnionID: "X"}},
			{"the guest of his WeChat", Rules{}, []string{"guest V5 5", "identity oa x X V5"}, at("oa", "x").login(),
				"shop-1, ok, created shop-1, merged V5>shop-1", Newcomer{GuestID: "V5", AppID: "oa", OpenID: "x", UnionID: "X"}},
			{"the session's guest is whom the shop knows", Rules{}, []string{"guest V5 5", "identity oa x X V5"}, at("oa", "x").as("V1").login(),
				"shop-1, ok, created shop-1, merged V1>shop-1, merged V5>shop-1", Newcomer{GuestID: "V1", AppID: "oa", OpenID: "x", UnionID: "X"}},
			{"nobody before", Rules{}, nil, proved("oa", "x", "X").login(),
				"shop-1, ok, created shop-1, linked oa/x", Newcomer{AppID: "oa", OpenID: "x", UnionID: "X"}},
			{"guests off", off(), []string{"identity oa x X -"}, at("oa", "x").login(),
				"shop-1, ok, created shop-1", Newcomer{AppID: "oa", OpenID: "x", UnionID: "X"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				var shop userTable
				tt.rules.FirstLogin, tt.rules.MakeUserID = FirstLoginWeChat, shop.make
				w := newWorldIn(t, db, tt.rules, tt.given...)
				diff(t, "outcome", tt.want, w.said(w.link(tt.in)))
				tt.asked.Key = shop.asked[0].Key
				diff(t, "asked", []Newcomer{tt.asked}, shop.asked)
				if len(tt.asked.Key) < 20 {
					t.Errorf("the key is %q", tt.asked.Key)
				}
				diff(t, "again", "shop-1, ok", w.said(w.link(at("oa", "x").login())))
				diff(t, "asked again", 1, len(shop.asked))
				diff(t, "keys kept", 0, len(w.lines(`SELECT person FROM wxgate_newcomer`)))
			})
		}
	})
}

func TestTheShopIsAskedForNewMembersOnly(t *testing.T) {
	shop := userTable{before: func(Newcomer) error { t.Error("asked"); return nil }}
	for _, tt := range []struct {
		rules Rules
		given []string
		in    Input
	}{
		{Rules{}, nil, proved("oa", "x", "X")},
		{phoneMode(), nil, proved("oa", "x", "X").login()},
		{Rules{}, []string{"member U1", "identity oa x X U1"}, at("oa", "x").login()},
		{Rules{}, []string{"member U1"}, proved("oa", "x", "X").as("U1").login()},
		{Rules{}, []string{"member U1", "imported oa x U1"}, proved("oa", "x", "X").login()},
		{Rules{}, nil, at("oa", "x").login()},
	} {
		tt.rules.MakeUserID = shop.make
		newWorld(t, tt.rules, tt.given...).link(tt.in)
	}
}

// A visitor whom the shop gives no id is linked as the guest he is, and may try
// again.
func TestWithoutTheShopVisitorsStayGuests(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, tt := range []struct {
			name         string
			rules        Rules
			given        []string
			in           Input
			before       string
			stored       []string
			after        string
			storedByThen []string
		}{
			{"whose WeChat is new", Rules{}, nil, proved("oa", "x", "X").as("V1").login(),
				"V1, unavailable, linked oa/x", []string{"oa x X V1"}, "shop-1, ok, created shop-1, merged V1>shop-1", []string{"oa x X shop-1"}},
			{"who is nobody yet", Rules{}, nil, proved("oa", "x", "X").login(),
				"V+1, unavailable, linked oa/x", []string{"oa x X V+1"}, "shop-1, ok, created shop-1, merged V+1>shop-1", []string{"oa x X shop-1"}},
			{"whose WeChat is known", Rules{}, []string{"guest V5 5", "identity oa x X V5"}, at("oa", "x").as("V5").login(),
				"V5, unavailable", []string{"oa x X V5"}, "shop-1, ok, created shop-1, merged V5>shop-1", []string{"oa x X shop-1"}},
			{"guests off", off(), nil, proved("oa", "x", "X").login(),
				"nobody, unavailable, linked oa/x", []string{"oa x X -"}, "shop-1, ok, created shop-1", []string{"oa x X shop-1"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				shop := userTable{before: down}
				tt.rules.FirstLogin, tt.rules.MakeUserID = FirstLoginWeChat, shop.make
				w := newWorldIn(t, db, tt.rules, tt.given...)
				out := w.link(tt.in)
				diff(t, "while the shop is down", tt.before, w.said(out))
				if out.Unavailable == nil || !strings.Contains(out.Unavailable.Error(), errShopDown.Error()) {
					t.Errorf("the reason is %v", out.Unavailable)
				}
				diff(t, "stored", tt.stored, w.stored())
				w.link(tt.in)
				shop.before = nil
				out = w.link(tt.in)
				diff(t, "afterwards", tt.after, w.said(out))
				diff(t, "stored", tt.storedByThen, w.stored())
				diff(t, "asked each time with the same key", []string{"k1", "k1", "k1"}, shop.keys())
				if out.Unavailable != nil {
					t.Errorf("a reason without need: %v", out.Unavailable)
				}
			})
		}
	})
}

func TestAnswersThatAreNoIDOfANewMemberAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		given := []string{"member U1", "identity mp y Y U1", "member U2", "cancelled U2", "guest V5 5", "identity mp z Z V5",
			"guest V6 6", "merged V6 U1", "guest V7 7", "visitor mp v V7"}
		for answer, want := range map[string]string{
			"U1":                    "the shop answered U1, who is a member already",
			"U2":                    "the shop answered U2, who is a member already",
			"V5":                    "the shop answered V5, who is a guest already",
			"V6":                    "the shop answered V6, who is a guest already",
			"V7":                    "the shop answered V7, who is a guest already",
			"V1":                    "the shop answered V1, the guest's own id",
			"":                      "it is empty",
			strings.Repeat("a", 65): "it has 65 bytes, at most 64 are possible",
			"a\nb":                  "it contains control characters",
			"a\u0085b":              "it contains control characters",
			"\x00":                  "it contains control characters",
			"a\xffb":                "it is not UTF-8",
			" a":                    "it begins or ends with a space",
			"a\u3000":               "it begins or ends with a space",
			"a,b":                   "it contains a comma",
		} {
			t.Run(fmt.Sprintf("%.20q", answer), func(t *testing.T) {
				rules := Rules{MakeUserID: func(context.Context, Newcomer) (string, error) { return answer, nil }}
				w := newWorldIn(t, db, rules, given...)
				out := w.link(proved("oa", "x", "X").as("V1").login())
				diff(t, "outcome", "V1, unavailable, linked oa/x", w.said(out))
				if out.Unavailable == nil || !strings.Contains(out.Unavailable.Error(), want) {
					t.Errorf("the reason is %v, want %q", out.Unavailable, want)
				}
				w.rules.MakeUserID = func(context.Context, Newcomer) (string, error) { return strings.Repeat("中", 21) + "1", nil }
				if out := w.link(at("oa", "x").as("V1").login()); out.Kind != Member {
					t.Errorf("with an id he is %+v", out)
				}
			})
		}
	})
}
