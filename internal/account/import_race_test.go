package account

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rush is an import of many people beside the visits of just those whom it
// stores at the moment.
type rush struct {
	*world
	n  int
	at atomic.Int64 // the first person of the batch under way
}

// guestOf says that a person of the file is a guest, as an export has them.
func (*rush) guestOf(i int) bool { return i%4 == 3 }

func (*rush) id(i int) string { return fmt.Sprintf("P%05d", i) }

// unionID is of most of them.
func (*rush) unionID(i int) string {
	if i%3 == 0 {
		return ""
	}
	return fmt.Sprintf("x%05d", i)
}

func (*rush) phone(i int) Phone { return Phone(fmt.Sprintf("+86139%08d", i)) }

// file holds them in an order that all stages of the import keep. Each guest has
// an app of his own besides, where he does not come.
func (r *rush) file() string {
	var b strings.Builder
	b.WriteString("user_id,wxgate_kind,created,phone,appid,openid,unionid\n")
	for i := range r.n {
		kind, phone := "member", string(r.phone(i))
		if r.guestOf(i) {
			kind, phone = "guest", ""
			fmt.Fprintf(&b, "%s,guest,%d,,zz,o%05d,\n", r.id(i), millis(epoch), i)
		}
		fmt.Fprintf(&b, "%s,%s,%d,%s,oa,o%05d,%s\n", r.id(i), kind, millis(epoch), phone, i, r.unionID(i))
	}
	return b.String()
}

// someone is in the batch under way.
func (r *rush) someone(random *rand.Rand) int {
	return min(int(r.at.Load())+random.IntN(importBatch), r.n-1)
}

// visit is one of those whom the import is about, in his browser or in another
// that knows him as a guest, with WeChat or a phone or both.
func (r *rush) visit(ctx context.Context, random *rand.Rand) error {
	i := r.someone(random)
	in := Input{AppID: "oa", OpenID: fmt.Sprintf("o%05d", i), UserBorn: epoch}
	switch random.IntN(6) {
	case 0:
		in.UnionID = fmt.Sprintf("x%05d", i)
	case 1:
		in.AppID, in.UnionID = "mp", fmt.Sprintf("x%05d", i)
	case 2:
		in.Phone = r.phone(i)
	}
	switch {
	case r.guestOf(i) && random.IntN(2) == 0:
		in.UserID, in.UserKind = r.id(i), Guest
	case random.IntN(3) == 0:
		in.UserID, in.UserKind = fmt.Sprint("V", i), Guest
	}
	if random.IntN(2) == 0 {
		in.Want = WantLogin
	}
	_, err := r.db.Link(ctx, r.rules, in)
	return err
}

// operate is an operator who cannot wait for the end of the import.
func (r *rush) operate(ctx context.Context, random *rand.Rand) (err error) {
	i := r.someone(random)
	if random.IntN(2) == 0 {
		_, err = r.db.Cancel(ctx, Cancelling{UserID: r.id(i)})
	} else {
		_, err = r.db.Merge(ctx, r.rules, Merging{From: r.id(i), To: r.id(i + 1)})
	}
	for _, answer := range []error{ErrUnknownUser, ErrUserCancelled, ErrNotMember} {
		if errors.Is(err, answer) {
			return nil
		}
	}
	return err
}

// An import and the visits of the same people, and operations on them: neither
// breaks the other, and what both store is as if one had come after the other.
func TestImportBesideLogins(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		r := &rush{world: newWorldOn(t, open, Rules{}), n: 2 * importBatch}
		ctx, done := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		errs := make([]error, 5)
		for i := range errs {
			step := r.visit
			if i == 0 {
				step = r.operate
			}
			wg.Go(func() {
				for random := rand.New(rand.NewPCG(uint64(i), 7)); ctx.Err() == nil && errs[i] == nil; {
					errs[i] = step(context.WithoutCancel(ctx), random)
				}
			})
		}
		report, err := r.db.Import(t.Context(), r.rules, ImportConfig{
			Source: strings.NewReader(r.file()), Format: CSV, Progress: func(p Progress) { r.at.Store(int64(p.Done)) },
		})
		done()
		wg.Wait()
		must(t, errors.Join(append(errs, err)...))
		checkInvariants(t, r.db)
		if u := report.Users; u.New+u.Known+u.LeftOut != r.n || u.New < r.n/2 {
			t.Errorf("%+v", report)
		}
		if o := report.OpenIDs; o.New+o.Known+o.LeftOut != r.n+r.n/4 || o.New < r.n/4 {
			t.Errorf("%+v", report)
		}
	})
}

// The gateway may have somebody's phone in memory as missing.
func TestAnImportedPhoneIsToldToCaches(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "member U2")
		var told []Invalidation
		w.db.OnChange(func(i Invalidation) { told = append(told, i) })
		f := file("user_id,phone", "U1,13800138000", "U2,", "U3,13800138001")
		w.importFile(f, func(c *ImportConfig) { c.DryRun = true })
		diff(t, "told of a dry run", []Invalidation(nil), told)
		before := time.Now()
		w.importFile(f)
		diff(t, "told", []Invalidation{{UserID: "U1"}}, told)
		diff(t, "told to other instances", []string{"U1"},
			w.lines(`SELECT user_id FROM wxgate_invalidation WHERE time >= ?`, millis(before)))
		told = nil
		w.importFile(f)
		diff(t, "told of what is known", []Invalidation(nil), told)
	})
}

// Who is merged or cancelled between the batches that store him and what hangs
// on him gets nothing any more.
func TestImportOfUsersWhoGoMeanwhile(t *testing.T) {
	w := newWorld(t, Rules{})
	lines := []string{"user_id,wxgate_kind,created,wxgate_merged_into,wxgate_merged_at,appid,openid"}
	for i := range importBatch {
		lines = append(lines, fmt.Sprintf("A%04d,member,%d,,,oa,o%04d", i, millis(epoch), i))
	}
	lines = append(lines, fmt.Sprintf("V1,guest,%d,A0001,%d,,", millis(epoch), millis(epoch)))
	done := map[Progress]func() error{
		{StageUsers, importBatch, importBatch + 1}: func() error {
			_, err := w.db.Merge(t.Context(), w.rules, Merging{From: "A0001", To: "A0002"})
			return err
		},
		{StageOpenIDs, 0, importBatch}: func() error {
			_, err := w.db.Cancel(t.Context(), Cancelling{UserID: "A0003"})
			return err
		},
	}
	got := w.importFile(file(lines...), func(c *ImportConfig) {
		c.Progress = func(p Progress) {
			if f := done[p]; f != nil {
				must(t, f())
				delete(done, p)
			}
		}
	})
	diff(t, "said", []string{
		"user_differs: lines [514] users [V1], without the user: he is merged into a user whom the file does not have, or who is left out",
		"user_gone: lines [3] users [A0001] stored A0001, without the openid",
		"user_gone: lines [5] users [A0003] stored A0003, without the openid",
	}, got.problems[:3])
	if len(done) > 0 || got.Users.New != importBatch || got.OpenIDs.New != importBatch-2 {
		t.Errorf("%d are left to go; %+v", len(done), got.ImportReport)
	}
}

// A batch that has lost a race is decided anew: of its first try nothing is left,
// neither in what is stored nor in what is reported.
func TestABatchThatLostARace(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "member U2", "phone U2 p2")
		im := &importer{db: w.db, rules: w.rules, report: ImportReport{Problems: map[ProblemCode]int{}}}
		taken, err := w.db.phone(phoneNumber("p2"))
		must(t, err)

		tries := 0
		people := []*fileUser{{n: 1, line: 2, id: "U3", kind: Member, phoneKey: taken.key, phoneSealed: taken.sealed("U3"), phoneLine: 2}}
		b, err := im.transact(t.Context(), lockSet{}, func(b *batch) error {
			err := im.usersBatch(b, people)
			if tries++; tries == 1 && err == nil {
				return errMoved
			}
			return err
		})
		must(t, err)
		diff(t, "phones", Tally{LeftOut: 1}, b.phones)
		diff(t, "problems", map[ProblemCode]int{PhoneTwice: 1}, im.report.Problems)

		tries = 0
		rows := []*openIDRow{{n: 1, line: 2, userID: "U1", kind: Member, appID: "oa", openID: "x", unionID: "X"}}
		_, err = im.transact(t.Context(), lockSet{}, func(b *batch) error {
			if tries++; tries == 2 { // U1 was faster, in another app
				must(t, b.exec(`INSERT INTO wxgate_unionid (scope, unionid, user_id) VALUES ('', 'X', 'U1')`))
				must(t, b.exec(`INSERT INTO wxgate_identity (appid, openid, scope, unionid, created) VALUES ('mp', 'y', '', 'X', 0)`))
			}
			err := im.openIDsBatch(b, rows)
			if tries == 1 && err == nil {
				return errMoved
			}
			return err
		})
		must(t, err)
		diff(t, "tries", 2, tries)
		diff(t, "stored", []string{"mp y X U1", "oa x X U1"}, w.rawStored())
	})
}
