package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// byOperator is what an operator gives with what he does.
func byOperator() By { return By{Operator: true, Reason: "ticket 12", Name: "wang"} }

// did is an operation's outcome in one line: as said, or the error.
func (w *world) did(out Outcome, err error) string {
	w.t.Helper()
	checkInvariants(w.t, w.db)
	for _, known := range []error{
		ErrUnknownUser, ErrUserCancelled, ErrNotMember, ErrUnknownIdentity, ErrSeveralIdentities, ErrNoReason, ErrTooManyMoves,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	must(w.t, err)
	return w.said(out)
}

// logged names the users whom the invalidation log names.
func (w *world) logged() []string {
	w.t.Helper()
	return toldBy(w.t, w.db.ReadInvalidations())
}

// operations is what is recorded of operators, oldest first.
func (w *world) operations() []string {
	w.t.Helper()
	all, err := w.db.Operations(w.t.Context(), "", Page{})
	must(w.t, err)
	said := []string{}
	for _, o := range all {
		if o.By != "wang" {
			w.t.Errorf("recorded as %q's", o.By)
		}
		said = append([]string{fmt.Sprintf("%s %s: %s", o.Action, o.Subject, o.Reason)}, said...)
	}
	return said
}

func TestUnbind(t *testing.T) {
	one := []string{"member U1", "phone U1 p1", "identity oa x X U1", "identity mp x X U1"}
	two := append(one, "identity oa y Y U1")
	noPhone := []string{"member U1", "identity oa x X U1", "identity mp x X U1"}
	apart := []string{"member U1", "identity oa x X U1", "identity mp s s U1", "imported old i U1"}
	const unlinked = "U1, ok, unlinked mp/x, unlinked oa/x"
	cases := []struct {
		name   string
		given  []string
		unbind Unbinding
		want   string
		left   []string // nil: everything as it was
	}{
		{"by unionid, all its rows", one, Unbinding{UserID: "U1", UnionID: "X"}, unlinked, []string{}},
		{"by one of its openids", one, Unbinding{UserID: "U1", AppID: "mp", OpenID: "x"}, unlinked, []string{}},
		{"by openid alone", one, Unbinding{UserID: "U1", OpenID: "x"}, unlinked, []string{}},
		{"by the app where it is the only one", two, Unbinding{UserID: "U1", AppID: "mp"}, unlinked, []string{"oa y Y U1"}},
		{"by a replaced id", append(one, "member U2", "merged U2 U1"), Unbinding{UserID: "U2", UnionID: "X"}, unlinked, []string{}},
		{"another WeChat account is left", append(noPhone, "identity oa y Y U1"), Unbinding{UserID: "U1", UnionID: "X"}, unlinked, []string{"oa y Y U1"}},
		{"a stand-in", apart, Unbinding{UserID: "U1", OpenID: "s"}, "U1, ok, unlinked mp/s", []string{"oa x X U1", "old i - U1"}},
		{"an imported row", apart, Unbinding{UserID: "U1", AppID: "old", OpenID: "i"}, "U1, ok, unlinked old/i", []string{"mp s s U1", "oa x X U1"}},
		{"an imported row is left", apart[:4:4], Unbinding{UserID: "U1", UnionID: "X"}, "U1, ok, unlinked oa/x", []string{"mp s s U1", "old i - U1"}},

		{"the app names two", two, Unbinding{UserID: "U1", AppID: "oa"}, ErrSeveralIdentities.Error(), nil},
		{"the last credential", noPhone, Unbinding{UserID: "U1", UnionID: "X"}, "U1, last_credential", nil},
		{"an imported row is the last credential", []string{"member U1", "imported oa x U1"}, Unbinding{UserID: "U1", AppID: "oa"}, "U1, last_credential", nil},
		{"a guest's", []string{"guest V1 1", "identity oa x X V1"}, Unbinding{UserID: "V1", UnionID: "X"}, "V1, last_credential", nil},
		{"another member's", append(one, "member U2", "identity oa y Y U2"), Unbinding{UserID: "U1", UnionID: "Y"}, ErrUnknownIdentity.Error(), nil},
		{"a unionid with another openid", two, Unbinding{UserID: "U1", UnionID: "X", OpenID: "y"}, ErrUnknownIdentity.Error(), nil},
		{"ids compare byte for byte", one, Unbinding{UserID: "U1", UnionID: "x"}, ErrUnknownIdentity.Error(), nil},
		{"nothing is named", one, Unbinding{UserID: "U1"}, ErrUnknownIdentity.Error(), nil},
		{"nobody is named", one, Unbinding{UnionID: "X"}, ErrUnknownUser.Error(), nil},
		{"of a cancelled user", []string{"member U3", "cancelled U3"}, Unbinding{UserID: "U3", UnionID: "X"}, ErrUserCancelled.Error(), nil},
		{"by an operator without a reason", one, Unbinding{UserID: "U1", UnionID: "X", By: By{Operator: true}}, ErrNoReason.Error(), nil},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, Rules{Linking: ManyUnionIDs}, c.given...)
				before := w.everything()
				dry := c.unbind
				dry.DryRun = true
				diff(t, "outcome of a dry run", c.want, w.did(w.db.Unbind(t.Context(), dry)))
				diff(t, "all that is stored after a dry run", before, w.everything())
				diff(t, "outcome", c.want, w.did(w.db.Unbind(t.Context(), c.unbind)))
				if c.left == nil {
					diff(t, "all that is stored", before, w.everything())
				} else {
					diff(t, "stored", c.left, w.stored())
				}
				diff(t, "recorded", []string{}, w.operations())
			})
		}
	})
}

func TestUnbindTellsOfEachRow(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "identity mp y X U1", "identity shop s s U1", "imported old i U1")
		for _, openID := range []string{"x", "s", "i"} {
			_, err := w.db.Unbind(t.Context(), Unbinding{UserID: "U1", OpenID: openID})
			must(t, err)
		}
		diff(t, "events", []string{
			`identity.unlinked U1 {"appid":"mp","openid":"y","unionid":"X"}`,
			`identity.unlinked U1 {"appid":"oa","openid":"x","unionid":"X"}`,
			`identity.unlinked U1 {"appid":"shop","openid":"s"}`,
			`identity.unlinked U1 {"appid":"old","openid":"i"}`,
		}, w.lines(`SELECT type || ' ' || subject || ' ' || data FROM wxgate_event ORDER BY written`))
	})
}

func TestUnbindingTwiceChangesNothingMore(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1")
		u := Unbinding{UserID: "U1", UnionID: "X", By: byOperator()}
		diff(t, "first", "U1, ok, unlinked oa/x", w.did(w.db.Unbind(t.Context(), u)))
		after := w.everything()
		diff(t, "second", ErrUnknownIdentity.Error(), w.did(w.db.Unbind(t.Context(), u)))
		diff(t, "all that is stored", after, w.everything())
		diff(t, "recorded", []string{"unbind U1: ticket 12"}, w.operations())
	})
}

// A session that the WeChat account opened would bind it again at its next
// login, and a guest's that the account proves would still open the member.
func TestUnbindingEndsAllSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "guest V1 1", "merged V1 U1", "member U2", "merged U2 U1")
		issued := time.Now()
		refs := []SessionRef{
			{UserID: "U1", Kind: Member, IssuedAt: issued},
			{UserID: "U2", Kind: Member, IssuedAt: issued},
			{UserID: "V1", Kind: Guest, UnionID: "X", IssuedAt: issued},
		}
		for _, ref := range refs {
			if got := w.resolved(ref); !strings.HasPrefix(got, "member U1") {
				t.Errorf("%s is %s before", ref.UserID, got)
			}
		}
		var heard []Invalidation
		w.db.OnChange(func(inv Invalidation) { heard = append(heard, inv) })
		diff(t, "outcome", "U1, ok, unlinked oa/x", w.did(w.db.Unbind(t.Context(), Unbinding{UserID: "U1", UnionID: "X"})))
		for _, ref := range refs {
			diff(t, ref.UserID, "dead", w.resolved(ref))
		}
		if len(heard) != 1 || heard[0].UserID != "U1" {
			t.Errorf("caches were told %v", heard)
		}
		diff(t, "logged for others", []string{"U1"}, w.logged())
		again := w.link(Input{}.with("p1").login())
		if got := w.resolved(SessionRef{UserID: "U1", Kind: Member, IssuedAt: again.SessionsFrom}); !strings.HasPrefix(got, "member U1") {
			t.Errorf("a new session is %s", got)
		}
		diff(t, "the WeChat account afterwards", "V+1, guest, linked oa/x", w.said(w.link(proved("oa", "x", "X"))))
	})
}

func TestCancel(t *testing.T) {
	all := []string{"member U1", "phone U1 p1", "identity oa x X U1", "identity mp x X U1", "identity mp2 s s U1", "imported old i U1",
		"guest V1 1", "merged V1 U1", "member U2", "identity oa y Y U2"}
	guest := []string{"guest V1 1", "visitor oa x V1", "visitor mp x V1", "guest V2 2", "identity oa y Y V2"}
	const gone = "nobody, ok, cancelled U1"
	cases := []struct {
		name   string
		given  []string
		cancel Cancelling
		want   string
		left   []string // nil: everything as it was
	}{
		{"a member", all, Cancelling{UserID: "U1"}, gone, []string{"oa y Y U2"}},
		{"by a replaced id", all, Cancelling{UserID: "V1"}, gone, []string{"oa y Y U2"}},
		{"by an openid", all, Cancelling{AppID: "mp", OpenID: "x"}, gone, []string{"oa y Y U2"}},
		{"by the openid of a stand-in", all, Cancelling{AppID: "mp2", OpenID: "s"}, gone, []string{"oa y Y U2"}},
		{"by the openid of an imported row", all, Cancelling{AppID: "old", OpenID: "i"}, gone, []string{"oa y Y U2"}},
		{"a guest", guest, Cancelling{UserID: "V2"}, "nobody, ok, cancelled V2", []string{"visitor mp x V1", "visitor oa x V1"}},
		{"a visitor", guest, Cancelling{AppID: "mp", OpenID: "x"}, "nobody, ok, cancelled V1", []string{"oa y Y V2"}},
		{"a WeChat account that never had a user id", []string{"identity oa x X -", "identity mp x X -", "identity oa y Y -"},
			Cancelling{AppID: "oa", OpenID: "x"}, "nobody, ok", []string{"oa y Y -"}},

		{"who is cancelled already", []string{"member U3", "cancelled U3"}, Cancelling{UserID: "U3"}, "nobody, ok", nil},
		{"an openid that nobody has", all, Cancelling{AppID: "oa", OpenID: "z"}, ErrUnknownUser.Error(), nil},
		{"an openid of another app", all, Cancelling{AppID: "oa", OpenID: "s"}, ErrUnknownUser.Error(), nil},
		{"a guest without a row", all, Cancelling{UserID: "V9"}, ErrUnknownUser.Error(), nil},
		{"nobody", all, Cancelling{}, ErrUnknownUser.Error(), nil},
		{"by an operator without a reason", all, Cancelling{UserID: "U1", By: By{Operator: true}}, ErrNoReason.Error(), nil},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldIn(t, db, Rules{}, c.given...)
				before := w.everything()
				dry := c.cancel
				dry.DryRun = true
				diff(t, "outcome of a dry run", c.want, w.did(w.db.Cancel(t.Context(), dry)))
				diff(t, "all that is stored after a dry run", before, w.everything())
				diff(t, "outcome", c.want, w.did(w.db.Cancel(t.Context(), c.cancel)))
				if c.left == nil {
					diff(t, "all that is stored", before, w.everything())
				} else {
					diff(t, "stored", c.left, w.stored())
				}
			})
		}
	})
}

// Whoever comes back after his account was cancelled is a new person, with the
// same WeChat account and the same phone.
func TestAfterCancellingAllIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "guest V1 1", "merged V1 U1", "member U2", "merged U2 U1")
		var heard []Invalidation
		w.db.OnChange(func(inv Invalidation) { heard = append(heard, inv) })
		x := Cancelling{UserID: "U1", By: byOperator()}
		diff(t, "outcome", "nobody, ok, cancelled U1", w.did(w.db.Cancel(t.Context(), x)))
		diff(t, "again", "nobody, ok", w.did(w.db.Cancel(t.Context(), x)))
		diff(t, "recorded", []string{"cancel U1: ticket 12"}, w.operations())
		if len(heard) != 1 || heard[0].UserID != "U1" {
			t.Errorf("caches were told %v", heard)
		}
		diff(t, "logged for others", []string{"U1"}, w.logged())
		time.Sleep(time.Minute)
		for _, ref := range []SessionRef{
			{UserID: "U1", Kind: Member}, {UserID: "U2", Kind: Member}, {UserID: "V1", Kind: Guest, UnionID: "X"},
		} {
			diff(t, ref.UserID, "dead", w.resolved(ref))
		}
		in := proved("oa", "x", "X").as("U1")
		in.Phone = phoneNumber("p1")
		diff(t, "he comes back", "U+1, ok, created U+1, linked oa/x, phone.bound U+1", w.said(w.link(in)))
		diff(t, "his number is kept nowhere else", []string{w.lines(`SELECT id FROM wxgate_user WHERE phone_sealed IS NOT NULL`)[0]},
			w.lines(`SELECT id FROM wxgate_user WHERE phone_key IS NOT NULL`))
	})
}

func TestCancellingClosesTheConflictsThatNameHim(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "identity oa x X U1", "member U2", "identity mp y Y U2")
		w.link(proved("oa", "x", "X").as("U2")) // W16 of U2 and U1
		w.link(proved("oa", "z", "Z").as("U2")) // W18 of U2
		diff(t, "outcome", "nobody, ok, cancelled U1, closed", w.did(w.db.Cancel(t.Context(), Cancelling{UserID: "U1"})))
		left, err := w.db.Conflicts(t.Context(), false, Page{})
		must(t, err)
		if len(left) != 1 || left[0].Code != CodeUserIDBoundToOtherWeChat {
			t.Errorf("open: %+v", left)
		}
	})
}

// An operation that fails in its middle has done nothing.
func TestAnOperationThatFailsHasDoneNothing(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "phone U1 p1", "identity oa x X U1", "member U2")
	w.db.OnChange(func(inv Invalidation) { t.Errorf("told of %v", inv) })
	w.exec(`DROP TABLE wxgate_operation`)
	before := w.everything()
	ctx := context.Background()
	for what, err := range map[string]error{
		"unbind": func() error {
			_, err := w.db.Unbind(ctx, Unbinding{UserID: "U1", UnionID: "X", By: byOperator()})
			return err
		}(),
		"cancel": func() error { _, err := w.db.Cancel(ctx, Cancelling{UserID: "U1", By: byOperator()}); return err }(),
		"merge": func() error {
			_, err := w.db.Merge(ctx, Rules{}, Merging{From: "U1", To: "U2", By: byOperator()})
			return err
		}(),
		"rebind": func() error { _, err := w.db.Rebind(ctx, Rebinding{AppID: "oa", By: byOperator()}); return err }(),
		"map": func() error {
			_, err := w.db.MapOpenIDs(ctx, OpenIDMap{Moves: []OpenIDMove{{"oa", "x", "new", "x"}}, By: byOperator()})
			return err
		}(),
		"revoke": w.db.RevokeUser(ctx, "U1", byOperator()),
	} {
		if err == nil {
			t.Errorf("%s did not fail", what)
		}
	}
	diff(t, "all that is stored", before, w.everything())
	diff(t, "events", []string(nil), w.lines(`SELECT type FROM wxgate_event`))
}
