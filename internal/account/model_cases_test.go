package account

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// modelCase reads testdata/linking.yaml, whose head explains the words, on its
// own, so that a slip in the reader of the other test does not hide one here.
type modelCase struct {
	ID     string
	Config struct {
		Guest        *bool
		Policy, Mode string
		Standin      []string
	}
	Given struct {
		Users []struct {
			ID, Kind, Phone, Merged string
			Created                 int
			Idle                    bool
		}
		Records, Visitors [][]yaml.Node
	}
	Steps []struct {
		Input    modelInput
		Parallel []modelInput
		Expect   struct {
			UserID yaml.Node // none: not compared
			Code   string
			Events []string
		}
		Any struct {
			SameUserID  bool `yaml:"same_userid"`
			Records     int
			Merges      int
			RealCreated int `yaml:"real_created"`
		} `yaml:"expect_any_order"`
	}
	Final *struct{ Records, Visitors [][]yaml.Node }
}

type modelInput struct {
	Op, From, To                                              string
	Map                                                       [][4]string
	RetireOld                                                 bool `yaml:"retire_old"`
	AppID, OpenID, UnionID, UserID, Phone, Want, Env, Channel string
	Consented, Snapshot                                       bool
	SessionOpenID                                             string `yaml:"session_openid"`
	SessionUnionID                                            string `yaml:"session_unionid"`
}

// Every case holds for the model alone.
func TestModelAgreesWithTheCases(t *testing.T) {
	raw, err := os.ReadFile("testdata/linking.yaml")
	must(t, err)
	var all struct{ Cases []modelCase }
	must(t, yaml.Unmarshal(raw, &all))
	if len(all.Cases) != 109 {
		t.Errorf("%d cases", len(all.Cases))
	}
	for _, c := range all.Cases {
		t.Run(c.ID, func(t *testing.T) { c.run(t) })
	}
}

// run does the steps of a case. Parallel steps are done in every order.
func (c modelCase) run(t *testing.T) {
	m := c.model()
	for i, s := range c.Steps {
		if len(s.Parallel) > 0 {
			for _, order := range permutations(len(s.Parallel)) {
				c.serial(t, m.clone(), i, order)
			}
			continue
		}
		user, code := m.do(s.Input)
		switch {
		case s.Expect.UserID.Value == "EPHEMERAL":
			if m.users[user] != nil || user == "" {
				t.Errorf("step %d serves %q and stores it", i+1, user)
			}
		case s.Expect.UserID.Tag == "!!null":
			diff(t, fmt.Sprintf("user of step %d", i+1), "", user)
		case s.Expect.UserID.Kind != 0:
			diff(t, fmt.Sprintf("user of step %d", i+1), s.Expect.UserID.Value, user)
		}
		if s.Expect.Code != "" {
			diff(t, fmt.Sprintf("code of step %d", i+1), s.Expect.Code, string(code))
		}
		diff(t, fmt.Sprintf("events of step %d", i+1), slices.Compact(sorted(s.Expect.Events)), slices.Compact(sorted(m.told)))
	}
	if c.Final == nil {
		return
	}
	want := []string{}
	for _, r := range c.Final.Records {
		want = append(want, strings.Join(texts(r), " "))
	}
	for _, v := range c.Final.Visitors {
		want = append(want, "visitor "+strings.Join(texts(v), " "))
	}
	diff(t, "in the end", sorted(want), m.caseRows())
}

// serial does parallel steps in one order.
func (c modelCase) serial(t *testing.T, m *model, i int, order []int) {
	t.Helper()
	s := c.Steps[i]
	served, told := map[string]bool{}, []string{}
	var users []string
	for _, n := range order {
		user, _ := m.do(s.Parallel[n])
		users, told = append(users, user), append(told, m.told...)
	}
	for _, user := range users {
		served[cmp.Or(m.users[user].into, user)] = true
	}
	count := func(prefix string) (n int) {
		for _, e := range told {
			if strings.HasPrefix(e, prefix) {
				n++
			}
		}
		return n
	}
	got := fmt.Sprint(!s.Any.SameUserID || len(served) == 1, len(m.rows), count("user.merged "), count("user.created "))
	diff(t, fmt.Sprint("order ", order), fmt.Sprint(true, s.Any.Records, s.Any.Merges, s.Any.RealCreated), got)
}

func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

// texts are the values of a row; null is the empty string.
func texts(row []yaml.Node) (all []string) {
	for _, n := range row {
		if n.Tag == "!!null" {
			n.Value = ""
		}
		all = append(all, n.Value)
	}
	return all
}

// model is what a case is given.
func (c modelCase) model() *model {
	rules := Rules{FirstLogin: FirstLoginWeChatPhone, Linking: Linking(c.Config.Policy), GuestsOff: c.Config.Guest != nil && !*c.Config.Guest, StandIns: map[string]bool{}}
	rules.FirstLogin = cmp.Or(FirstLogin(c.Config.Mode), rules.FirstLogin)
	for _, app := range c.Config.Standin {
		rules.StandIns[app] = true
	}
	m := newModel(rules)
	m.now = epoch.Add(1000 * 24 * time.Hour)
	count := map[Kind]int{}
	m.mint = func(k Kind) string {
		count[k]++
		id := fmt.Sprintf("%cnew%d", "VU"[len(k)-len(Guest)], count[k])
		m.born[id] = m.now.Add(time.Duration(count[k]) * time.Second)
		return id
	}
	for _, u := range c.Given.Users {
		m.born[u.ID] = epoch.Add(time.Duration(u.Created) * time.Second)
		if u.Kind == "guest" && u.Merged == "" {
			continue
		}
		m.users[u.ID] = &modelUser{kind: Kind(u.Kind), born: m.born[u.ID], seen: m.now, phone: Phone(u.Phone), into: u.Merged}
		if u.Idle {
			m.users[u.ID].seen = epoch
		}
	}
	for _, nodes := range c.Given.Records {
		r := texts(nodes)
		at, union := modelOpenID{r[0], r[1]}, modelUnionID{unionID: r[2]}
		if r[2] == r[1] {
			union.scope = r[0]
		}
		if strings.HasPrefix(r[3], "V") {
			m.store(r[3])
		}
		if r[2] == "" {
			m.rows[at] = modelRow{user: r[3]}
			continue
		}
		m.rows[at], m.owners[union] = modelRow{union: union}, r[3]
	}
	for _, nodes := range c.Given.Visitors {
		v := texts(nodes)
		m.visitors[modelOpenID{v[0], v[1]}] = v[2]
		m.store(v[2])
	}
	return m
}

// do is one step.
func (m *model) do(in modelInput) (user string, code Code) {
	switch in.Op {
	case "unbind":
		return in.UserID, m.unbind(in.UserID, modelUnionID{unionID: in.UnionID})
	case "cancel":
		return "", m.cancel(in.UserID)
	case "operator_merge":
		m.join(in.From, in.To)
		return in.To, CodeOK
	case "import_openid_map":
		m.told = nil
		for _, l := range in.Map {
			m.mapOpenID(modelOpenID{l[0], l[1]}, modelOpenID{l[2], l[3]}, in.RetireOld)
		}
		return "", CodeOK
	case "rebind":
		m.rebind(in.AppID)
		return "", CodeOK
	}
	link := Input{
		AppID: in.AppID, OpenID: in.OpenID, UnionID: in.UnionID, UserID: in.UserID, UserBorn: m.born[in.UserID], Phone: Phone(in.Phone),
		SessionOpenID: in.SessionOpenID, SessionUnionID: in.SessionUnionID, Want: Want(in.Want),
		Outside: in.Env == "outside" || in.OpenID == "", Consented: in.Consented, Snapshot: in.Snapshot,
	}
	link.InBrowser = !link.Outside && in.Channel != "mini_program"
	switch {
	case strings.HasPrefix(in.UserID, "V"):
		link.UserKind = Guest
		if link.UserBorn.IsZero() {
			link.UserBorn = m.now
		}
	case in.UserID != "":
		link.UserKind = Member
	}
	for at := range m.rows { // no two apps of the cases share an openid
		if at.openID == in.SessionOpenID {
			link.SessionAppID = at.appID
		}
	}
	if in.SessionOpenID == in.OpenID {
		link.SessionAppID = in.AppID
	}
	out := m.link(link)
	return out.UserID, out.Code
}

// caseRows are identities and visitors in the words of the cases.
func (m *model) caseRows() []string {
	lines := []string{}
	for at, r := range m.rows {
		user := r.user
		if !r.imported() {
			user = m.owners[r.union]
		}
		lines = append(lines, strings.Join([]string{at.appID, at.openID, r.union.unionID, user}, " "))
	}
	for at, guest := range m.visitors {
		lines = append(lines, fmt.Sprintf("visitor %s %s %s", at.appID, at.openID, guest))
	}
	return sorted(lines)
}
