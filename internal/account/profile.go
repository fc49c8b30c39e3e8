package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Profile is what somebody has given of himself in one app, with his own words
// and a picture of his. It is data for display to himself there and says
// nothing of who he is. Empty: not given.
type Profile struct {
	AppID    string    `json:"appid"`
	OpenID   string    `json:"openid"`
	Nickname string    `json:"nickname,omitempty"` // at most MaxNickname bytes
	Avatar   string    `json:"avatar,omitempty"`   // a URL, at most MaxAvatar bytes
	Changed  time.Time `json:"changed"`
}

// What a database holds of a Profile, in bytes.
const (
	MaxNickname = 255
	MaxAvatar   = 1024
)

// Profile returns what somebody has given in an app: a Profile without values
// where he has given nothing.
func (db *DB) Profile(ctx context.Context, appID, openID string) (Profile, error) {
	var p Profile
	err := db.inReadTx(ctx, func(tx *sql.Tx) (err error) {
		p, err = readProfile(ctx, tx, appID, openID)
		return err
	})
	if err != nil {
		return Profile{}, fmt.Errorf("reading a profile: %w", err)
	}
	return p, nil
}

// KeepProfile stores what somebody gives of himself now and returns what is
// stored then: what he does not give stays as it was.
func (db *DB) KeepProfile(ctx context.Context, given Profile) (Profile, error) {
	if len(given.Nickname) > MaxNickname || len(given.Avatar) > MaxAvatar {
		return Profile{}, errors.New("keeping a profile: too long")
	}
	var p Profile
	err := db.inRepeatableTx(ctx, func(tx *sql.Tx) (err error) {
		if p, err = readProfile(ctx, tx, given.AppID, given.OpenID); err != nil {
			return err
		}
		first := p.Changed.IsZero()
		if given.Nickname != "" {
			p.Nickname = given.Nickname
		}
		if given.Avatar != "" {
			p.Avatar = given.Avatar
		}
		p.Changed = fromMillis(millis(time.Now()))
		query := `UPDATE wxgate_profile SET nickname = ?, avatar = ?, changed = ? WHERE appid = ? AND openid = ?`
		if first {
			query = `INSERT INTO wxgate_profile (nickname, avatar, changed, appid, openid) VALUES (?, ?, ?, ?, ?)`
		}
		_, err = tx.ExecContext(ctx, query, p.Nickname, p.Avatar, millis(p.Changed), p.AppID, p.OpenID)
		return err
	})
	if err != nil {
		return Profile{}, fmt.Errorf("keeping a profile: %w", err)
	}
	return p, nil
}

func readProfile(ctx context.Context, q querier, appID, openID string) (Profile, error) {
	p := Profile{AppID: appID, OpenID: openID}
	var changed int64
	err := q.QueryRowContext(ctx, `SELECT nickname, avatar, changed FROM wxgate_profile WHERE appid = ? AND openid = ?`, appID, openID).
		Scan(&p.Nickname, &p.Avatar, &changed)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	p.Changed = fromMillis(changed)
	return p, err
}

// readProfiles reads what was given under any of the openids of a person.
func readProfiles(ctx context.Context, q querier, rows ...[]PersonIdentity) (all []Profile, err error) {
	for _, r := range slices.Concat(rows...) {
		p, err := readProfile(ctx, q, r.AppID, r.OpenID)
		if err != nil {
			return nil, fmt.Errorf("reading profiles: %w", err)
		}
		if !p.Changed.IsZero() {
			all = append(all, p)
		}
	}
	return all, nil
}

// removeProfiles removes what was given under openids that are removed.
func (c *change) removeProfiles(rows []PersonIdentity) error {
	for _, r := range rows {
		if err := c.exec(`DELETE FROM wxgate_profile WHERE appid = ? AND openid = ?`, r.AppID, r.OpenID); err != nil {
			return fmt.Errorf("removing a profile: %w", err)
		}
	}
	return nil
}
