package account

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// importBatch is how many users or openids one transaction stores: it locks
// the database for some ten milliseconds, while the gateway works.
const importBatch = 512

// fileUser is what the rows of a file say of one user.
type fileUser struct {
	n, line int
	id      string
	kind    Kind
	own     bool // the file is an export

	created, lastSeen, mergedAt, cancelled, sessionsFrom int64

	mergedInto   string
	targetIsHere bool // the file has the user he is merged into

	phoneKey, phoneSealed string
	phoneLine, skip       int
}

// storedUser is what the database says of a user.
type storedUser struct {
	kind       Kind
	created    int64
	mergedInto string
	cancelled  bool
	phoneKey   string
}

// batch is what a transaction of an import has found and done. A transaction
// that lost a race begins with an empty one.
type batch struct {
	*change
	first    Tally // of users or of openids
	phones   Tally
	waiting  int // openids without a unionid
	problems []Problem
	skipped  []int        // rows of the stage that are left out with all that hangs on them
	leftOut  []string     // the ids of those that are users
	links    []*openIDRow // for Link, when the transaction is over
	blocks   blocks       // of the gateway's own ids
}

func (b *batch) leaveOut(p Problem) { b.problems = append(b.problems, p) }

// users stores the users of the file and their phones.
func (im *importer) users(ctx context.Context) error {
	total, err := im.stage.count(ctx, `SELECT count(*) FROM person`)
	if err != nil {
		return err
	}
	for last := 0; ; {
		im.cfg.Progress(Progress{Stage: StageUsers, Done: last, Total: total})
		people, err := im.stage.people(ctx, last)
		if err != nil {
			return fmt.Errorf("reading the users of the file: %w", err)
		}
		if len(people) == 0 {
			return nil
		}
		b, err := im.transact(ctx, lockSet{users: named(people)}, func(b *batch) error { return im.usersBatch(b, people) })
		if err != nil {
			return fmt.Errorf("storing users: %w", err)
		}
		im.report.Users.plus(b.first)
		im.report.Phones.plus(b.phones)
		for _, n := range b.skipped {
			if err := im.stage.exec(ctx, `UPDATE person SET skip = skip | ? WHERE n = ?`, skipUser, n); err != nil {
				return err
			}
		}
		last = people[len(people)-1].n
	}
}

func (t *Tally) plus(o Tally) {
	t.New += o.New
	t.Known += o.Known
	t.LeftOut += o.LeftOut
}

// transact runs f in a transaction under the locks that a Link takes, and
// reports its problems. In a dry run the transaction only reads.
func (im *importer) transact(ctx context.Context, about lockSet, f func(*batch) error) (*batch, error) {
	var b *batch
	run := im.db.inTx
	if im.cfg.DryRun {
		run = im.db.inReadTx
	}
	err := run(ctx, func(tx *sql.Tx) error {
		b = &batch{change: &change{ctx: ctx, tx: tx, at: time.Now()}}
		if !im.cfg.DryRun {
			if err := im.db.lock(ctx, tx, about); err != nil {
				return err
			}
		}
		if err := f(b); err != nil {
			return err
		}
		return b.log()
	})
	if err != nil {
		return nil, err
	}
	im.db.changed(b.changed)
	for _, p := range b.problems {
		if err := im.problem(p); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (s *stage) people(ctx context.Context, after int) ([]*fileUser, error) {
	rows, err := s.tx.QueryContext(ctx, `
		SELECT p.n, p.line, p.user_id, p.kind, p.own, p.created, p.last_seen, p.merged_into, p.merged_at, p.cancelled, p.sessions_from,
			p.phone_key, p.phone_sealed, p.phone_line, p.skip, t.n IS NOT NULL
		FROM person p LEFT JOIN person t ON t.user_id = p.merged_into AND t.merged_into = '' AND t.skip & 4 = 0
		WHERE p.n > ? ORDER BY p.n LIMIT ?`, after, importBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*fileUser
	for rows.Next() {
		p := &fileUser{}
		err := rows.Scan(&p.n, &p.line, &p.id, &p.kind, &p.own, &p.created, &p.lastSeen, &p.mergedInto, &p.mergedAt, &p.cancelled, &p.sessionsFrom,
			&p.phoneKey, &p.phoneSealed, &p.phoneLine, &p.skip, &p.targetIsHere)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// usersBatch compares users with the database and stores what is new.
func (im *importer) usersBatch(b *batch, people []*fileUser) error {
	if !im.cfg.DryRun {
		if err := lockBlocks(b.ctx, b.tx); err != nil {
			return err
		}
	}
	stored, owners, err := b.readUsers(people)
	if err != nil {
		return err
	}
	if b.blocks, err = readBlocks(b.ctx, b.tx); err != nil {
		return err
	}
	var fresh []*fileUser
	for _, p := range people {
		s := stored[p.id]
		if !im.mayStand(b, p, s, stored[p.mergedInto]) {
			b.first.LeftOut++
			b.skipped, b.leftOut = append(b.skipped, p.n), append(b.leftOut, p.id)
			if p.phoneKey != "" {
				b.phones.LeftOut++
			}
			continue
		}
		attach := b.phoneOf(p, s, owners[p.phoneKey])
		switch {
		case s == nil:
			b.first.New++
			added := *p // for what is decided here is decided again after a lost race
			if !attach {
				added.phoneKey, added.phoneSealed = "", ""
			}
			fresh = append(fresh, &added)
		case attach && !im.cfg.DryRun:
			if err := b.attach(p); err != nil {
				return err
			}
			fallthrough
		default:
			b.first.Known++
		}
	}
	if im.cfg.DryRun || len(fresh) == 0 {
		return nil
	}
	return b.insertPeople(fresh)
}

// mayStand says whether a user of the file may be stored, or is already. Of
// those who are not stored, s, and target for whom he is merged into, are nil.
func (im *importer) mayStand(b *batch, p *fileUser, s, target *storedUser) bool {
	wrong := func(code ProblemCode, stored, detail string) bool {
		b.leaveOut(Problem{Code: code, Left: LeftUser, Lines: []int{p.line}, Count: 1, Users: []string{p.id}, Stored: stored, Detail: detail})
		return false
	}
	reserved := b.blocks.check(p.id, im.db.ids.start())
	switch {
	case p.skip&skipUser != 0: // reported
		return false
	case s == nil && reserved != nil:
		return wrong(IDReserved, "", reserved.Error())
	case s == nil && p.mergedInto != "" && (!p.targetIsHere || slices.Contains(b.leftOut, p.mergedInto) || target != nil && target.mergedInto != ""):
		return wrong(UserDiffers, "", "he is merged into a user whom the file does not have, or who is left out")
	case s == nil:
		return true
	case s.kind != p.kind:
		return wrong(UserDiffers, p.id, "his id is a "+string(s.kind)+"'s here")
	case p.own && s.created != p.created:
		return wrong(UserDiffers, p.id, "he was created at another time here, so he is somebody else")
	case (s.mergedInto != "" || s.cancelled) && p.mergedInto == "" && p.cancelled == 0:
		return wrong(UserGone, p.id, "he is merged or cancelled here")
	case s.mergedInto == "" && !s.cancelled && (p.mergedInto != "" || p.cancelled != 0):
		return wrong(UserGone, p.id, "he is neither merged nor cancelled here")
	}
	return true
}

// phoneOf says whether a user is to get his phone.
func (b *batch) phoneOf(p *fileUser, s *storedUser, owner string) (attach bool) {
	wrong := func(code ProblemCode, stored string) {
		b.phones.LeftOut++
		b.leaveOut(Problem{Code: code, Left: LeftPhone, Lines: []int{p.phoneLine}, Count: 1, Users: []string{p.id}, Stored: stored})
	}
	switch {
	case p.phoneKey == "":
	case p.skip&skipPhone != 0: // reported
		b.phones.LeftOut++
	case owner == p.id:
		b.phones.Known++
	case owner != "":
		wrong(PhoneTwice, owner)
	case s != nil && s.phoneKey != "":
		wrong(UserTwoPhones, p.id)
	default:
		b.phones.New++
		return true
	}
	return false
}

// named are the ids of users and of those they are merged into.
func named(people []*fileUser) (ids []string) {
	for _, p := range people {
		if ids = append(ids, p.id); p.mergedInto != "" {
			ids = append(ids, p.mergedInto)
		}
	}
	return ids
}

// readUsers reads which of the users, and of those they are merged into, are
// stored, and who has their phones.
func (b *batch) readUsers(people []*fileUser) (stored map[string]*storedUser, owners map[string]string, err error) {
	stored, owners = map[string]*storedUser{}, map[string]string{}
	var keys []any
	for _, p := range people {
		if p.phoneKey != "" {
			keys = append(keys, p.phoneKey)
		}
	}
	err = b.among(`SELECT id, kind, created, coalesce(merged_into, ''), CASE WHEN cancelled IS NULL THEN 0 ELSE 1 END, coalesce(phone_key, '')
		FROM wxgate_user WHERE id`, nil, anyOf(named(people)), func(rows *sql.Rows) error {
		var id string
		s := &storedUser{}
		err := rows.Scan(&id, &s.kind, &s.created, &s.mergedInto, &s.cancelled, &s.phoneKey)
		stored[id] = s
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	err = b.among(`SELECT phone_key, id FROM wxgate_user WHERE phone_key`, nil, keys, func(rows *sql.Rows) error {
		var key, id string
		err := rows.Scan(&key, &id)
		owners[key] = id
		return err
	})
	return stored, owners, err
}

// insertPeople stores new users.
func (b *batch) insertPeople(people []*fileUser) error {
	var args []any
	for _, p := range people {
		if p.lastSeen == 0 && !p.own {
			p.lastSeen = millis(b.at) // the shop vouches for him today
		}
		if p.created == 0 && !p.own {
			p.created = millis(b.at)
		}
		args = append(args, p.id, string(p.kind), p.created, p.lastSeen, orNull(p.phoneKey), orNull(p.phoneSealed),
			orNull(p.mergedInto), orNull(p.mergedAt), orNull(p.cancelled), orNull(p.sessionsFrom))
	}
	return b.insert("wxgate_user (id, kind, created, last_seen, phone_key, phone_sealed, merged_into, merged_at, cancelled, sessions_from)", 10, args)
}

// attach gives a stored user his phone.
func (b *batch) attach(p *fileUser) error {
	b.changed = append(b.changed, Invalidation{UserID: p.id})
	res, err := b.tx.ExecContext(b.ctx, `UPDATE wxgate_user SET phone_key = ?, phone_sealed = ?
		WHERE id = ? AND phone_key IS NULL AND merged_into IS NULL AND cancelled IS NULL`, p.phoneKey, p.phoneSealed, p.id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return errMoved
}

// among runs scan for each row whose column, the last of the query, has one of
// some values.
func (b *batch) among(query string, args, values []any, scan func(*sql.Rows) error) error {
	if len(values) == 0 {
		return nil
	}
	values = fill(values)
	return queryRows(b.ctx, b.tx, query+in(len(values)), append(args, values...), scan)
}

// insert stores many rows of so many columns.
func (b *batch) insert(into string, columns int, args []any) error {
	row := "(" + marks(columns) + ")"
	for n := importBatch; n > 0; n /= lengthStep {
		for len(args) >= n*columns {
			err := b.exec("INSERT INTO "+into+" VALUES "+row+strings.Repeat(", "+row, n-1), args[:n*columns]...)
			if err != nil {
				return err
			}
			args = args[n*columns:]
		}
	}
	return nil
}

// orNull is NULL instead of a zero value.
func orNull[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}
