package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Unbinding names a WeChat account of a user: by its unionid, by an openid, or
// by the app alone where he has only one there.
type Unbinding struct {
	UserID  string // a replaced id stands for its survivor
	UnionID string
	AppID   string
	OpenID  string
	DryRun  bool // report only: the Outcome is what it would be
	By      By
}

// Unbind removes all rows of a WeChat account (O1), with one identity.unlinked
// each. All sessions of the user end, for one that the WeChat account has
// opened would bind it again. The last credential is refused with
// CodeLastCredential: a user must have a phone or another WeChat account left.
//
// Errors: ErrUnknownUser, ErrUserCancelled, ErrUnknownIdentity (also for one
// that was unbound before), ErrSeveralIdentities, ErrNoReason.
func (db *DB) Unbind(ctx context.Context, u Unbinding) (Outcome, error) {
	var out Outcome
	_, err := db.operate(ctx, u.By, func(c *change) (err error) {
		out, err = c.unbind(u)
		out.Events = c.events
		if err == nil && u.DryRun {
			err = errDryRun
		}
		return err
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return Outcome{}, fmt.Errorf("unbinding a WeChat account: %w", err)
	}
	return out, nil
}

func (c *change) unbind(u Unbinding) (Outcome, error) {
	who, err := living(c.ctx, c.tx, u.UserID)
	if err != nil {
		return Outcome{}, err
	}
	all, err := readIdentities(c.ctx, c.tx, who.id)
	if err != nil {
		return Outcome{}, err
	}
	gone, err := u.among(all)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{UserID: who.id, Kind: who.kind, Code: CodeOK}
	if out.Kind == Guest {
		out.Born = who.created
	}
	if len(gone) == len(all) && who.phoneKey == "" {
		out.Code = CodeLastCredential
		return out, nil
	}
	if err := c.removeIdentities(gone); err != nil {
		return Outcome{}, err
	}
	for _, r := range gone {
		unlinked := Linked{AppID: r.AppID, OpenID: r.OpenID}
		if !r.StandIn {
			unlinked.UnionID = r.UnionID
		}
		if err := c.emit(EventIdentityUnlinked, who.id, unlinked); err != nil {
			return Outcome{}, err
		}
	}
	if err := c.endSessions(who.id); err != nil {
		return Outcome{}, err
	}
	return out, c.record(u.By, deed{ActionUnbind, who.id, map[string]any{"identities": gone}})
}

// among returns the rows of the one WeChat account that is named.
func (u Unbinding) among(all []PersonIdentity) ([]PersonIdentity, error) {
	if u.UnionID == "" && u.AppID == "" && u.OpenID == "" {
		return nil, ErrUnknownIdentity
	}
	var named *PersonIdentity
	for i, r := range all {
		switch {
		case u.UnionID != "" && r.UnionID != u.UnionID, u.AppID != "" && r.AppID != u.AppID, u.OpenID != "" && r.OpenID != u.OpenID:
		case named != nil && !named.sameWeChat(r):
			return nil, ErrSeveralIdentities
		default:
			named = &all[i]
		}
	}
	if named == nil {
		return nil, ErrUnknownIdentity
	}
	return slices.DeleteFunc(slices.Clone(all), func(r PersonIdentity) bool { return !named.sameWeChat(r) }), nil
}

// removeIdentities removes rows, and their unionids and profiles with them: of a
// unionid either all rows are given or none.
func (c *change) removeIdentities(rows []PersonIdentity) error {
	if err := c.removeProfiles(rows); err != nil {
		return err
	}
	for _, r := range rows {
		if err := c.exec(`DELETE FROM wxgate_identity WHERE appid = ? AND openid = ?`, r.AppID, r.OpenID); err != nil {
			return fmt.Errorf("removing an identity: %w", err)
		}
	}
	for _, r := range rows {
		if r.UnionID == "" {
			continue
		}
		if err := c.removeUnionID(r.weChat()); err != nil {
			return err
		}
	}
	return nil
}

// removeUnionID removes a unionid whose identities are gone.
func (c *change) removeUnionID(id unionIDKey) error {
	if err := c.exec(`DELETE FROM wxgate_unionid WHERE scope = ? AND unionid = ?`, id.scope, id.unionID); err != nil {
		return fmt.Errorf("removing a unionid: %w", err)
	}
	return nil
}

// Cancelling names the user to cancel: by his id, or by an openid, as WeChat
// names somebody who withdrew his grant.
type Cancelling struct {
	UserID        string // either this; a replaced id stands for its survivor
	AppID, OpenID string // or this
	DryRun        bool   // report only: the Outcome is what it would be
	By            By
}

// Cancel cancels the account of a member or of a guest with a row (O2): his
// rows go, his phone is free, all his sessions are dead, open conflicts that
// name him close, user.cancelled is written, and who comes back is a new
// person. The Outcome is nobody; to cancel again changes nothing.
//
// Errors: ErrUnknownUser (also for an openid that nobody has), ErrNoReason.
func (db *DB) Cancel(ctx context.Context, x Cancelling) (Outcome, error) {
	out := Outcome{Code: CodeOK}
	_, err := db.operate(ctx, x.By, func(c *change) error {
		err := c.cancelNamed(x)
		out.Events = c.events
		if err == nil && x.DryRun {
			err = errDryRun
		}
		return err
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return Outcome{}, fmt.Errorf("cancelling a user: %w", err)
	}
	return out, nil
}

// cancelNamed finds whom an id or an openid names, and cancels him.
func (c *change) cancelNamed(x Cancelling) error {
	h, err := x.holds(c.ctx, c.tx)
	if err != nil || h.who != nil && h.who.cancelled {
		return err
	}
	if err := c.removeIdentities(h.rows); err != nil {
		return err
	}
	if h.who == nil {
		return c.record(x.By, deed{ActionCancel, x.AppID, map[string]string{"openid": x.OpenID}})
	}
	if err := c.cancel(h.who); err != nil {
		return err
	}
	return c.record(x.By, deed{ActionCancel, h.who.id, struct{}{}})
}

// holds reads who is to be cancelled, with his rows. A WeChat account that has
// no user id yet is nobody's.
func (x Cancelling) holds(ctx context.Context, q querier) (h holding, err error) {
	id := x.UserID
	if id == "" {
		p, err := readPlace(ctx, q, x.AppID, x.OpenID)
		if err != nil {
			return h, err
		}
		if p.owner == "" && p.identity != nil {
			h.rows, err = readWeChat(ctx, q, *p.identity)
			return h, err
		}
		id = p.owner
	}
	who, err := person(ctx, q, id)
	if err != nil {
		return h, err
	}
	return holds(ctx, q, who)
}

// cancel cancels a user whose identities are gone.
func (c *change) cancel(who *user) error {
	visitors, err := readVisitors(c.ctx, c.tx, who.id)
	if err != nil {
		return err
	}
	if err := c.removeProfiles(visitors); err != nil {
		return err
	}
	if err := c.exec(`DELETE FROM wxgate_visitor WHERE guest_id = ?`, who.id); err != nil {
		return fmt.Errorf("removing visitors: %w", err)
	}
	err = c.exec(`UPDATE wxgate_user SET cancelled = ?, phone_key = NULL, phone_sealed = NULL WHERE id = ?`, millis(c.at), who.id)
	if err != nil {
		return err
	}
	moot, err := openConflictsOf(c.ctx, c.tx, who.id)
	if err != nil {
		return err
	}
	if err := c.closeConflicts(moot); err != nil {
		return err
	}
	c.changed = append(c.changed, Invalidation{UserID: who.id})
	return c.emit(EventUserCancelled, who.id, struct{}{})
}
