package account

import (
	"context"
	"database/sql"
	"fmt"
)

// Contact is what the shop's programs may ask about a user: who he is now and
// where WeChat knows him.
type Contact struct {
	ID            string
	Kind          Kind
	PhoneVerified bool
	Previous      []PreviousID     // newest first
	Identities    []PersonIdentity // openids whose unionid is unknown included
}

// Contact returns what the shop's programs may ask about a user. A replaced id
// stands for its survivor.
//
// Errors: ErrUnknownUser, ErrUserCancelled.
func (db *DB) Contact(ctx context.Context, id string) (Contact, error) {
	var c Contact
	err := db.inReadTx(ctx, func(tx *sql.Tx) error {
		u, err := living(ctx, tx, id)
		if err != nil {
			return err
		}
		c = Contact{ID: u.id, Kind: u.kind, PhoneVerified: u.phoneKey != ""}
		if c.Previous, err = readPrevious(ctx, tx, u.id); err != nil {
			return err
		}
		if c.Identities, err = readIdentities(ctx, tx, u.id); err != nil {
			return err
		}
		visitors, err := readVisitors(ctx, tx, u.id)
		c.Identities = append(c.Identities, visitors...)
		return err
	})
	if err != nil {
		return Contact{}, fmt.Errorf("reading a user: %w", err)
	}
	return c, nil
}
