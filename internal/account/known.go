package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const knownSQL = `
SELECT i.scope, i.unionid, u.id, u.kind, u.created, u.last_seen
FROM wxgate_identity i
JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid
JOIN wxgate_user u ON u.id = n.user_id
WHERE i.appid = ? AND i.openid = ?`

// readKnown reads the facts about a visitor who comes back as who he was, in one
// cheap statement: his openid is stored under its unionid, WeChat tells no other
// one, and the session is his own or none. Nothing else is stored then that a
// table looks at. Nil means that there is more to read.
func readKnown(ctx context.Context, q querier, c call) (*facts, error) {
	if c.in.OpenID == "" || c.phone.key != "" || c.in.ShopUserID != "" {
		return nil, nil
	}
	var own row
	var created, seen int64
	u := &user{stored: true}
	err := q.QueryRowContext(ctx, knownSQL, c.in.AppID, c.in.OpenID).
		Scan(&own.scope, &own.unionID, &u.id, &u.kind, &created, &seen)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading an identity: %w", err)
	case c.in.UnionID != "" && own.unionIDKey != unionIDKey{"", c.in.UnionID}, c.in.UserID != "" && c.in.UserID != u.id:
		return nil, nil
	}
	u.created, u.lastSeen, own.userID = fromMillis(created), fromMillis(seen), u.id
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
