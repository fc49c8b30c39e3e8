package account

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// walk is a story of a few people, apps and phones: sessions are kept from
// earlier answers, replayed, and handed over, WeChat seldom contradicts itself,
// and operators do their work.
type walk struct {
	draws
	m      *model
	tokens []Input // what sessions say of themselves, the newest last
}

// draws is what random stories are made of: rapid's or a plain generator.
type draws func(what string, n int) int

func (d draws) one(what string, of ...string) string { return of[d(what, len(of))] }

// in one of n cases
func (d draws) seldom(what string, n int) bool { return d(what, n) == n-1 }

// visit draws what is proved to the gate when a person comes.
func (w *walk) visit() Input {
	var in Input
	if n := len(w.tokens); n > 0 && !w.seldom("cleared", 5) {
		in = w.tokens[n-1-w.d("token", min(n, 4))]
	}
	person := w.one("person", people()...)
	app := w.one("app", "oa", "mp", "pc", "lone", "")
	if app != "" {
		in.AppID, in.OpenID = app, person+"-"+app
		if app != "lone" && w.d("unionid", 2) == 1 {
			in.UnionID = person
			if w.seldom("contradiction", 20) {
				in.UnionID = w.one("other", append(people(), "nobody")...)
			}
		}
	}
	if w.seldom("phone", 4) {
		in.Phone = phoneOf(person)
		if w.seldom("foreign phone", 4) {
			in.Phone = phoneOf(w.one("whose", people()...))
		}
	}
	in.Outside = app == "" || app == "pc"
	in.InBrowser = app == "oa"
	in.Consented = w.seldom("consented", 3)
	if w.seldom("login", 3) {
		in.Want = WantLogin
	}
	return in
}

func (w *walk) d(what string, n int) int { return w.draws(what, n) }

func people() []string { return []string{"ann", "bob", "cem"} }

func phoneOf(person string) Phone {
	return Phone(fmt.Sprintf("+861380000000%d", slices.Index(people(), person)))
}

// carry keeps the session that an answer gives. One that goes on, with the user
// who stands for its own now, was created where it was created before.
func (w *walk) carry(in Input, out Outcome) {
	if out.UserID == "" || out.Code == CodeSnapshot {
		return
	}
	t := Input{UserID: out.UserID, UserKind: out.Kind, UserBorn: out.Born, SessionAppID: in.AppID, SessionOpenID: in.OpenID, SessionUnionID: out.UnionID}
	survivor := in.UserID
	if u := w.m.users[in.UserID]; u != nil && u.into != "" {
		survivor = u.into
	}
	if out.UserID == survivor && (in.SessionOpenID != "" || in.OpenID == "") {
		t.SessionAppID, t.SessionOpenID = in.SessionAppID, in.SessionOpenID
		t.SessionUnionID = cmp.Or(out.UnionID, in.SessionUnionID)
	}
	w.tokens = append(w.tokens, t)
}

// rules draws rules. All of them may change while the accounts stay.
func (w *walk) rules() Rules {
	return Rules{
		FirstLogin: FirstLogin(w.one("mode", string(FirstLoginWeChat), string(FirstLoginWeChatPhone))),
		Linking:    Linking(w.one("linking", string(OneToOne), string(ManyUnionIDs))),
		GuestsOff:  w.seldom("guests off", 4), PhoneIdle: DefaultPhoneIdle, StandIns: map[string]bool{"lone": w.d("standin", 2) == 1},
	}
}

// newRules are those from now on.
func (w *walk) newRules() {
	w.m.many = w.m.many || w.m.rules.Linking == ManyUnionIDs
	w.m.rules = w.rules()
}

// members are those who live, in order.
func (w *walk) members() (ids []string) {
	for id, u := range w.m.users {
		if u.kind == Member && u.into == "" && !u.cancelled {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// operate draws what an operator, the shop or time does. A nil step is nothing.
func (w *walk) operate() *modelStep {
	members := w.members()
	at := modelOpenID{w.one("app", "oa", "mp", "pc", "lone"), ""}
	at.openID = w.one("person", people()...) + "-" + at.appID
	if len(members) == 0 {
		return &modelStep{op: "register", user: fmt.Sprint("U", len(w.m.users))}
	}
	s := &modelStep{user: w.one("member", members...), to: w.one("other member", members...), at: at}
	switch s.op = w.one("operation", "register", "import", "unbind", "cancel", "merge", "move", "rebind", "idle"); s.op {
	case "register":
		s.user = fmt.Sprint("U", len(w.m.users))
	case "unbind":
		for union, owner := range w.m.owners {
			if owner == s.user && (s.union == modelUnionID{} || fmt.Sprint(union) < fmt.Sprint(s.union)) {
				s.union = union
			}
		}
		if s.union == (modelUnionID{}) {
			return nil
		}
	case "merge":
		if s.user == s.to {
			return nil
		}
	case "import":
		if _, known := w.m.rows[at]; known {
			return nil
		}
	case "move":
		s.from = modelOpenID{"old", w.one("moved", people()...) + "-old"}
		s.retire = w.d("retire", 2) == 1
	}
	return s
}

// modelStep is something that happens besides a Link.
type modelStep struct {
	op       string
	user, to string
	union    modelUnionID
	from, at modelOpenID
	retire   bool
}

// step does one in the model.
func (m *model) step(s *modelStep) (refused bool) {
	m.told = nil
	switch s.op {
	case "register":
		m.users[s.user] = &modelUser{kind: Member, seen: m.now}
	case "import":
		m.rows[s.at] = modelRow{user: s.user}
	case "idle":
		m.users[s.user].seen = m.now.Add(-m.rules.PhoneIdle * 2)
	case "unbind":
		return m.unbind(s.user, s.union) != CodeOK
	case "cancel":
		m.cancel(s.user)
	case "merge":
		return !m.join(s.user, s.to)
	case "move":
		m.mapOpenID(s.from, s.at, s.retire)
	case "rebind":
		m.rebind(s.at.appID)
	}
	return false
}

// TestRandomStoriesAreDecidedByTheTables compares what the code decides with
// the tables, call by call. -rapid.checks asks for more stories.
func TestRandomStoriesAreDecidedByTheTables(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &walk{draws: func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) }}
		w.m = newModel(w.rules())
		w.m.now = birthday(1000)
		n := 0
		w.m.mint = func(k Kind) string { return fmt.Sprint(map[Kind]string{Guest: "V", Member: "U"}[k], n) }
		for range rapid.IntRange(1, 600).Draw(rt, "calls") {
			n++
			if w.seldom("new rules", 20) {
				w.newRules()
			}
			if w.m.now = birthday(1000 + n); w.seldom("operation", 8) {
				if s := w.operate(); s != nil {
					w.m.step(s)
				}
			} else {
				in := w.visit()
				if err := agree(w.m, in); err != nil {
					rt.Fatal(err)
				}
				w.carry(in, w.m.link(in))
			}
			if broken := w.m.broken(); len(broken) > 0 {
				rt.Fatal(broken)
			}
		}
	})
}
