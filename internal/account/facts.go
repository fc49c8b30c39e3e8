package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// querier is a transaction or a pool.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// unionIDKey names a unionid. Scope is empty for real ones and the appid for an
// openid that stands in for one.
type unionIDKey struct{ scope, unionID string }

// openID names an openid.
type openID struct{ appID, openID string }

// user is a row of the user table, or a guest that has none yet, and where he
// stands.
type user struct {
	id         string
	kind       Kind
	created    time.Time
	lastSeen   time.Time
	mergedInto string
	cancelled  bool
	phoneKey   string // empty: no phone
	stored     bool

	sessionsFrom time.Time // those issued before are dead
	hasPhone     bool      // which Resolve reads, and Link does not

	// What operations read besides.
	phoneSealed string
	cancelledAt time.Time

	unionIDs []unionIDKey // that are his
	visits   []openID     // whose visitor rows name him
	imported bool         // has imported rows
}

func (u *user) dead(issued time.Time) bool {
	return u.cancelled || !u.sessionsFrom.IsZero() && issued.Before(u.sessionsFrom)
}

// hasWeChat says whether he stands in any identity.
func (u *user) hasWeChat() bool { return len(u.unionIDs) > 0 || u.imported }

// olderThan orders guests: earlier birth, then the smaller id.
func (u *user) olderThan(o *user) bool {
	if !u.created.Equal(o.created) {
		return u.created.Before(o.created)
	}
	return compareIDs(u.id, o.id) < 0
}

// owner is a row of the unionid table.
type owner struct{ userID string } // empty: nobody yet

// row is a row of the identity table.
type row struct {
	unionIDKey
	userID string // of an imported row; else the unionid's
	copied string // what the row itself says of the unionid's user
}

// facts is everything that the tables look at.
type facts struct {
	now   time.Time
	in    Input
	rules Rules
	phone phone

	unionIDKey        // given, or stored for the openid, or what stands in for it; unionID empty: unknown
	own        *row   // of (appid, openid)
	other      string // openid of another identity of (appid, the given unionid)
	owner      *owner // of the unionid; nil: no row
	ownerOf    *user  // the owner's user
	came       *user  // the session's user; nil: none
	target     *user  // whom came was merged into
	named      *user  // whom the shop has logged in, or who replaced him
	visitor    *user  // guest of the visitor row of (appid, openid), or of the stand-in that is replaced
	imported   *user  // member of the imported row, or of the stand-in that is replaced
	phoneOwner *user  // has the phone

	replaced    unionIDKey // the stand-in that gives way to the given unionid; zero: none
	sealed      *owner     // of the unionid sealed into the session
	sessionUser string     // stands under the openid that the session was created with

	torn bool // the users who were named have changed before they were read
}

// call is a Link under way.
type call struct {
	rules Rules
	in    Input
	phone phone
	made  madeID // by the shop, for a newcomer; zero: it was not asked
}

// readFacts reads what the tables look at: first what the openid, the unionid
// and the phone say, then the users whom these name, and where they stand.
func readFacts(ctx context.Context, q querier, c call) (*facts, error) {
	f := &facts{now: time.Now(), in: c.in, rules: c.rules, phone: c.phone}
	found, err := f.readNames(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("reading identities: %w", err)
	}
	users, err := readUsers(ctx, q, f.in.UserID, found.owner, found.holder, found.visitor, found.phone)
	if err != nil {
		return nil, err
	}
	for _, id := range []string{found.owner, found.holder, found.visitor, found.phone} {
		if u := users[id]; id != "" && (u == nil || u.mergedInto != "" || u.cancelled) {
			f.torn = true
		}
	}
	f.ownerOf, f.phoneOwner, f.visitor = users[found.owner], users[found.phone], users[found.visitor]
	switch holder := users[found.holder]; {
	case holder == nil:
	case holder.kind == Member:
		f.imported = holder
	default:
		f.visitor = holder
	}
	if f.came = users[f.in.UserID]; f.came == nil && f.in.UserID != "" && f.in.UserKind == Guest {
		f.came = &user{id: f.in.UserID, kind: Guest, created: birth(f.in.UserBorn)}
	}
	if f.came != nil && f.came.mergedInto != "" {
		f.target, err = readUser(ctx, q, f.came.mergedInto)
		f.torn = f.torn || f.target == nil || f.target.mergedInto != ""
	}
	if err != nil {
		return nil, err
	}
	return f, f.readNamed(ctx, q)
}

// names are the user ids that the openid, the unionid and the phone lead to.
type names struct {
	owner   string // of the unionid
	holder  string // of the row of the openid, while its unionid is not known
	visitor string
	phone   string
}

const namesSQL = `
SELECT 'own' AS what, i.scope AS a, coalesce(i.unionid, '') AS b, coalesce(i.user_id, n.user_id, '') AS c,
	coalesce(i.owner_id, '') AS d
FROM wxgate_identity i LEFT JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid WHERE i.appid = ? AND i.openid = ?
UNION ALL SELECT 'other', openid, '', '', '' FROM wxgate_identity WHERE scope = '' AND unionid = ? AND appid = ? AND openid <> ?
UNION ALL SELECT 'owner', coalesce(user_id, ''), '', '', '' FROM wxgate_unionid WHERE scope = ? AND unionid = ?
UNION ALL SELECT 'sealed', coalesce(user_id, ''), '', '', '' FROM wxgate_unionid WHERE scope = ? AND unionid = ?
UNION ALL SELECT 'visitor', guest_id, '', '', '' FROM wxgate_visitor WHERE appid = ? AND openid = ?
UNION ALL SELECT 'session', n.user_id, '', '', '' FROM wxgate_identity i JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid
	WHERE i.appid = ? AND i.openid = ? AND n.user_id IS NOT NULL
UNION ALL SELECT 'session', guest_id, '', '', '' FROM wxgate_visitor WHERE appid = ? AND openid = ?
UNION ALL SELECT 'phone', id, '', '', '' FROM wxgate_user WHERE phone_key = ?`

func (f *facts) readNames(ctx context.Context, q querier) (n names, err error) {
	in := f.in
	switch { // unless the openid's row knows better
	case in.UnionID != "":
		f.unionIDKey = unionIDKey{"", in.UnionID}
	case f.rules.StandIns[in.AppID]:
		f.unionIDKey = unionIDKey{in.AppID, in.OpenID}
	}
	sealed := sealedUnionID(in.SessionAppID, in.SessionOpenID, in.SessionUnionID)
	rows, err := q.QueryContext(ctx, namesSQL, in.AppID, in.OpenID, in.UnionID, in.AppID, in.OpenID,
		f.scope, f.unionID, sealed.scope, sealed.unionID, in.AppID, in.OpenID,
		in.SessionAppID, in.SessionOpenID, in.SessionAppID, in.SessionOpenID, f.phone.key)
	if err != nil {
		return n, err
	}
	defer rows.Close()
	for rows.Next() {
		var what, a, b, c, d string
		if err := rows.Scan(&what, &a, &b, &c, &d); err != nil {
			return n, err
		}
		switch what {
		case "own":
			f.own = &row{unionIDKey{a, b}, c, d}
		case "other":
			f.other = a
		case "owner":
			f.owner = &owner{a}
		case "sealed":
			f.sealed = &owner{a}
		case "visitor":
			n.visitor = a
		case "session":
			f.sessionUser = a
		case "phone":
			n.phone = a
		}
	}
	f.placeOwn(&n)
	return n, rows.Err()
}

// placeOwn says what the row of the openid counts for: its unionid is this
// call's unless WeChat has given one now, an imported row has a holder, and so
// has a stand-in that a real unionid replaces.
func (f *facts) placeOwn(n *names) {
	switch own := f.own; {
	case own == nil:
	case own.unionID == "":
		n.holder = own.userID
	case f.in.UnionID == "":
		f.unionIDKey, f.owner = own.unionIDKey, &owner{own.userID}
	case own.scope != "":
		f.replaced, n.holder = own.unionIDKey, own.userID
	}
	if f.owner != nil {
		n.owner = f.owner.userID
	}
}

// maxUsers bounds a readUsers.
const maxUsers = 5

// usersSQL reads users and where they stand. Its ids are filled up with empty
// ones, so that it is always the same statement.
const usersSQL = `
SELECT 'user' AS what, id, kind AS a, coalesce(merged_into, '') AS b, coalesce(phone_key, '') AS c,
	created AS n, last_seen AS m, coalesce(sessions_from, 0) AS o, CASE WHEN cancelled IS NULL THEN 0 ELSE 1 END AS cancelled
FROM wxgate_user WHERE id IN (?, ?, ?, ?, ?)
UNION ALL SELECT 'unionid', user_id, scope, unionid, '', 0, 0, 0, 0 FROM wxgate_unionid WHERE user_id IN (?, ?, ?, ?, ?)
UNION ALL SELECT 'visitor', guest_id, appid, openid, '', 0, 0, 0, 0 FROM wxgate_visitor WHERE guest_id IN (?, ?, ?, ?, ?)
UNION ALL SELECT 'imported', user_id, '', '', '', 0, 0, 0, 0 FROM wxgate_identity WHERE user_id IN (?, ?, ?, ?, ?)`

// readUsers reads up to maxUsers users by their ids, of which empty ones and
// repeated ones are left out.
func readUsers(ctx context.Context, q querier, ids ...string) (map[string]*user, error) {
	users := map[string]*user{}
	var args []any
	for range 4 {
		for i := range maxUsers {
			id := ""
			if i < len(ids) {
				id = ids[i]
			}
			args = append(args, id)
		}
	}
	if strings.Join(ids, "") == "" {
		return users, nil
	}
	rows, err := q.QueryContext(ctx, usersSQL, args...)
	if err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var what, id, a, b, c string
		var created, seen, from int64
		var cancelled bool
		if err := rows.Scan(&what, &id, &a, &b, &c, &created, &seen, &from, &cancelled); err != nil {
			return nil, fmt.Errorf("reading users: %w", err)
		}
		u := users[id]
		if u == nil {
			u = &user{id: id}
			users[id] = u
		}
		switch what {
		case "user":
			u.kind, u.mergedInto, u.phoneKey, u.cancelled, u.stored = Kind(a), b, c, cancelled, true
			u.created, u.lastSeen = fromMillis(created), fromMillis(seen)
			if from > 0 {
				u.sessionsFrom = fromMillis(from)
			}
		case "unionid":
			u.unionIDs = append(u.unionIDs, unionIDKey{a, b})
		case "visitor":
			u.visits = append(u.visits, openID{a, b})
		case "imported":
			u.imported = true
		}
	}
	return users, rows.Err()
}

// sealedUnionID is the unionid of a session. An openid that stands in for it is
// sealed in its place, and nothing else tells the two apart.
func sealedUnionID(appID, openID, unionID string) unionIDKey {
	if unionID == openID {
		return unionIDKey{appID, unionID}
	}
	return unionIDKey{"", unionID}
}

// readUser reads one user; nil means that he has no row.
func readUser(ctx context.Context, q querier, id string) (*user, error) {
	users, err := readUsers(ctx, q, id)
	return users[id], err
}

// text runs a query for one optional text.
func text(ctx context.Context, q querier, query string, args ...any) (string, error) {
	var s sql.NullString
	err := q.QueryRowContext(ctx, query, args...).Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return s.String, err
}

// bindsOther says whether u is bound to another unionid of the scope.
func (f *facts) bindsOther(u *user) bool {
	for _, id := range u.unionIDs {
		if id.scope == f.scope && id.unionID != f.unionID {
			return true
		}
	}
	return false
}

// find returns a user whom the facts name by his id.
func (f *facts) find(id string) *user {
	for _, u := range []*user{f.came, f.target, f.named, f.visitor, f.ownerOf, f.imported, f.phoneOwner} {
		if u != nil && u.id == id {
			return u
		}
	}
	return nil
}
