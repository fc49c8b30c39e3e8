package account

import (
	"context"
	"errors"
	"fmt"
)

// MaxOpenIDMoves bounds one MapOpenIDs, so that its transaction stays short.
const MaxOpenIDMoves = 1000

// maxID is the length of the longest id that is stored, in bytes.
const maxID = 64

// OpenIDMove says which openid a person has since an official account moved.
type OpenIDMove struct {
	OldAppID, OldOpenID, NewAppID, NewOpenID string
}

// OpenIDMap is a part of an openid map.
type OpenIDMap struct {
	Moves     []OpenIDMove // at most MaxOpenIDMoves
	RetireOld bool         // the company changed: the old rows go
	DryRun    bool         // report only
	By        By
}

// MapReport counts what became of an openid map. Lines are indices of Moves.
type MapReport struct {
	Members int   `json:"members"` // new openids that are a member's now
	Guests  int   `json:"guests"`  // new openids that are a guest's now
	Known   int   `json:"known"`   // the new openid was this person's already, or the old one is gone
	Retired int   `json:"retired"` // old openids removed
	Unknown []int `json:"unknown"` // lines of whose openids nobody has either
	Taken   []int `json:"taken"`   // lines whose new openid is somebody else's: left alone
	Invalid []int `json:"invalid"` // lines with an id that is empty or longer than 64 bytes
}

// errDryRun undoes a transaction that was only to be looked at.
var errDryRun = errors.New("dry run")

// MapOpenIDs imports an openid map (O4): the new openids of members go into
// imported rows, those of guests into visitor rows. A guest who has come to the
// moved account already is one with the old one, as N3 says. It may be
// repeated.
//
// Errors: ErrTooManyMoves, ErrNoReason.
func (db *DB) MapOpenIDs(ctx context.Context, m OpenIDMap) (MapReport, error) {
	if len(m.Moves) > MaxOpenIDMoves {
		return MapReport{}, ErrTooManyMoves
	}
	var r MapReport
	_, err := db.operate(ctx, m.By, func(c *change) error {
		r = MapReport{Unknown: []int{}, Taken: []int{}, Invalid: []int{}}
		for i, move := range m.Moves {
			if err := c.moveOpenID(m, i, &r); err != nil {
				return fmt.Errorf("%s: %w", move.NewAppID, err)
			}
		}
		if m.DryRun {
			return errDryRun
		}
		return c.record(m.By, ActionMapOpenIDs, m.app(), r)
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return MapReport{}, fmt.Errorf("importing an openid map: %w", err)
	}
	return r, nil
}

// app names the map in the record of operations.
func (m OpenIDMap) app() string {
	if len(m.Moves) == 0 {
		return ""
	}
	return m.Moves[0].NewAppID
}

func (c *change) moveOpenID(m OpenIDMap, line int, r *MapReport) error {
	move := m.Moves[line]
	for _, id := range []string{move.OldAppID, move.OldOpenID, move.NewAppID, move.NewOpenID} {
		if id == "" || len(id) > maxID {
			r.Invalid = append(r.Invalid, line)
			return nil
		}
	}
	from, err := readPlace(c.ctx, c.tx, move.OldAppID, move.OldOpenID)
	if err != nil {
		return err
	}
	to, err := readPlace(c.ctx, c.tx, move.NewAppID, move.NewOpenID)
	if err != nil {
		return err
	}
	switch {
	case from.owner == "" && (from.identity != nil || to.owner != ""):
		r.Known++
	case from.owner == "":
		r.Unknown = append(r.Unknown, line)
		return nil
	default:
		if done, err := c.settleOpenID(from.owner, to, r); err != nil {
			return err
		} else if !done {
			r.Taken = append(r.Taken, line)
			return nil
		}
	}
	if !m.RetireOld || from.identity == nil && from.visitor == "" {
		return nil
	}
	r.Retired++
	return c.retire(from)
}

// settleOpenID gives an openid to the user who has another one. It is not done
// where the openid is somebody else's.
func (c *change) settleOpenID(owner string, to place, r *MapReport) (done bool, err error) {
	u, err := readUser(c.ctx, c.tx, owner)
	switch {
	case err != nil:
		return false, err
	case u == nil:
		return false, ErrUnknownUser
	case to.owner == u.id:
		r.Known++
		return true, nil
	case to.identity != nil:
		return false, nil
	case u.kind == Member:
		// A visitor who was here already merges when he comes again: G6.
		r.Members++
		return true, c.exec(`INSERT INTO wxgate_identity (appid, openid, user_id, created) VALUES (?, ?, ?, ?)`, to.appID, to.openID, u.id, millis(c.at))
	case to.visitor == "":
		r.Guests++
		return true, c.exec(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created) VALUES (?, ?, ?, ?)`, to.appID, to.openID, u.id, millis(c.at))
	}
	done, err = c.joinVisitors(u, to.visitor)
	if done {
		r.Guests++
	}
	return done, err
}

// joinVisitors makes two guests of one openid one, as N3 says. Two who are
// linked both cannot be.
func (c *change) joinVisitors(a *user, other string) (done bool, err error) {
	b, err := readUser(c.ctx, c.tx, other)
	if err != nil || b == nil {
		return false, err
	}
	linkedA, err := isLinked(c.ctx, c.tx, a.id)
	if err != nil {
		return false, err
	}
	linkedB, err := isLinked(c.ctx, c.tx, b.id)
	if err != nil || linkedA && linkedB {
		return false, err
	}
	older, younger := a, b
	if linkedB || !linkedA && b.olderThan(a) {
		older, younger = b, a
	}
	return true, c.replace(younger, survivor{older.id, Guest, "visitor"})
}

func isLinked(ctx context.Context, q querier, id string) (bool, error) {
	unionID, err := text(ctx, q, `SELECT unionid FROM wxgate_unionid WHERE user_id = ? LIMIT 1`, id)
	return unionID != "", err
}

// retire removes an openid, and its unionid with the last one of it.
func (c *change) retire(p place) error {
	if err := c.exec(`DELETE FROM wxgate_visitor WHERE appid = ? AND openid = ?`, p.appID, p.openID); err != nil {
		return fmt.Errorf("removing a visitor: %w", err)
	}
	if err := c.exec(`DELETE FROM wxgate_identity WHERE appid = ? AND openid = ?`, p.appID, p.openID); err != nil {
		return fmt.Errorf("removing an identity: %w", err)
	}
	if p.identity == nil || p.identity.UnionID == "" {
		return nil
	}
	scope, unionID := p.identity.scope(), p.identity.UnionID
	left, err := text(c.ctx, c.tx, `SELECT openid FROM wxgate_identity WHERE scope = ? AND unionid = ? LIMIT 1`, scope, unionID)
	if err != nil || left != "" {
		return err
	}
	return c.exec(`DELETE FROM wxgate_unionid WHERE scope = ? AND unionid = ?`, scope, unionID)
}

// place is an openid and who stands there.
type place struct {
	appID, openID string
	identity      *PersonIdentity
	visitor       string // guest of the visitor row
	owner         string // user of the identity, else the visitor's guest
}

func readPlace(ctx context.Context, q querier, appID, openID string) (place, error) {
	p := place{appID: appID, openID: openID}
	rows, err := q.QueryContext(ctx, `
		SELECT i.scope, coalesce(i.unionid, ''), coalesce(i.user_id, n.user_id, '') FROM wxgate_identity i
		LEFT JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid WHERE i.appid = ? AND i.openid = ?`, appID, openID)
	if err != nil {
		return p, fmt.Errorf("reading an identity: %w", err)
	}
	found, err := collect(rows, func(r *PersonIdentity) error {
		var scope string
		err := rows.Scan(&scope, &r.UnionID, &p.owner)
		r.AppID, r.OpenID, r.StandIn = appID, openID, scope != ""
		return err
	})
	if err != nil {
		return p, fmt.Errorf("reading an identity: %w", err)
	}
	if p.visitor, err = text(ctx, q, `SELECT guest_id FROM wxgate_visitor WHERE appid = ? AND openid = ?`, appID, openID); err != nil {
		return p, fmt.Errorf("reading a visitor: %w", err)
	}
	if len(found) > 0 {
		p.identity = &found[0]
	} else {
		p.owner = p.visitor
	}
	return p, nil
}
