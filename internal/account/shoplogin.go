package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrShopUserID means that the id with which the shop has logged somebody in
// cannot be a member's: it is malformed, a guest's, or one that the gateway
// gives out itself.
var ErrShopUserID = errors.New("the shop's user id cannot be a member's")

// enrol makes the member whom the shop has logged in, with exactly that id,
// unless he is there (G0).
func (db *DB) enrol(ctx context.Context, in Input) ([]Event, error) {
	id := in.ShopUserID
	if err := CheckUserID(id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShopUserID, err)
	}
	if in.UserKind == Guest && in.UserID == id { // who may have no row yet
		return nil, fmt.Errorf("%w: it is the session's guest", ErrShopUserID)
	}
	var c *change
	there, err := db.isMember(ctx, db.read, id)
	if there || err != nil {
		return nil, err
	}
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		c = &change{ctx: ctx, tx: tx, at: time.Now()}
		if err := db.lock(ctx, tx, lockSet{}); err != nil {
			return err
		}
		there, err := db.isMember(ctx, tx, id)
		if there || err != nil {
			return err
		}
		if err := db.checkForeign(ctx, tx, id); err != nil {
			if block := (*IDBlockError)(nil); errors.As(err, &block) {
				return fmt.Errorf("%w: %w", ErrShopUserID, err)
			}
			return err
		}
		if err := c.insertUser(id, Member, birth(c.at)); err != nil {
			return err
		}
		return c.emit(EventUserCreated, id, struct{}{})
	})
	if err != nil {
		return nil, err
	}
	return c.events, nil
}

// isMember says whether an id is a member's already. A guest's is refused.
func (db *DB) isMember(ctx context.Context, q querier, id string) (bool, error) {
	u, err := readUser(ctx, q, id)
	if err == nil && u != nil && u.kind != Member {
		err = fmt.Errorf("%w: it is a %s's", ErrShopUserID, u.kind)
	}
	return u != nil, err
}

// readNamed reads the member whom the shop has logged in, or his survivor.
func (f *facts) readNamed(ctx context.Context, q querier) (err error) {
	if f.in.ShopUserID == "" {
		return nil
	}
	if f.named, err = readUser(ctx, q, f.in.ShopUserID); err == nil && f.named != nil && f.named.mergedInto != "" {
		f.named, err = readUser(ctx, q, f.named.mergedInto)
	}
	f.torn = f.torn || f.named == nil || f.named.mergedInto != ""
	return err
}

// shopLogin puts the member whom the shop has logged in into the place of the
// session's. The session's guest stays its guest, and merges into him if he is
// free, as after any other login.
func (d *decider) shopLogin() {
	if d.named != nil && !d.named.cancelled && d.named.kind == Member {
		d.member = d.named
	}
}
