package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// resolved asks whom a session stands for, in words: the user, `dead`.
func (w *world) resolved(ref SessionRef) string {
	w.t.Helper()
	if ref.IssuedAt.IsZero() {
		ref.IssuedAt = time.Now()
	}
	res, err := w.db.Resolve(w.t.Context(), ref)
	if errors.Is(err, ErrSessionDead) {
		if res.UserID != "" {
			w.t.Errorf("a dead session stands for %s", res.UserID)
		}
		return "dead"
	}
	must(w.t, err)
	said := fmt.Sprintf("%s %s", res.Kind, res.UserID)
	if len(res.Previous) > 0 {
		said += " previous " + strings.Join(res.Previous, ",")
	}
	if !res.DiesAt.IsZero() {
		said += " dies"
	}
	if res.PhoneVerified {
		said += " with a phone"
	}
	return said
}

func TestResolve(t *testing.T) {
	given := []string{
		"member U1", "member U2", "merged U2 U1", "member U3", "cancelled U3", "member U4", "merged U4 U3",
		"guest V1 1", "identity oa x X V1", "guest V2 2", "merged V2 V1", "guest V3 3", "merged V3 U1", "identity oa y Y U1",
		"identity oa z Z U3", "guest V5 5", "merged V5 U3", "identity oa n N -",
		"member U6", "phone U6 p6", "guest V6 6", "merged V6 U6", "identity mp s s U6",
	}
	for _, c := range []struct {
		name string
		ref  SessionRef
		want string
	}{
		{"a guest without a row is a guest", SessionRef{UserID: "V9", Kind: Guest}, "guest V9"},
		{"a member without a row is dead", SessionRef{UserID: "U9", Kind: Member}, "dead"},
		{"a session without a user stays so", SessionRef{}, " "},
		{"a member", SessionRef{UserID: "U1", Kind: Member}, "member U1"},
		{"a linked guest", SessionRef{UserID: "V1", Kind: Guest}, "guest V1"},
		{"a cancelled member is dead", SessionRef{UserID: "U3", Kind: Member}, "dead"},
		{"a merged member is followed", SessionRef{UserID: "U2", Kind: Member}, "member U1"},
		{"but not to a cancelled one", SessionRef{UserID: "U4", Kind: Member}, "dead"},
		{"a guest is followed into a guest", SessionRef{UserID: "V2", Kind: Guest}, "guest V1"},
		{"a guest is not followed into a member", SessionRef{UserID: "V3", Kind: Guest}, "dead"},
		{"unless the sealed unionid is the member's", SessionRef{UserID: "V3", Kind: Guest, UnionID: "Y"}, "member U1"},
		{"a member with a phone", SessionRef{UserID: "U6", Kind: Member}, "member U6 with a phone"},
		{"or the sealed stand-in is", SessionRef{UserID: "V6", Kind: Guest, AppID: "mp", OpenID: "s", UnionID: "s"}, "member U6 with a phone"},
		{"which a unionid of that name is not", SessionRef{UserID: "V6", Kind: Guest, AppID: "mp", OpenID: "t", UnionID: "s"}, "dead"},
		{"nor the same openid in another app", SessionRef{UserID: "V6", Kind: Guest, AppID: "oa", OpenID: "s", UnionID: "s"}, "dead"},
		{"another's unionid proves nothing", SessionRef{UserID: "V3", Kind: Guest, UnionID: "X"}, "dead"},
		{"nor does one that nobody has", SessionRef{UserID: "V3", Kind: Guest, UnionID: "Q"}, "dead"},
		{"nor one without a user", SessionRef{UserID: "V3", Kind: Guest, UnionID: "N"}, "dead"},
		{"nor ids in another case", SessionRef{UserID: "V3", Kind: Guest, UnionID: "y"}, "dead"},
		{"a proven guest is not followed to a cancelled member", SessionRef{UserID: "V5", Kind: Guest, UnionID: "Z"}, "dead"},
		{"a guest's session is no key to a member of that id", SessionRef{UserID: "U1", Kind: Guest}, "dead"},
		{"nor a member's to a guest", SessionRef{UserID: "V1", Kind: Member}, "dead"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, open opener) {
				diff(t, "resolved", c.want, newWorldOn(t, open, Rules{}, given...).resolved(c.ref))
			})
		})
	}
}

// age makes all that is stored older, as if time had passed.
func (w *world) age(d time.Duration) {
	w.t.Helper()
	ms := d.Milliseconds()
	w.exec(`UPDATE wxgate_user SET created = created - ?, last_seen = last_seen - ?, merged_at = merged_at - ?, sessions_from = sessions_from - ?`, ms, ms, ms, ms)
	w.exec(`UPDATE wxgate_revocation SET dies = dies - ?, forget = forget - ?`, ms, ms)
	w.exec(`UPDATE wxgate_invalidation SET time = time - ?`, ms)
}

func TestRotatedSessionIsServedAsWhatItWasAndThenDies(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		out := w.link(proved("oa", "x", "X").as("V1").login())
		ctx, now := t.Context(), time.Now()
		member := "member " + out.UserID + " previous V1"
		old := SessionRef{ID: "old", UserID: "V1", Kind: Guest}
		proven := SessionRef{ID: "proven", UserID: "V1", Kind: Guest, UnionID: "X"}
		diff(t, "about to be rotated", "guest V1 dies", w.resolved(old))
		for _, id := range []string{"old", "proven"} {
			must(t, w.db.RevokeSession(ctx, id, now.Add(time.Minute), now.Add(time.Hour)))
		}
		diff(t, "rotated", "guest V1 dies", w.resolved(old))
		diff(t, "rotated and proven", member+" dies", w.resolved(proven))
		res, err := w.db.Resolve(ctx, SessionRef{ID: "old", UserID: "V1", Kind: Guest, IssuedAt: now})
		must(t, err)
		if !res.DiesAt.Equal(now.Add(time.Minute).Truncate(time.Millisecond)) {
			t.Errorf("dies at %s", res.DiesAt)
		}
		w.age(time.Minute)
		diff(t, "after the grace", "dead", w.resolved(old))
		diff(t, "never rotated and not proven", "dead", w.resolved(SessionRef{ID: "other", UserID: "V1", Kind: Guest}))
		diff(t, "after the grace, proven", "dead", w.resolved(proven))
		diff(t, "the member's own session", member, w.resolved(SessionRef{ID: "new", UserID: out.UserID, Kind: Member}))
	})
}

func TestRevokingAgainOnlyBringsTheEndForward(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1")
		ctx, now := t.Context(), time.Now()
		ref := SessionRef{ID: "s", UserID: "U1", Kind: Member}
		must(t, w.db.RevokeSession(ctx, "s", now.Add(time.Hour), now.Add(2*time.Hour)))
		must(t, w.db.RevokeSession(ctx, "s", now.Add(3*time.Hour), now.Add(4*time.Hour)))
		diff(t, "ends and is forgotten", []string{fmt.Sprint(millis(now.Add(time.Hour)), " ", millis(now.Add(4*time.Hour)))},
			w.lines(`SELECT dies || ' ' || forget FROM wxgate_revocation`))
		diff(t, "in its grace", "member U1 dies", w.resolved(ref))
		must(t, w.db.RevokeSession(ctx, "s", now, now.Add(time.Minute)))
		diff(t, "at once", "dead", w.resolved(ref))
		diff(t, "at once where the clock is behind", []string{"1"}, w.lines(`SELECT count(*) FROM wxgate_revocation WHERE dies <= ?`, millis(now.Add(-clockSkew))))
		diff(t, "another session", "member U1", w.resolved(SessionRef{ID: "t", UserID: "U1", Kind: Member}))
	})
}

func TestRevokeUserEndsEverySessionOfThePerson(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode(), "guest V2 2", "visitor oa x V2", "guest V3 3", "merged V3 V2", "member U1", "member U5", "merged U5 U1")
		ctx, issued, second := t.Context(), time.Now().Add(-time.Hour), time.Now().Truncate(time.Second)
		must(t, w.db.RevokeUser(ctx, "V2", By{}))
		must(t, w.db.RevokeUser(ctx, "U5", By{})) // by a previous id
		refs := map[string]SessionRef{
			"himself": {UserID: "V2", Kind: Guest, IssuedAt: issued}, "under a merged id": {UserID: "V3", Kind: Guest, IssuedAt: issued},
			"the survivor": {UserID: "U1", Kind: Member, IssuedAt: issued}, "under the previous id": {UserID: "U5", Kind: Member, IssuedAt: issued},
			"issued in the very second": {UserID: "V2", Kind: Guest, IssuedAt: second},
		}
		for what, ref := range refs {
			diff(t, what, "dead", w.resolved(ref))
		}
		// V1 is older, so V2 merges into it; what was revoked stays so.
		diff(t, "merged", "V1, guest, merged V2>V1", w.said(w.link(at("oa", "x").as("V1"))))
		for what, ref := range refs {
			diff(t, what+", after a merge", "dead", w.resolved(ref))
		}
		if err := w.db.RevokeUser(ctx, "nobody", By{}); !errors.Is(err, ErrUnknownUser) {
			t.Errorf("revoking nobody: %v", err)
		}
	})
}

// Whoever proves himself right after all his sessions were ended, or on an
// instance whose clock is behind, gets a session that lives; and that one dies
// with the next end, which comes from a clock that is behind in its turn.
func TestEndOfAllSessionsEndsThoseFromBeforeAlone(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode(), "member U1", "phone U1 p1", "identity oa x X U1", "member U2", "merged U2 U1", "guest V3 3", "visitor oa y V3")
		for _, c := range []struct {
			name string
			in   Input
			user string
		}{
			{"a known visitor", proved("oa", "x", "X"), "U1"},
			{"one with a session of nobody", at("oa", "x").as("V9"), "U1"},
			{"by phone", Input{}.with("p1").login(), "U1"},
			{"by the shop", Input{}.shop("U2").login(), "U1"},
			{"a guest", at("oa", "y"), "V3"},
		} {
			must(t, w.db.RevokeUser(t.Context(), c.user, By{}))
			out := w.link(c.in)
			ref := SessionRef{UserID: out.UserID, Kind: out.Kind, IssuedAt: out.SessionsFrom}
			if want := string(out.Kind) + " " + c.user; !strings.HasPrefix(w.resolved(ref), want) {
				t.Errorf("%s: %s, want %s, issued at %s", c.name, w.resolved(ref), want, ref.IssuedAt)
			}
			must(t, w.db.RevokeUser(t.Context(), c.user, By{}))
			diff(t, c.name+", ended again", "dead", w.resolved(ref))
			before := ref
			before.IssuedAt = time.Now().Add(clockSkew)
			diff(t, c.name+", issued by a fast clock", "dead", w.resolved(before))
		}
	})
}

// An instance that has not heard of the end of a session yet still brings it to a
// login: nobody is a user by it any more, and nothing is added to him.
func TestEndedSessionIsNobodysInALogin(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode(), "member U1", "member U2", "merged U2 U1")
		issued := func(in Input, at time.Time) Input { in.UserIssued = at; return in }
		must(t, w.db.RevokeUser(t.Context(), "U1", By{}))
		before := w.stored()
		for name, in := range map[string]Input{
			"a WeChat without a unionid":          at("oa", "x").as("U1"),
			"by an id that was merged into his":   at("oa", "y").as("U2"),
			"a WeChat that he would be bound to":  proved("oa", "z", "Z").as("U1"),
			"a phone that would be attached":      Input{}.with("p1").as("U1").login(),
			"neither, outside of WeChat, to bind": Input{}.as("U1").outside(),
		} {
			if out := w.link(issued(in, time.Now())); out.UserID == "U1" || out.UserID == "U2" {
				t.Errorf("%s: it is %s's", name, out.UserID)
			}
		}
		for _, row := range w.stored() {
			if strings.Contains(row, "U1") && !slices.Contains(before, row) {
				t.Errorf("added to him: %s", row)
			}
		}
		if phone, err := w.db.PhoneOf(t.Context(), "U1"); err != nil || phone != "" {
			t.Errorf("his phone is %q, %v", string(phone), err)
		}
		if out := w.link(issued(at("oa", "w").as("U1"), time.Now().Add(time.Minute))); out.UserID != "U1" {
			t.Errorf("issued afterwards: it is %s's", out.UserID)
		}
	})
}

func TestPreviousIDsOfTheLast30DaysNewestFirst(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, phoneMode(), "member U1", "identity oa x X U1")
		ref := SessionRef{UserID: "U1", Kind: Member}
		var want []string
		for i := range 25 {
			in := proved("oa", "x", "X")
			in.UserID, in.UserKind, in.UserBorn = "V"+strconv.Itoa(i), Guest, time.Now()
			w.link(in)
			want = append([]string{in.UserID}, want...)
			w.age(24 * time.Hour)
		}
		res, err := w.db.Resolve(t.Context(), ref)
		must(t, err)
		diff(t, "previous", want[:20], res.Previous)
		w.age(20*24*time.Hour - time.Minute)
		res, err = w.db.Resolve(t.Context(), ref)
		must(t, err)
		diff(t, "previous, 20 days later", want[:10], res.Previous)
	})
}

// A shop that moves rows by X-User-Previous-ID alone must hear of a guest whose
// survivor is merged in turn, however long ago that was, and first of that one.
func TestPreviousIDsCountFromTheLatestMerge(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "guest V3 3", "visitor oa x V3")
		w.link(at("oa", "x").as("V1"))
		w.age(60 * 24 * time.Hour)
		out := w.link(proved("oa", "x", "X").as("V1").login())
		diff(t, "previous", "member "+out.UserID+" previous V1,V3", w.resolved(SessionRef{UserID: out.UserID, Kind: Member}))
	})
}

func TestALinkThatFailsTellsNobody(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{})
		w.db.OnChange(func(inv Invalidation) { t.Errorf("told of %v", inv) })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		in := proved("oa", "x", "X").as("V1").login()
		if out, err := w.db.Link(ctx, Rules{}, in); err == nil || out.UserID != "" {
			t.Errorf("linked as %+v, %v", out, err)
		}
		diff(t, "stored", []string{}, w.stored())
	})
}

func TestPruneForgetsWhatNobodyCanAskForAnyMore(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1")
		ctx := t.Context()
		must(t, w.db.RevokeSession(ctx, "short", time.Now(), time.Now().Add(time.Hour)))
		must(t, w.db.RevokeSession(ctx, "long", time.Now(), time.Now().Add(72*time.Hour)))
		reader := w.db.ReadInvalidations()
		diff(t, "read", []string{"short", "long"}, toldBy(t, reader))
		must(t, w.db.Prune(ctx, time.Now()))
		diff(t, "at once", "2 2", w.counts())
		w.age(time.Hour)
		must(t, w.db.Prune(ctx, time.Now()))
		diff(t, "when the tokens of one are dead", "1 2", w.counts())
		w.age(25 * time.Hour)
		must(t, w.db.Prune(ctx, time.Now()))
		diff(t, "a day later", "1 0", w.counts())
		diff(t, "the longer one", "dead", w.resolved(SessionRef{ID: "long", UserID: "U1", Kind: Member}))
		diff(t, "read from before", []string{}, toldBy(t, reader))
		must(t, w.db.RevokeUser(ctx, "U1", By{}))
		diff(t, "read on", []string{"U1"}, toldBy(t, reader))
	})
}

// counts is how many revocations and invalidations are stored.
func (w *world) counts() string {
	return w.lines(`SELECT (SELECT count(*) FROM wxgate_revocation) || ' ' || (SELECT count(*) FROM wxgate_invalidation)`)[0]
}

// phone_idle asks when a member was last here; to know it within a day, a visit
// of a known member writes once a day. A session may live for months without a
// Link, so Resolve notes it too.
func TestAKnownMembersVisitIsNotedOnceADay(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "identity oa x X U1")
		seen := func() string { // how long ago
			ms, err := strconv.ParseInt(w.lines(`SELECT last_seen FROM wxgate_user WHERE id = 'U1'`)[0], 10, 64)
			must(t, err)
			return time.Since(fromMillis(ms)).Round(time.Hour).String()
		}
		w.age(23 * time.Hour)
		w.link(proved("oa", "x", "X"))
		diff(t, "within a day", "23h0m0s", seen())
		w.age(time.Hour)
		w.link(Input{AppID: "oa", OpenID: "x", UnionID: "X", Unattended: true})
		diff(t, "while he is away", "24h0m0s", seen())
		w.link(at("oa", "x"))
		diff(t, "after a day", "0s", seen())
		w.age(23 * time.Hour)
		w.resolved(SessionRef{ID: "s", UserID: "U1", Kind: Member})
		diff(t, "a session's request within a day", "23h0m0s", seen())
		w.age(time.Hour)
		for range 100 { // a database that is slow is not waited for
			if w.resolved(SessionRef{ID: "s", UserID: "U1", Kind: Member, IssuedAt: time.Unix(1, 0)}); seen() == "0s" {
				break
			}
		}
		diff(t, "a session's request after a day", "0s", seen())
	})
}

// Somebody who is refused a thing was here all the same.
func TestARefusedMembersVisitIsNoted(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "phone U1 p1", "idle U1", "identity oa x X U1", "member U2", "phone U2 p2")
		diff(t, "refused", "U1, phone_owned_by_other_user, opened", w.said(w.link(at("oa", "x").with("p2"))))
		diff(t, "by phone alone", "U1, ok", w.said(w.link(Input{Outside: true}.with("p1"))))
	})
}

func TestAGuestsVisitIsNotNoted(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "guest V1 1", "identity oa x X V1", "guest V2 2", "visitor oa y V2")
		before := w.everything()
		w.link(at("oa", "x").as("V1"))
		w.link(at("oa", "y"))
		w.resolved(SessionRef{ID: "s", UserID: "V1", Kind: Guest})
		diff(t, "after three visits", before, w.everything())
	})
}

// Noting a visit is an extra: while nothing can be written, members are served.
func TestMembersAreServedWhileTheirVisitCannotBeNoted(t *testing.T) {
	w := newWorld(t, Rules{}, "member U1", "idle U1")
	holder, err := w.db.write.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = holder.Exec(`UPDATE wxgate_user SET last_seen = last_seen`)
	must(t, err)
	diff(t, "meanwhile", "member U1", w.resolved(SessionRef{ID: "s", UserID: "U1", Kind: Member}))
	must(t, holder.Rollback())
}
