package account

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// whole reads a user with what only operations look at; nil: there is none.
func whole(ctx context.Context, q querier, id string) (*user, error) {
	u := &user{id: id, stored: true}
	var created, seen int64
	var cancelled, from sql.NullInt64
	err := q.QueryRowContext(ctx, `
		SELECT kind, created, last_seen, coalesce(merged_into, ''), cancelled, sessions_from, coalesce(phone_key, ''), coalesce(phone_sealed, '')
		FROM wxgate_user WHERE id = ?`, id).
		Scan(&u.kind, &created, &seen, &u.mergedInto, &cancelled, &from, &u.phoneKey, &u.phoneSealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a user: %w", err)
	}
	u.created, u.lastSeen, u.cancelled = fromMillis(created), fromMillis(seen), cancelled.Valid
	if cancelled.Valid {
		u.cancelledAt = fromMillis(cancelled.Int64)
	}
	if from.Valid {
		u.sessionsFrom = fromMillis(from.Int64)
	}
	return u, nil
}

// person reads the user who answers to an id now. He may be cancelled.
func person(ctx context.Context, q querier, id string) (*user, error) {
	u, err := whole(ctx, q, id)
	if err == nil && u != nil && u.mergedInto != "" {
		u, err = whole(ctx, q, u.mergedInto)
	}
	if err == nil && u == nil {
		err = ErrUnknownUser
	}
	return u, err
}

// living is person without the cancelled.
func living(ctx context.Context, q querier, id string) (*user, error) {
	u, err := person(ctx, q, id)
	if err == nil && u.cancelled {
		err = ErrUserCancelled
	}
	return u, err
}

// Summary is a user in one line.
type Summary struct {
	ID        string     `json:"id"`
	Kind      Kind       `json:"kind"`
	Phone     string     `json:"phone,omitempty"` // masked
	Created   time.Time  `json:"created"`
	LastSeen  time.Time  `json:"last_seen"`
	Cancelled *time.Time `json:"cancelled,omitempty"`
}

// summary masks a user's phone.
func (db *DB) summary(u *user) (Summary, error) {
	s := Summary{ID: u.id, Kind: u.kind, Created: u.created, LastSeen: u.lastSeen}
	if u.cancelled {
		s.Cancelled = &u.cancelledAt
	}
	if u.phoneKey == "" {
		return s, nil
	}
	number, err := db.openPhone(u.id, u.phoneSealed)
	s.Phone = number.String()
	return s, err
}

// Person is everything that is kept about one person.
type Person struct {
	Summary
	SessionsFrom *time.Time        `json:"sessions_from,omitempty"` // sessions issued before are dead
	Identities   []PersonIdentity  `json:"identities"`
	Visitors     []PersonIdentity  `json:"visitors"` // of a guest: openids whose unionid is unknown
	Profiles     []Profile         `json:"profiles,omitempty"`
	Previous     []PreviousID      `json:"previous"` // newest first
	Events       []PersonEvent     `json:"events"`
	Conflicts    []ConflictRecord  `json:"conflicts"`
	Operations   []OperationRecord `json:"operations"`
}

// PersonIdentity is an identity or visitor row of a person.
type PersonIdentity struct {
	AppID   string    `json:"appid"`
	OpenID  string    `json:"openid"`
	UnionID string    `json:"unionid,omitempty"`  // empty: unknown
	StandIn bool      `json:"stand_in,omitempty"` // the unionid is the openid, in an app that has none
	Created time.Time `json:"created"`
}

// weChat names the WeChat account; empty while it is unknown.
func (p PersonIdentity) weChat() unionIDKey {
	if p.StandIn {
		return unionIDKey{p.AppID, p.UnionID}
	}
	return unionIDKey{"", p.UnionID}
}

// sameWeChat says whether two rows are known to be of one WeChat account.
func (p PersonIdentity) sameWeChat(o PersonIdentity) bool {
	if p.UnionID == "" {
		return p.AppID == o.AppID && p.OpenID == o.OpenID
	}
	return p.weChat() == o.weChat()
}

// PersonEvent is an event of a person.
type PersonEvent struct {
	Seq     int64           `json:"seq,omitempty"` // place in the feed; 0: none yet
	ID      string          `json:"id"`
	Type    EventType       `json:"type"`
	Subject string          `json:"subject"`
	Time    time.Time       `json:"time"`
	Data    json.RawMessage `json:"data"`
}

// PreviousID is an id that answers to the person now.
type PreviousID struct {
	ID       string    `json:"id"`
	Kind     Kind      `json:"kind"`
	Created  time.Time `json:"created"`
	MergedAt time.Time `json:"merged_at"`
}

// readIdentities reads the identities of a user, imported ones included.
func readIdentities(ctx context.Context, q querier, id string) ([]PersonIdentity, error) {
	rows, err := q.QueryContext(ctx, `
		SELECT i.appid AS appid, i.openid AS openid, i.scope, i.unionid, i.created FROM wxgate_unionid n
		JOIN wxgate_identity i ON i.scope = n.scope AND i.unionid = n.unionid WHERE n.user_id = ?
		UNION ALL SELECT appid, openid, scope, '', created FROM wxgate_identity WHERE user_id = ?
		ORDER BY appid, openid`, id, id)
	if err != nil {
		return nil, fmt.Errorf("reading identities: %w", err)
	}
	return scanIdentities(rows)
}

// readWeChat reads the identities of the WeChat account that one is of.
func readWeChat(ctx context.Context, q querier, of PersonIdentity) ([]PersonIdentity, error) {
	rows, err := q.QueryContext(ctx, `SELECT appid, openid, scope, unionid, created FROM wxgate_identity
		WHERE scope = ? AND unionid = ? ORDER BY appid, openid`, of.weChat().scope, of.UnionID)
	if err != nil {
		return nil, fmt.Errorf("reading identities: %w", err)
	}
	return scanIdentities(rows)
}

func scanIdentities(rows *sql.Rows) ([]PersonIdentity, error) {
	return collect(rows, func(r *PersonIdentity) error {
		var scope string
		var created int64
		err := rows.Scan(&r.AppID, &r.OpenID, &scope, &r.UnionID, &created)
		r.StandIn, r.Created = scope != "", fromMillis(created)
		return err
	})
}

// readPrevious reads who answers to a user.
func readPrevious(ctx context.Context, q querier, id string) ([]PreviousID, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, kind, created, merged_at FROM wxgate_user WHERE merged_into = ? ORDER BY merged_at DESC, id DESC`, id)
	if err != nil {
		return nil, fmt.Errorf("reading previous ids: %w", err)
	}
	return collect(rows, func(p *PreviousID) error {
		var created, merged int64
		err := rows.Scan(&p.ID, &p.Kind, &created, &merged)
		p.Created, p.MergedAt = fromMillis(created), fromMillis(merged)
		return err
	})
}

// Person returns everything that is kept about one person, what was kept under
// his replaced ids included. A replaced id stands for its survivor.
//
// Errors: ErrUnknownUser.
func (db *DB) Person(ctx context.Context, id string) (Person, error) {
	if err := db.placeEvents(ctx); err != nil {
		return Person{}, fmt.Errorf("placing events: %w", err)
	}
	var p Person
	err := db.inReadTx(ctx, func(tx *sql.Tx) error {
		u, err := person(ctx, tx, id)
		if err != nil {
			return err
		}
		if p.Summary, err = db.summary(u); err != nil {
			return err
		}
		if !u.sessionsFrom.IsZero() {
			p.SessionsFrom = &u.sessionsFrom
		}
		return p.read(ctx, tx)
	})
	if err != nil {
		return Person{}, fmt.Errorf("reading a person: %w", err)
	}
	return p, nil
}

// read fills in what hangs on the user.
func (p *Person) read(ctx context.Context, q querier) (err error) {
	if p.Identities, err = readIdentities(ctx, q, p.ID); err != nil {
		return err
	}
	if p.Visitors, err = readVisitors(ctx, q, p.ID); err != nil {
		return err
	}
	if p.Profiles, err = readProfiles(ctx, q, p.Identities, p.Visitors); err != nil {
		return err
	}
	if p.Previous, err = readPrevious(ctx, q, p.ID); err != nil {
		return err
	}
	if p.Events, err = eventsOf(ctx, q, p.ID); err != nil {
		return err
	}
	if p.Operations, err = readOperations(ctx, q, `WHERE o.subject = ? OR o.subject IN (
		SELECT id FROM wxgate_user WHERE merged_into = ?) ORDER BY o.time DESC, o.id DESC`, p.ID, p.ID); err != nil {
		return err
	}
	p.Conflicts, err = p.readConflicts(ctx, q)
	return err
}

// readVisitors reads the openids of a guest whose unionid is unknown.
func readVisitors(ctx context.Context, q querier, id string) ([]PersonIdentity, error) {
	rows, err := q.QueryContext(ctx, `SELECT appid, openid, created FROM wxgate_visitor WHERE guest_id = ? ORDER BY appid, openid`, id)
	if err != nil {
		return nil, fmt.Errorf("reading visitors: %w", err)
	}
	return collect(rows, func(r *PersonIdentity) error {
		var created int64
		err := rows.Scan(&r.AppID, &r.OpenID, &created)
		r.Created = fromMillis(created)
		return err
	})
}

// eventsOf reads the events of a user and of those who answer to him, as they
// were written.
func eventsOf(ctx context.Context, q querier, id string) ([]PersonEvent, error) {
	rows, err := q.QueryContext(ctx, `SELECT coalesce(seq, 0), id, type, subject, time, data FROM wxgate_event
		WHERE subject = ? OR subject IN (SELECT id FROM wxgate_user WHERE merged_into = ?) ORDER BY written`, id, id)
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return collect(rows, func(e *PersonEvent) error {
		var ms int64
		var data string
		err := rows.Scan(&e.Seq, &e.ID, &e.Type, &e.Subject, &ms, &data)
		e.Time, e.Data = fromMillis(ms), json.RawMessage(data)
		return err
	})
}

// readConflicts reads the conflicts that name the person, or that are about one
// of his openids, the newest first.
func (p *Person) readConflicts(ctx context.Context, q querier) ([]ConflictRecord, error) {
	mine := map[string]bool{p.ID: true}
	for _, prev := range p.Previous {
		mine[prev.ID] = true
	}
	names := func(c ConflictRecord) bool {
		return slices.ContainsFunc(c.Parties, func(party string) bool { return mine[party] })
	}
	all, err := readConflictRecords(ctx, q, namesUsers)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c ConflictRecord) bool { return !names(c) })
	for _, r := range slices.Concat(p.Identities, p.Visitors) {
		row := wantsRow(r.AppID, r.OpenID, "")
		about, err := readConflictRecords(ctx, q, `WHERE wants >= ? AND wants < ?`, row, strings.TrimSuffix(row, "\n")+"\v") // \v follows \n
		if err != nil {
			return nil, err
		}
		all = append(all, slices.DeleteFunc(about, names)...)
	}
	slices.SortFunc(all, func(a, b ConflictRecord) int { return cmp.Or(b.Opened.Compare(a.Opened), strings.Compare(b.ID, a.ID)) })
	return all, nil
}
