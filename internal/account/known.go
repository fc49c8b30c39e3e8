package account

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// knownSQL returns all in one column, a line each: with SQLite a row's columns
// cost more than its lookup. No id has a line break in it, but for a unionid
// that WeChat might think of.
const knownSQL = `
SELECT u.created || '
' || u.last_seen || '
' || u.kind || '
' || u.id || '
' || i.scope || '
' || i.unionid
FROM wxgate_identity i
JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid
JOIN wxgate_user u ON u.id = n.user_id
WHERE i.appid = ? AND i.openid = ?`

// arrivedSQL is knownSQL for a visitor who comes with a unionid and without a
// session. The answer is empty where he is not known but something is stored of
// him, and NULL where nothing is.
const arrivedSQL = `SELECT coalesce((` + knownSQL + `), (SELECT '' FROM wxgate_identity WHERE appid = ? AND openid = ?),
	(SELECT '' FROM wxgate_unionid WHERE scope = '' AND unionid = ?), (SELECT '' FROM wxgate_visitor WHERE appid = ? AND openid = ?))`

// readArrived is readKnown for such a visitor, and reads the facts about a
// stranger too.
func readArrived(ctx context.Context, q querier, c call) (*facts, error) {
	var found sql.NullString
	err := q.QueryRowContext(ctx, arrivedSQL, c.in.AppID, c.in.OpenID, c.in.AppID, c.in.OpenID, c.in.UnionID, c.in.AppID, c.in.OpenID).Scan(&found)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading an identity: %w", err)
	case found.Valid:
		return known(c, found.String)
	}
	return &facts{now: time.Now(), in: c.in, rules: c.rules, unionIDKey: unionIDKey{"", c.in.UnionID}}, nil
}

// readKnown reads the facts about a visitor who comes back as who he was, in one
// cheap statement: his openid is stored under its unionid, WeChat tells no other
// one, and the session is his own or none. Nothing else is stored then that a
// table looks at. Nil means that there is more to read.
func readKnown(ctx context.Context, q querier, c call) (*facts, error) {
	if c.in.OpenID == "" || c.phone.key != "" || c.in.ShopUserID != "" {
		return nil, nil
	}
	if c.in.UnionID != "" && c.in.UserID == "" {
		return readArrived(ctx, q, c)
	}
	found, err := text(ctx, q, knownSQL, c.in.AppID, c.in.OpenID)
	if err != nil {
		return nil, fmt.Errorf("reading an identity: %w", err)
	}
	return known(c, found)
}

// known makes facts of what knownSQL has found.
func known(c call, found string) (*facts, error) {
	lines := strings.SplitN(found, "\n", 6)
	if len(lines) < 6 {
		return nil, nil
	}
	u := &user{id: lines[3], kind: Kind(lines[2]), stored: true}
	own := row{unionIDKey{lines[4], lines[5]}, u.id}
	if c.in.UnionID != "" && own.unionIDKey != (unionIDKey{"", c.in.UnionID}) || c.in.UserID != "" && c.in.UserID != u.id {
		return nil, nil
	}
	created, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading an identity: %w", err)
	}
	seen, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading an identity: %w", err)
	}
	u.created, u.lastSeen = fromMillis(created), fromMillis(seen)
	u.unionIDs = []unionIDKey{own.unionIDKey}
	f := &facts{
		now: time.Now(), in: c.in, rules: c.rules,
		unionIDKey: own.unionIDKey, own: &own, owner: &owner{u.id}, ownerOf: u,
	}
	if c.in.UserID != "" {
		f.came = u
	}
	return f, nil
}
