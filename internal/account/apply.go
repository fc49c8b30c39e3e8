package account

import (
	"fmt"
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
		a.nameNewUser, a.storeGuest, a.attachPhone, a.giveUnionID, a.storeIdentity, a.copyOwner, a.dropStandIn, a.storeVisitor,
		a.merge, a.openConflict, a.closeMade, a.touch,
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
	placeholder := p.serve
	for _, s := range []*string{&p.serve, &p.into.id, p.fill, &p.bindPhone, &p.setVisitor} {
		if s != nil && *s == placeholder {
			*s = a.freshID
		}
	}
	// A guest of an ordinary browser has no row.
	if p.kind == Guest && p.fill == nil && p.setVisitor == "" {
		return nil
	}
	if err := a.insertUser(a.freshID, p.kind, birth(a.now)); err != nil {
		return err
	}
	if p.kind == Member {
		return a.emit(EventUserCreated, a.freshID, struct{}{})
	}
	return nil
}

// insertUser fails on an id that is taken: it would make two people one.
func (c *change) insertUser(id string, kind Kind, created time.Time) error {
	err := c.exec(`INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES (?, ?, ?, ?)`,
		id, string(kind), millis(created), millis(c.at))
	if err != nil {
		return fmt.Errorf("storing a user: %w", err)
	}
	return nil
}

// storeGuest gives a row to the session's guest if he gets linked or merged.
func (a *applier) storeGuest() error {
	if a.came == nil || a.came.stored || !a.plan.moves(a.came.id) {
		return nil
	}
	return a.insertUser(a.came.id, Guest, a.came.created)
}

// moves says whether a user gets linked or merged.
func (p *plan) moves(id string) bool {
	for _, m := range p.merges {
		if m.id == id || p.into.id == id {
			return true
		}
	}
	return p.fill != nil && *p.fill == id || p.setVisitor == id
}

func (a *applier) attachPhone() error {
	to := a.plan.bindPhone
	if to == "" {
		return nil
	}
	return a.bindPhone(to, a.phone)
}

// giveUnionID makes the unionid the winner's. Under one_to_one the database
// refuses a member a second one.
func (a *applier) giveUnionID() error {
	if a.plan.fill == nil {
		return nil
	}
	query := `INSERT INTO wxgate_unionid (user_id, apart, scope, unionid) VALUES (nullif(?, ''), ?, ?, ?)`
	if a.owner != nil {
		query = `UPDATE wxgate_unionid SET user_id = nullif(?, ''), apart = ? WHERE scope = ? AND unionid = ?`
	}
	if err := a.exec(query, *a.plan.fill, a.rules.apart(a.unionID), a.scope, a.unionID); err != nil {
		return fmt.Errorf("storing a unionid: %w", err)
	}
	return nil
}

// apart is what keeps the unionids of one user apart where he may have several
// of one scope. Otherwise it is empty, and the database refuses the second.
func (r Rules) apart(unionID string) string {
	if r.Linking == ManyUnionIDs {
		return unionID
	}
	return ""
}

func (a *applier) storeIdentity() error {
	if !a.plan.linkRow {
		return nil
	}
	owner := a.unionIDUser()
	args := []any{a.scope, a.unionID, owner, millis(a.now), a.in.AppID, a.in.OpenID}
	query := `INSERT INTO wxgate_identity (scope, unionid, owner_id, created, appid, openid) VALUES (?, ?, nullif(?, ''), ?, ?, ?)`
	if a.own != nil {
		query = `UPDATE wxgate_identity SET scope = ?, unionid = ?, owner_id = nullif(?, ''), user_id = NULL WHERE appid = ? AND openid = ?`
		args = []any{a.scope, a.unionID, owner, a.in.AppID, a.in.OpenID}
	}
	if err := a.exec(query, args...); err != nil {
		return fmt.Errorf("storing an identity: %w", err)
	}
	linked := Linked{AppID: a.in.AppID, OpenID: a.in.OpenID}
	if a.scope == "" {
		linked.UnionID = a.unionID
	}
	return a.emit(EventIdentityLinked, owner, linked)
}

// copyOwner copies the unionid's user to the identities that are stored, where
// he has changed, or where the openid's has no true copy.
func (a *applier) copyOwner() error {
	owner := a.unionIDUser()
	untrue := a.own != nil && a.own.unionIDKey == a.unionIDKey && a.own.copied != owner
	if a.owner == nil || a.owner.userID == owner && !untrue {
		return nil
	}
	err := a.exec(`UPDATE wxgate_identity SET owner_id = nullif(?, '') WHERE scope = ? AND unionid = ?`, owner, a.scope, a.unionID)
	if err != nil {
		return fmt.Errorf("copying the user of a unionid: %w", err)
	}
	return nil
}

// unionIDUser is whose the unionid is now.
func (a *applier) unionIDUser() string {
	switch {
	case a.plan.fill != nil:
		return *a.plan.fill
	case a.owner != nil:
		return a.owner.userID
	}
	return ""
}

// dropStandIn removes the stand-in that a real unionid has replaced.
func (a *applier) dropStandIn() error {
	if !a.plan.linkRow || a.replaced == (unionIDKey{}) {
		return nil
	}
	if err := a.exec(`DELETE FROM wxgate_unionid WHERE scope = ? AND unionid = ?`, a.replaced.scope, a.replaced.unionID); err != nil {
		return fmt.Errorf("removing a stand-in: %w", err)
	}
	return nil
}

func (a *applier) storeVisitor() error {
	if a.plan.dropVisit {
		return a.exec(`DELETE FROM wxgate_visitor WHERE appid = ? AND openid = ?`, a.in.AppID, a.in.OpenID)
	}
	if a.plan.setVisitor == "" {
		return nil
	}
	if a.visitor != nil {
		return a.exec(`UPDATE wxgate_visitor SET guest_id = ? WHERE appid = ? AND openid = ?`, a.plan.setVisitor, a.in.AppID, a.in.OpenID)
	}
	return a.exec(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created) VALUES (?, ?, ?, ?)`,
		a.in.AppID, a.in.OpenID, a.plan.setVisitor, millis(a.now))
}

// merge replaces guests.
func (a *applier) merge() error {
	for _, from := range a.plan.merges {
		if err := a.replace(from, a.plan.into); err != nil {
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
	return a.exec(`UPDATE wxgate_user SET last_seen = ? WHERE id = ?`, millis(a.now), a.plan.seen.id)
}
