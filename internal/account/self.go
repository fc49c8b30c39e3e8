package account

import (
	"context"
	"database/sql"
	"fmt"
)

// Self is what a person is shown of himself.
type Self struct {
	Summary
	Identities []PersonIdentity
}

// Self returns what a person is shown of himself. A replaced id stands for its
// survivor.
//
// Errors: ErrUnknownUser, ErrUserCancelled.
func (db *DB) Self(ctx context.Context, id string) (Self, error) {
	var s Self
	err := db.inReadTx(ctx, func(tx *sql.Tx) error {
		who, err := living(ctx, tx, id)
		if err != nil {
			return err
		}
		if s.Summary, err = db.summary(who); err != nil {
			return err
		}
		s.Identities, err = readIdentities(ctx, tx, who.id)
		return err
	})
	if err != nil {
		return Self{}, fmt.Errorf("reading a person's own data: %w", err)
	}
	return s, nil
}

// Proofs are a phone and a WeChat account that one person has proved just now.
// Where each is another member's he has two accounts.
type Proofs struct {
	Phone                  Phone
	AppID, OpenID, UnionID string // UnionID may be unknown
	// UserID is the member in whose session they were proved: of him the phone
	// is not the only proof.
	UserID string
}

// owners returns the two members whom the proofs name: from, who would be
// replaced, and to. The one who has the phone stays, for the other would cost
// him the number; of two who have one, the older.
//
// Errors: ErrUnknownUser where nobody has one of them.
func (p Proofs) owners(ctx context.Context, q querier, number phone) (from, to string, err error) {
	to, err = text(ctx, q, `SELECT id FROM wxgate_user WHERE phone_key = ?`, number.key)
	if err != nil {
		return "", "", fmt.Errorf("reading whose a phone is: %w", err)
	}
	if p.UnionID != "" {
		from, err = text(ctx, q, `SELECT user_id FROM wxgate_unionid WHERE scope = '' AND unionid = ?`, p.UnionID)
	}
	if from == "" && err == nil {
		var at place
		at, err = readPlace(ctx, q, p.AppID, p.OpenID)
		from = at.owner
	}
	if err != nil {
		return "", "", fmt.Errorf("reading whose a WeChat account is: %w", err)
	}
	if number.key == "" || from == "" || to == "" {
		return "", "", ErrUnknownUser
	}
	users, err := readUsers(ctx, q, from, to)
	if err != nil {
		return "", "", err
	}
	if f, t := users[from], users[to]; f != nil && t != nil && f.phoneKey != "" && f.olderThan(t) {
		from, to = to, from
	}
	return from, to, nil
}
