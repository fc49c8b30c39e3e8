package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Match is a user whom Find has found.
type Match struct {
	Summary
	// By says as what: user_id, previous_id, phone, openid or unionid.
	By    string `json:"by"`
	AppID string `json:"appid,omitempty"` // of an openid
}

// Find returns the users whom a text names: as user id, replaced id, phone
// number in whatever form, openid or unionid. None is no error.
func (db *DB) Find(ctx context.Context, term string) ([]Match, error) {
	matches := []Match{}
	err := db.inReadTx(ctx, func(tx *sql.Tx) error {
		f := finder{ctx: ctx, tx: tx, db: db}
		for _, find := range []func(string) error{f.byID, f.byPhone, f.byUnionID, f.byOpenID} {
			if err := find(term); err != nil {
				return err
			}
		}
		matches = append(matches[:0], f.found...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("finding a person: %w", err)
	}
	return matches, nil
}

type finder struct {
	ctx   context.Context
	tx    *sql.Tx
	db    *DB
	found []Match
}

// add notes a user as found, if there is one.
func (f *finder) add(id, by, appID string) error {
	if id == "" {
		return nil
	}
	u, err := person(f.ctx, f.tx, id)
	if errors.Is(err, ErrUnknownUser) {
		return nil
	}
	if err != nil {
		return err
	}
	if by == "user_id" && u.id != id {
		by = "previous_id"
	}
	s, err := f.db.summary(u)
	f.found = append(f.found, Match{s, by, appID})
	return err
}

func (f *finder) byID(term string) error { return f.add(term, "user_id", "") }

func (f *finder) byPhone(term string) error {
	number, err := ParsePhone(term)
	if err != nil {
		return nil // not a phone number
	}
	p, err := f.db.phone(number)
	if err != nil {
		return err
	}
	id, err := text(f.ctx, f.tx, `SELECT id FROM wxgate_user WHERE phone_key = ?`, p.key)
	if err != nil {
		return err
	}
	return f.add(id, "phone", "")
}

func (f *finder) byUnionID(term string) error {
	id, err := text(f.ctx, f.tx, `SELECT user_id FROM wxgate_unionid WHERE scope = '' AND unionid = ?`, term)
	if err != nil {
		return err
	}
	return f.add(id, "unionid", "")
}

// byOpenID asks app by app, for which there is an index.
func (f *finder) byOpenID(term string) error {
	for appID := ""; ; {
		next, err := text(f.ctx, f.tx, `SELECT min(appid) FROM (
			SELECT min(appid) AS appid FROM wxgate_identity WHERE appid > ? UNION ALL SELECT min(appid) FROM wxgate_visitor WHERE appid > ?) AS a`, appID, appID)
		if err != nil || next == "" {
			return err
		}
		appID = next
		p, err := readPlace(f.ctx, f.tx, appID, term)
		if err != nil {
			return err
		}
		if err := f.add(p.owner, "openid", appID); err != nil {
			return err
		}
	}
}
