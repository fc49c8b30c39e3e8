package account

import (
	"context"
	"errors"
	"fmt"
)

// MaxOpenIDMoves bounds one MapOpenIDs, for visitors wait while it runs.
const MaxOpenIDMoves = 100

// maxID is the length of the longest id that is stored, in bytes.
const maxID = 64

// OpenIDMove says which openid a person has since an official account moved.
type OpenIDMove struct {
	OldAppID, OldOpenID, NewAppID, NewOpenID string
}

func (m OpenIDMove) valid() bool {
	for _, id := range []string{m.OldAppID, m.OldOpenID, m.NewAppID, m.NewOpenID} {
		if id == "" || len(id) > maxID {
			return false
		}
	}
	return true
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
// moved account already becomes one with the old one, as N3 says. It may be
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
		for line := range m.Moves {
			if err := c.moveOpenID(m, line, &r); err != nil {
				return err
			}
		}
		if m.DryRun {
			return errDryRun
		}
		return c.record(m.By, deed{ActionMapOpenIDs, m.app(), r})
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

// moveOpenID does one line, and counts it.
func (c *change) moveOpenID(m OpenIDMap, line int, r *MapReport) error {
	move := m.Moves[line]
	if !move.valid() {
		r.Invalid = append(r.Invalid, line)
		return nil
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
	case from.identity == nil && from.visitor == "" && to.owner == "":
		r.Unknown = append(r.Unknown, line)
		return nil
	case from.owner == "" || from.owner == to.owner:
		r.Known++
	case to.identity != nil:
		r.Taken = append(r.Taken, line)
		return nil
	default:
		if settled, err := c.settle(from.owner, to, r); err != nil {
			return err
		} else if !settled {
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

// settle gives an openid without an identity to a user, unless two guests who
// are linked both would have to be one.
func (c *change) settle(id string, at place, r *MapReport) (settled bool, err error) {
	users, err := readUsers(c.ctx, c.tx, id, at.visitor)
	if err != nil {
		return false, err
	}
	who, visitor := users[id], users[at.visitor]
	switch {
	case who.kind == Member:
		// A visitor who was here already merges when he comes again: G6.
		r.Members++
		return true, c.exec(`INSERT INTO wxgate_identity (appid, openid, scope, user_id, created) VALUES (?, ?, '', ?, ?)`,
			at.appID, at.openID, id, millis(c.at))
	case visitor == nil:
		r.Guests++
		return true, c.exec(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created) VALUES (?, ?, ?, ?)`,
			at.appID, at.openID, id, millis(c.at))
	case len(who.unionIDs) > 0 && len(visitor.unionIDs) > 0:
		return false, nil
	}
	older, younger := who, visitor
	if len(visitor.unionIDs) > 0 || len(who.unionIDs) == 0 && visitor.olderThan(who) {
		older, younger = visitor, who
	}
	r.Guests++
	return true, c.replace(younger, survivor{older.id, Guest, "visitor"})
}

// retire removes an openid, and its unionid with the last one of it. A visitor
// who waited for his member there merges now.
func (c *change) retire(p place) error {
	if p.identity != nil && p.visitor != "" && p.owner != "" {
		users, err := readUsers(c.ctx, c.tx, p.owner, p.visitor)
		if err != nil {
			return err
		}
		if err := c.replace(users[p.visitor], survivor{p.owner, users[p.owner].kind, "imported"}); err != nil {
			return err
		}
	}
	if err := c.exec(`DELETE FROM wxgate_visitor WHERE appid = ? AND openid = ?`, p.appID, p.openID); err != nil {
		return fmt.Errorf("removing a visitor: %w", err)
	}
	if err := c.exec(`DELETE FROM wxgate_identity WHERE appid = ? AND openid = ?`, p.appID, p.openID); err != nil {
		return fmt.Errorf("removing an identity: %w", err)
	}
	if p.identity == nil || p.identity.UnionID == "" {
		return nil
	}
	left, err := readWeChat(c.ctx, c.tx, *p.identity)
	if err != nil || len(left) > 0 {
		return err
	}
	return c.removeUnionID(p.identity.weChat())
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
