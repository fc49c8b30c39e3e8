package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLinkingCases(t *testing.T) { onEach(t, runCases) }

func runCases(t *testing.T, open opener) {
	db := open(t)
	cases := readCases(t)
	if len(cases) != 109 {
		t.Errorf("there are %d cases", len(cases))
	}
	for _, c := range cases {
		rounds := 1
		if slices.ContainsFunc(c.Steps, func(s linkStep) bool { return len(s.Parallel) > 0 }) {
			rounds = 10 // each may go another way
		}
		for range rounds {
			t.Run(c.ID, func(t *testing.T) { runCase(t, db, c) })
		}
	}
}

// caseRun is one case under way.
type caseRun struct {
	*world
	t     *testing.T
	born  map[string]time.Time
	ids   map[string]string // Vnew1, Unew1, ... -> real id
	count map[Kind]int
}

func runCase(t *testing.T, db *DB, c linkCase) {
	rules := Rules{
		FirstLogin: FirstLoginWeChatPhone, Linking: Linking(c.Config.Policy), StandIns: map[string]bool{},
		GuestsOff: c.Config.Guest != nil && !*c.Config.Guest,
	}
	for _, app := range c.Config.Standin {
		rules.StandIns[app] = true
	}
	if c.Config.Mode != "" {
		rules.FirstLogin = FirstLogin(c.Config.Mode)
	}
	r := &caseRun{
		world: newWorldIn(t, db, rules, c.given()...), t: t,
		born: map[string]time.Time{}, ids: map[string]string{}, count: map[Kind]int{},
	}
	for _, u := range c.Given.Users {
		r.born[u.ID] = birthday(u.Created)
	}
	for i, s := range c.Steps {
		if len(s.Parallel) > 0 {
			r.parallel(i, s)
			continue
		}
		out, err := r.do(s.Input)
		must(t, err)
		r.compare(i, s.Expect, out)
	}
	if c.Final != nil {
		r.final(c)
	}
}

// do is one step.
func (r *caseRun) do(in linkInput) (Outcome, error) {
	ctx := r.t.Context()
	operator := By{Operator: true, Reason: "a case"}
	switch in.Op {
	case "":
		r.checkKnown(r.input(in))
		return r.db.Link(ctx, r.rules, r.input(in))
	case "unbind":
		return r.db.Unbind(ctx, Unbinding{UserID: r.id(in.UserID), UnionID: in.UnionID, By: operator})
	case "cancel":
		return r.db.Cancel(ctx, Cancelling{UserID: r.id(in.UserID), By: operator})
	case "operator_merge":
		return r.db.Merge(ctx, r.rules, Merging{From: r.id(in.From), To: r.id(in.To), By: operator})
	case "import_openid_map":
		m := OpenIDMap{RetireOld: in.RetireOld, By: operator}
		for _, l := range in.Map {
			m.Moves = append(m.Moves, OpenIDMove{l[0], l[1], l[2], l[3]})
		}
		_, err := r.db.MapOpenIDs(ctx, m)
		return Outcome{Code: CodeOK}, err
	case "rebind":
		_, err := r.db.Rebind(ctx, Rebinding{AppID: in.AppID, By: operator})
		return Outcome{Code: CodeOK}, err
	}
	return Outcome{}, fmt.Errorf("unknown operation %s", in.Op)
}

// id is the user id that a case names.
func (r *caseRun) id(name string) string {
	if real, ok := r.ids[name]; ok {
		return real
	}
	return name
}

func (r *caseRun) input(in linkInput) Input {
	out := Input{
		AppID: in.AppID, OpenID: in.OpenID, UnionID: in.UnionID, UserID: r.id(in.UserID), Want: Want(in.Want), Phone: phoneNumber(in.Phone),
		Outside: in.Env == "outside" || in.OpenID == "", Consented: in.Consented, Snapshot: in.Snapshot,
		SessionOpenID: in.SessionOpenID, SessionUnionID: in.SessionUnionID,
	}
	out.InBrowser = !out.Outside && in.Channel != "mini_program"
	switch {
	case strings.HasPrefix(in.UserID, "V"):
		out.UserKind = Guest
		out.UserBorn = r.born[in.UserID]
		if out.UserBorn.IsZero() {
			out.UserBorn = time.Now()
		}
	case in.UserID != "":
		out.UserKind = Member
	}
	if in.SessionOpenID != "" {
		// No two apps of the cases share an openid.
		appID, err := text(r.t.Context(), r.db.read, `SELECT appid FROM wxgate_identity WHERE openid = ? UNION SELECT appid FROM wxgate_visitor WHERE openid = ?`, in.SessionOpenID, in.SessionOpenID)
		must(r.t, err)
		if out.SessionAppID = appID; in.SessionOpenID == in.OpenID {
			out.SessionAppID = in.AppID
		}
	}
	return out
}

// name returns the case's name of a user id, giving new ones their names in
// the order they turn up.
func (r *caseRun) name(id string) string {
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return id
	}
	if n, ok := r.names[id]; ok {
		return n
	}
	u, err := readUser(r.t.Context(), r.db.read, id)
	must(r.t, err)
	kind, prefix := Guest, "V"
	if u != nil && u.kind == Member {
		kind, prefix = Member, "U"
	}
	r.count[kind]++
	n := fmt.Sprintf("%snew%d", prefix, r.count[kind])
	r.names[id], r.ids[n] = n, id
	return n
}

func (r *caseRun) compare(i int, want linkExpect, got Outcome) {
	r.t.Helper()
	checkInvariants(r.t, r.db)
	switch {
	case want.nobody:
		if got.UserID != "" {
			r.t.Errorf("step %d serves %s, want nobody", i+1, r.name(got.UserID))
		}
	case want.UserID != nil && *want.UserID == "EPHEMERAL":
		if u, err := readUser(r.t.Context(), r.db.read, got.UserID); err != nil || u != nil || got.Kind != Guest {
			r.t.Errorf("step %d: %+v is stored: %v, %v", i+1, got, u, err)
		}
	case want.UserID != nil:
		if n := r.name(got.UserID); n != *want.UserID {
			r.t.Errorf("step %d serves %s, want %s", i+1, n, *want.UserID)
		}
	}
	if want.Code != "" && string(got.Code) != want.Code {
		r.t.Errorf("step %d: code %s, want %s", i+1, got.Code, want.Code)
	}
	var events []string
	aliases := map[string][]string{} // of the last merge into each
	for _, e := range got.Events {
		said := r.event(e)
		if e.Type == EventIdentityUnlinked && slices.Contains(events, said) {
			continue // each row of the unionid says so
		}
		events = append(events, said)
		if m, ok := e.Data.(Merged); ok {
			aliases[r.name(m.To)] = r.all(m.Aliases)
		}
	}
	for to, want := range want.Aliases {
		diff(r.t, "aliases of "+to, sorted(want), aliases[to])
	}
	if diff := cmp.Diff(sorted(want.Events), sorted(events)); diff != "" {
		r.t.Errorf("step %d, events (-want +got):\n%s", i+1, diff)
	}
}

func (r *caseRun) all(ids []string) []string {
	var names []string
	for _, id := range ids {
		names = append(names, r.name(id))
	}
	return sorted(names)
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

func (r *caseRun) event(e Event) string {
	switch d := e.Data.(type) {
	case Merged:
		return fmt.Sprintf("%s %s->%s", e.Type, r.name(d.From), r.name(d.To))
	case Linked:
		if e.Type == EventIdentityUnlinked {
			return fmt.Sprintf("%s %s", e.Type, d.UnionID)
		}
		return fmt.Sprintf("%s %s/%s", e.Type, d.AppID, d.OpenID)
	case Conflict:
		return fmt.Sprintf("%s %s", e.Type, d.Code)
	default:
		return fmt.Sprintf("%s %s", e.Type, r.name(e.Subject))
	}
}

func (r *caseRun) parallel(i int, s linkStep) {
	r.t.Helper()
	var wg sync.WaitGroup
	begin := make(chan struct{})
	outs, errs := make([]Outcome, len(s.Parallel)), make([]error, len(s.Parallel))
	for n, in := range s.Parallel {
		in := r.input(in)
		wg.Go(func() {
			<-begin
			outs[n], errs[n] = r.db.Link(r.t.Context(), r.rules, in)
		})
	}
	close(begin)
	wg.Wait()
	checkInvariants(r.t, r.db)
	served, merges, created := map[string]bool{}, 0, 0
	for n, out := range outs {
		must(r.t, errs[n])
		u, err := readUser(r.t.Context(), r.db.read, out.UserID)
		must(r.t, err)
		if u != nil && u.mergedInto != "" {
			served[u.mergedInto] = true
		} else {
			served[out.UserID] = true
		}
		for _, e := range out.Events {
			switch e.Type {
			case EventUserMerged:
				merges++
			case EventUserCreated:
				created++
			}
		}
	}
	var records int
	must(r.t, r.db.read.QueryRow(`SELECT count(*) FROM wxgate_identity`).Scan(&records))
	if s.Any.SameUserID && len(served) != 1 || records != s.Any.Records || merges != s.Any.Merges || created != s.Any.RealCreated {
		r.t.Errorf("step %d: %d users, %d records, %d merges, %d created, want %+v", i+1, len(served), records, merges, created, s.Any)
	}
}

func (r *caseRun) final(c linkCase) {
	r.t.Helper()
	var want, got []string
	str := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	for _, rec := range c.Final.Records {
		want = append(want, strings.Join([]string{str(rec[0]), str(rec[1]), str(rec[2]), str(rec[3])}, " "))
	}
	for _, v := range c.Final.Visitors {
		want = append(want, "visitor "+strings.Join(v, " "))
	}
	for _, l := range append(linesOf(r.t, r.db, `SELECT i.appid || ' ' || i.openid || ' ' || coalesce(i.unionid, 'null') || ' ' || coalesce(i.user_id, u.user_id, 'null')
		FROM wxgate_identity i LEFT JOIN wxgate_unionid u ON u.scope = i.scope AND u.unionid = i.unionid`),
		linesOf(r.t, r.db, `SELECT 'visitor ' || appid || ' ' || openid || ' ' || guest_id FROM wxgate_visitor`)...) {
		at := strings.LastIndexByte(l, ' ') + 1
		got = append(got, l[:at]+r.name(l[at:]))
	}
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		r.t.Errorf("stored in the end (-want +got):\n%s", diff)
	}
}
