package account

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// knownWhere returns all in one column, a line each: a row's columns cost more
// than its lookup. No id has a line break in it, but for a unionid that WeChat
// might think of.
//
// It does not look at the unionid's row. A user who has a unionid loses it only
// when he is merged, or with the identities themselves, so the copy of his id
// is right unless he was merged; then, or where there is none, readFacts knows.
const knownWhere = `
SELECT concat_ws('
', u.created, u.last_seen, coalesce(u.sessions_from, 0), u.kind, u.id, i.scope, i.unionid)
FROM wxgate_identity i
JOIN wxgate_user u ON u.id = i.owner_id
WHERE u.merged_into IS NULL AND `

const knownSQL = knownWhere + `i.appid = ? AND i.openid = ?`

// readKnown reads the facts about a visitor who comes back as who he was, in one
// cheap statement: his openid is stored under its unionid, WeChat tells no other
// one, and the session is his own or none. Nothing else is stored then that a
// table looks at. It reads those about a stranger who arrives, too. Nil means
// that there is more to read.
func (db *DB) readKnown(ctx context.Context, c call) (*facts, error) {
	if c.in.OpenID == "" || c.phone.key != "" || c.in.ShopUserID != "" {
		return nil, nil
	}
	if c.arrives() {
		return db.readArrival(ctx, c)
	}
	var found string
	err := db.askQuickly(ctx, db.read, knownSQL, func(text string) { found = text }, c.in.AppID, c.in.OpenID)
	if err != nil {
		return nil, fmt.Errorf("reading an identity: %w", err)
	}
	return known(c, found)
}

// known makes facts of what knownSQL has found.
func known(c call, found string) (*facts, error) {
	lines := strings.SplitN(found, "\n", 7)
	if len(lines) < 7 {
		return nil, nil
	}
	u := &user{id: lines[4], kind: Kind(lines[3]), stored: true}
	own := row{unionIDKey{lines[5], lines[6]}, u.id, u.id}
	if c.in.UnionID != "" && own.unionIDKey != (unionIDKey{"", c.in.UnionID}) || c.in.UserID != "" && c.in.UserID != u.id {
		return nil, nil
	}
	var times [3]int64
	for i := range times {
		var err error
		if times[i], err = strconv.ParseInt(lines[i], 10, 64); err != nil {
			return nil, fmt.Errorf("reading an identity: %w", err)
		}
	}
	u.created, u.lastSeen = fromMillis(times[0]), fromMillis(times[1])
	if times[2] > 0 {
		u.sessionsFrom = fromMillis(times[2])
	}
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
