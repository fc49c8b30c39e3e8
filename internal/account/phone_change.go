package account

import (
	"context"
	"fmt"
)

// PhoneOf returns the phone of a user; empty if he has none. A replaced id
// stands for its survivor.
//
// Errors: ErrUnknownUser, ErrUserCancelled.
func (db *DB) PhoneOf(ctx context.Context, userID string) (Phone, error) {
	u, err := living(ctx, db.read, userID)
	if err != nil {
		return "", fmt.Errorf("reading a phone: %w", err)
	}
	if u.phoneKey == "" {
		return "", nil
	}
	return db.openPhone(u.id, u.phoneSealed)
}

// PhoneChange gives a member another phone in the place of his own (P6).
type PhoneChange struct {
	UserID string // a replaced id stands for its survivor
	To     Phone  // verified in this very call
	Proof  PhoneProof
}

// PhoneProof is what a person has proved just now, besides his new phone: the
// phone he has had so far, or a WeChat account of his. The zero PhoneProof
// proves nothing.
type PhoneProof struct {
	Phone                  Phone
	AppID, OpenID, UnionID string // UnionID is empty when WeChat did not tell it
}

// ChangePhone releases a member's phone and gives him the new one. It changes
// nothing where the proof is not his, CodePhoneChangeNeedsFlow, or where the new
// phone is another's, CodePhoneOwnedByOtherUser. Conflicts about just this close.
//
// Errors: ErrUnknownUser, ErrUserCancelled, ErrNotMember.
func (db *DB) ChangePhone(ctx context.Context, p PhoneChange) (Outcome, error) {
	to, err := db.phone(p.To)
	if err != nil {
		return Outcome{}, fmt.Errorf("changing a phone: %w", err)
	}
	out := Outcome{Kind: Member}
	events, err := db.operate(ctx, By{}, func(c *change) error {
		who, err := living(c.ctx, c.tx, p.UserID)
		if err != nil {
			return err
		}
		if who.kind != Member {
			return ErrNotMember
		}
		out.UserID = who.id
		out.Code, err = c.changePhone(who, to, p.Proof)
		return err
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("changing a phone: %w", err)
	}
	out.Events = events
	return out, nil
}

func (c *change) changePhone(who *user, to phone, proof PhoneProof) (Code, error) {
	owner, err := text(c.ctx, c.tx, `SELECT id FROM wxgate_user WHERE phone_key = ?`, to.key)
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the owner of a phone: %w", err)
	case owner == who.id:
		return CodeOK, nil
	case owner != "":
		return CodePhoneOwnedByOtherUser, nil
	}
	if ok, err := c.proves(who, proof); err != nil || !ok {
		return CodePhoneChangeNeedsFlow, err
	}
	if err := c.releasePhone(who); err != nil {
		return "", err
	}
	if err := c.bindPhone(who.id, to); err != nil {
		return "", err
	}
	over, err := readConflictRecords(c.ctx, c.tx, `WHERE wants = ? AND open_as IS NOT NULL`, wantsPhone(who.id, to.key))
	if err != nil {
		return "", err
	}
	return CodeOK, c.closeConflicts(over)
}

// proves says whether what was proved is the user's.
func (c *change) proves(who *user, p PhoneProof) (bool, error) {
	if p.Phone != "" {
		old, err := c.db.phone(p.Phone)
		return err == nil && old.key == who.phoneKey, err
	}
	if p.OpenID == "" {
		return false, nil
	}
	at, err := readPlace(c.ctx, c.tx, p.AppID, p.OpenID)
	if err != nil {
		return false, err
	}
	if row := at.identity; row != nil {
		contradicts := p.UnionID != "" && row.UnionID != "" && !row.StandIn && row.UnionID != p.UnionID // G2
		return at.owner == who.id && !contradicts, nil
	}
	if p.UnionID == "" {
		return false, nil
	}
	owner, err := text(c.ctx, c.tx, `SELECT user_id FROM wxgate_unionid WHERE scope = '' AND unionid = ?`, p.UnionID)
	if err != nil {
		return false, fmt.Errorf("reading a unionid: %w", err)
	}
	return owner == who.id, nil
}

// bindPhone gives a user who has no phone one that nobody has.
func (c *change) bindPhone(userID string, p phone) error {
	err := c.exec(`UPDATE wxgate_user SET phone_key = ?, phone_sealed = ? WHERE id = ?`, p.key, p.sealed(userID), userID)
	if err != nil {
		return fmt.Errorf("attaching a phone: %w", err)
	}
	c.changed = append(c.changed, Invalidation{UserID: userID})
	return c.emit(EventPhoneBound, userID, Bound{p.number})
}
