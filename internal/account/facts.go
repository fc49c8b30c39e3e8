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

// user is a row of the user table, or a guest that has none yet.
type user struct {
	id           string
	kind         Kind
	created      time.Time
	lastSeen     time.Time
	mergedInto   string
	cancelled    bool
	sessionsFrom time.Time
	stored       bool
}

func (u *user) dead(issued time.Time) bool {
	return u.cancelled || !u.sessionsFrom.IsZero() && issued.Before(u.sessionsFrom)
}

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
	unionID string // empty: imported, and not yet known
	userID  string // of an imported row
}

// facts is everything that the tables look at, read in one transaction in the
// fixed order unionid, users.
type facts struct {
	now     time.Time
	in      Input
	rules   Rules
	unionID string // given, or stored for the openid; empty: unknown
	own     *row   // of (appid, openid)
	other   string // openid of another identity of (appid, unionid)
	owner   *owner // of unionID; nil: no row
	ownerOf *user  // the owner's user
	came    *user  // the session's user; nil: none
	target  *user  // whom came was merged into
	visitor *user  // guest of the visitor row of (appid, openid)
	session *owner // of the unionid sealed into the session

	imported        *user      // of an imported row, merges followed
	importedUnionID string     // another unionid the imported user is bound to
	boundElsewhere  bool       // came is a member bound to another unionid
	cameOwned       bool       // came stands in an identity or in another visitor row
	cameIsSessions  bool       // came stands under the openid that the session was created with
	openConflicts   []Conflict // of (appid, openid), or over the unionid and the session's user
}

func readUser(ctx context.Context, q querier, id string) (*user, error) {
	if id == "" {
		return nil, nil
	}
	u := &user{id: id, stored: true}
	var created, seen int64
	var merged sql.NullString
	var cancelled, from sql.NullInt64
	err := q.QueryRowContext(ctx, `SELECT kind, created, last_seen, merged_into, cancelled, sessions_from FROM user WHERE id = ?`, id).
		Scan(&u.kind, &created, &seen, &merged, &cancelled, &from)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a user: %w", err)
	}
	u.created, u.lastSeen, u.mergedInto, u.cancelled = fromMillis(created), fromMillis(seen), merged.String, cancelled.Valid
	if from.Valid {
		u.sessionsFrom = fromMillis(from.Int64)
	}
	return u, nil
}

func readUnionID(ctx context.Context, q querier, unionID string) (*owner, error) {
	if unionID == "" {
		return nil, nil
	}
	var id sql.NullString
	err := q.QueryRowContext(ctx, `SELECT user_id FROM unionid WHERE scope = '' AND unionid = ?`, unionID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a unionid: %w", err)
	}
	return &owner{userID: id.String}, nil
}

func readIdentity(ctx context.Context, q querier, appID, openID string) (*row, error) {
	if openID == "" {
		return nil, nil
	}
	var unionID, userID sql.NullString
	err := q.QueryRowContext(ctx, `SELECT unionid, user_id FROM identity WHERE appid = ? AND openid = ?`, appID, openID).
		Scan(&unionID, &userID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading an identity: %w", err)
	}
	return &row{unionID.String, userID.String}, nil
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

// readFacts reads what the tables look at.
func readFacts(ctx context.Context, q querier, rules Rules, in Input) (f facts, err error) {
	f.now, f.in, f.rules, f.unionID = time.Now(), in, rules, in.UnionID
	if f.own, err = readIdentity(ctx, q, in.AppID, in.OpenID); err != nil {
		return f, err
	}
	if f.unionID == "" && f.own != nil {
		f.unionID = f.own.unionID
	}
	if in.UnionID != "" && in.OpenID != "" {
		f.other, err = text(ctx, q, `SELECT openid FROM identity WHERE appid = ? AND unionid = ? AND openid <> ?`, in.AppID, in.UnionID, in.OpenID)
		if err != nil {
			return f, fmt.Errorf("reading an identity: %w", err)
		}
	}
	if err := f.readOwners(ctx, q); err != nil {
		return f, err
	}
	if err := f.readVisitor(ctx, q); err != nil {
		return f, err
	}
	return f, f.readCame(ctx, q)
}

func (f *facts) readOwners(ctx context.Context, q querier) (err error) {
	if f.owner, err = readUnionID(ctx, q, f.unionID); err != nil {
		return err
	}
	if f.owner != nil {
		if f.ownerOf, err = readUser(ctx, q, f.owner.userID); err != nil {
			return err
		}
	}
	if f.session, err = readUnionID(ctx, q, f.in.SessionUnionID); err != nil {
		return err
	}
	if f.own == nil || f.own.userID == "" {
		return nil
	}
	if f.imported, err = readUser(ctx, q, f.own.userID); err != nil || f.imported == nil {
		return err
	}
	if f.imported.mergedInto != "" {
		if f.imported, err = readUser(ctx, q, f.imported.mergedInto); err != nil {
			return err
		}
	}
	f.importedUnionID, err = text(ctx, q, `SELECT unionid FROM unionid WHERE user_id = ? AND scope = '' AND unionid <> ?`, f.imported.id, f.unionID)
	return err
}

func (f *facts) readVisitor(ctx context.Context, q querier) error {
	if f.in.OpenID == "" {
		return nil
	}
	id, err := text(ctx, q, `SELECT guest_id FROM visitor WHERE appid = ? AND openid = ?`, f.in.AppID, f.in.OpenID)
	if err != nil {
		return fmt.Errorf("reading a visitor: %w", err)
	}
	f.visitor, err = readUser(ctx, q, id)
	return err
}

// readCame reads the session's user, as guards G0 and G5 want him.
func (f *facts) readCame(ctx context.Context, q querier) (err error) {
	if f.in.UserID == "" {
		return nil
	}
	if f.came, err = readUser(ctx, q, f.in.UserID); err != nil {
		return err
	}
	if f.came == nil && f.in.UserKind == Guest {
		f.came = &user{id: f.in.UserID, kind: Guest, created: birth(f.in.UserBorn)}
	}
	if f.came == nil {
		return nil
	}
	if f.came.mergedInto != "" {
		if f.target, err = readUser(ctx, q, f.came.mergedInto); err != nil {
			return err
		}
	}
	return f.readStanding(ctx, q)
}

// readStanding finds where the session's user, merges followed, stands.
func (f *facts) readStanding(ctx context.Context, q querier) error {
	who := f.came
	if f.target != nil {
		who = f.target
	}
	other, err := text(ctx, q, `SELECT unionid FROM unionid WHERE user_id = ? AND scope = '' AND unionid <> ?`, who.id, f.unionID)
	if err != nil {
		return fmt.Errorf("reading a unionid: %w", err)
	}
	f.boundElsewhere = other != ""
	if who.kind != Guest {
		return nil
	}
	elsewhere, err := text(ctx, q, `SELECT openid FROM visitor WHERE guest_id = ? AND NOT (appid = ? AND openid = ?) LIMIT 1`, who.id, f.in.AppID, f.in.OpenID)
	if err != nil {
		return fmt.Errorf("reading a visitor: %w", err)
	}
	f.cameOwned = elsewhere != "" || other != "" || f.owner != nil && f.owner.userID == who.id
	if f.in.SessionOpenID == "" {
		return nil
	}
	under, err := text(ctx, q, `
		SELECT u.user_id FROM identity i JOIN unionid u ON u.scope = i.scope AND u.unionid = i.unionid WHERE i.appid = ? AND i.openid = ?
		UNION ALL SELECT guest_id FROM visitor WHERE appid = ? AND openid = ?`,
		f.in.SessionAppID, f.in.SessionOpenID, f.in.SessionAppID, f.in.SessionOpenID)
	f.cameIsSessions = under == who.id
	return err
}

func (f *facts) readConflicts(ctx context.Context, q querier) error {
	if f.in.OpenID == "" {
		return nil
	}
	// The parties of W16 and W18 begin with the member and the unionid.
	var who string
	if f.unionID != "" && f.came != nil {
		who = f.came.id
		if f.target != nil {
			who = f.target.id
		}
	}
	rows, err := q.QueryContext(ctx, `
		SELECT id, code, parties FROM conflict WHERE appid = ? AND openid = ? AND closed IS NULL
		UNION SELECT id, code, parties FROM conflict
		WHERE code IN (?, ?) AND (parties = ? OR parties > ? AND parties < ?) AND closed IS NULL`,
		f.in.AppID, f.in.OpenID, string(CodeUserIDBoundToOtherWeChat), string(CodeWeChatBoundToOtherUser),
		who+"\n"+f.unionID, who+"\n"+f.unionID+"\n", who+"\n"+f.unionID+"\v") // \v follows \n
	if err != nil {
		return fmt.Errorf("reading conflicts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c Conflict
		var parties string
		if err := rows.Scan(&c.ID, &c.Code, &parties); err != nil {
			return err
		}
		c.Parties = strings.Split(parties, "\n")
		f.openConflicts = append(f.openConflicts, c)
	}
	return rows.Err()
}
