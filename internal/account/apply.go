package account

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"
)

// applier stores a plan.
type applier struct {
	*change
	*facts
	plan    plan
	freshID string // for a new guest or member
	rebound bool   // the alarm of G2
}

func (a *applier) apply() error {
	for _, step := range []func() error{
		a.nameNewUser, a.storeGuests, a.giveUnionID, a.storeIdentity, a.storeVisitor, a.merge, a.openConflict, a.closeConflicts, a.touch,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return a.log()
}

// nameNewUser puts an id in the place of a new user and stores him.
func (a *applier) nameNewUser() error {
	p := &a.plan
	if p.serve != newGuest && p.serve != newMember {
		return nil
	}
	id, placeholder := a.freshID, p.serve
	for _, s := range []*string{&p.serve, &p.mergeTo, p.fill, &p.setVisitor} {
		if s != nil && *s == placeholder {
			*s = id
		}
	}
	// A guest of an ordinary browser has no row.
	if p.kind == Guest && p.fill == nil && p.setVisitor == "" {
		return nil
	}
	if err := a.insertUser(id, p.kind, birth(a.now)); err != nil {
		return err
	}
	if p.kind == Member {
		return a.emit(EventUserCreated, id, struct{}{})
	}
	return nil
}

// insertUser fails on an id that is taken: it would make two people one.
func (a *applier) insertUser(id string, kind Kind, created time.Time) error {
	return a.exec(`INSERT INTO user (id, kind, created, last_seen) VALUES (?, ?, ?, ?)`,
		id, string(kind), millis(created), millis(a.now))
}

// storeGuests gives a row to guests that get linked or merged now.
func (a *applier) storeGuests() error {
	linked := func(id string) bool {
		return a.plan.fill != nil && *a.plan.fill == id || a.plan.setVisitor == id || a.plan.mergeTo == id && len(a.plan.merges) > 0 ||
			slices.ContainsFunc(a.plan.merges, func(m *user) bool { return m.id == id })
	}
	if a.came == nil || a.came.stored || !linked(a.came.id) {
		return nil
	}
	return a.insertUser(a.came.id, Guest, a.came.created)
}

func (a *applier) giveUnionID() error {
	if a.plan.fill == nil {
		return nil
	}
	return a.exec(`INSERT INTO unionid (scope, unionid, user_id) VALUES ('', ?, nullif(?, ''))
		ON CONFLICT (scope, unionid) DO UPDATE SET user_id = excluded.user_id`, a.unionID, *a.plan.fill)
}

func (a *applier) storeIdentity() error {
	if !a.plan.linkRow {
		return nil
	}
	err := a.exec(`INSERT INTO identity (appid, openid, scope, unionid, created) VALUES (?, ?, '', ?, ?)
		ON CONFLICT (appid, openid) DO UPDATE SET unionid = excluded.unionid, user_id = NULL`,
		a.in.AppID, a.in.OpenID, a.unionID, millis(a.now))
	if err != nil {
		return fmt.Errorf("storing an identity: %w", err)
	}
	subject := a.plan.serve
	if a.plan.fill == nil && a.owner != nil && a.owner.userID != "" {
		subject = a.owner.userID
	}
	return a.emit(EventIdentityLinked, subject, Linked{AppID: a.in.AppID, OpenID: a.in.OpenID, UnionID: a.unionID})
}

func (a *applier) storeVisitor() error {
	if a.plan.dropVisit {
		return a.exec(`DELETE FROM visitor WHERE appid = ? AND openid = ?`, a.in.AppID, a.in.OpenID)
	}
	if a.plan.setVisitor == "" {
		return nil
	}
	return a.exec(`INSERT INTO visitor (appid, openid, guest_id, created) VALUES (?, ?, ?, ?)
		ON CONFLICT (appid, openid) DO UPDATE SET guest_id = excluded.guest_id`,
		a.in.AppID, a.in.OpenID, a.plan.setVisitor, millis(a.now))
}

// merge replaces guests.
func (a *applier) merge() error {
	into := survivor{a.plan.mergeTo, Guest, a.plan.reason}
	if a.mergesIntoMember() {
		into.kind = Member
	}
	for _, from := range a.plan.merges {
		if err := a.replace(from, into); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) mergesIntoMember() bool {
	for _, u := range []*user{a.ownerOf, a.imported, a.came, a.target} {
		if u != nil && u.id == a.plan.mergeTo {
			return u.kind == Member
		}
	}
	return a.plan.serve == a.plan.mergeTo && a.plan.kind == Member
}

// openConflict records what was refused, once while it is open.
func (a *applier) openConflict() error {
	if a.plan.conflict == nil || a.plan.open {
		return nil
	}
	c := Conflict{ID: rand.Text(), Code: a.plan.code, Parties: a.plan.conflict}
	res, err := a.tx.ExecContext(a.ctx, `INSERT INTO conflict (id, code, parties, appid, openid, opened) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, c.ID, string(c.Code), strings.Join(c.Parties, "\n"), a.in.AppID, a.in.OpenID, millis(a.now))
	if err != nil {
		return fmt.Errorf("opening a conflict: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if err := a.emit(EventConflictOpened, c.ID, c); err != nil || c.Code != CodeUnionIDChanged {
		return err
	}
	return a.watchRebinding()
}

// More changed unionids of one app than this, an hour, are not people: the app
// was bound to another Open Platform account.
const reboundLimit = 20

// watchRebinding raises the alarm as the limit is passed, and then not again.
func (a *applier) watchRebinding() error {
	var n int
	err := a.tx.QueryRowContext(a.ctx, `SELECT count(*) FROM conflict WHERE appid = ? AND code = ? AND opened > ? AND closed IS NULL`,
		a.in.AppID, string(CodeUnionIDChanged), millis(a.now.Add(-time.Hour))).Scan(&n)
	if err != nil {
		return fmt.Errorf("counting changed unionids: %w", err)
	}
	a.rebound = n == reboundLimit+1
	return nil
}

// closeConflicts ends what was refused for this openid before and has
// succeeded now.
func (a *applier) closeConflicts() error {
	for _, c := range a.plan.over {
		if err := a.exec(`UPDATE conflict SET closed = ? WHERE id = ?`, millis(a.now), c.ID); err != nil {
			return fmt.Errorf("closing a conflict: %w", err)
		}
		if err := a.emit(EventConflictClosed, c.ID, c); err != nil {
			return err
		}
	}
	return nil
}

// touch notes that a member was here.
func (a *applier) touch() error {
	if a.plan.seen == nil {
		return nil
	}
	return a.exec(`UPDATE user SET last_seen = ? WHERE id = ?`, millis(a.now), a.plan.seen.id)
}
