package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// stage holds the rows of an import while they are compared with each other: a
// private SQLite database in a file that has no name, so that memory stays
// bounded and nothing is left of it when the process is killed.
type stage struct {
	pool *sql.DB
	tx   *sql.Tx
	add  *sql.Stmt
}

// What of a row is left out.
const (
	skipOpenID = 1 << iota
	skipPhone
	skipUser // and with him everything
)

const stageSchema = `
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -32000; -- KB
CREATE TABLE line (
	n INTEGER PRIMARY KEY, user_id TEXT NOT NULL, kind TEXT NOT NULL, own INTEGER NOT NULL,
	phone_key TEXT NOT NULL, phone_sealed TEXT NOT NULL,
	appid TEXT NOT NULL, openid TEXT NOT NULL, scope TEXT NOT NULL, unionid TEXT NOT NULL,
	created INTEGER NOT NULL, last_seen INTEGER NOT NULL, linked INTEGER NOT NULL,
	merged_into TEXT NOT NULL, merged_at INTEGER NOT NULL, cancelled INTEGER NOT NULL, sessions_from INTEGER NOT NULL,
	skip INTEGER NOT NULL DEFAULT 0
) STRICT;
`

func newStage(ctx context.Context) (*stage, error) {
	pool, err := sql.Open("sqlite", "") // no name: private, and gone with its connection
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	s := &stage{pool: pool}
	if _, err := pool.ExecContext(ctx, stageSchema); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	if s.tx, err = pool.BeginTx(ctx, nil); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	s.add, err = s.tx.PrepareContext(ctx, `INSERT INTO line (n, user_id, kind, own, phone_key, phone_sealed, appid, openid, scope, unionid,
		created, last_seen, linked, merged_into, merged_at, cancelled, sessions_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close forgets everything.
func (s *stage) close() error { return errors.Join(s.tx.Rollback(), s.pool.Close()) }

// put adds a row.
func (s *stage) put(ctx context.Context, r *record) error {
	var sealed string
	if r.phone.key != "" {
		sealed = r.phone.sealed(r.userID)
	}
	_, err := s.add.ExecContext(ctx, r.line, r.userID, string(r.kind), r.own, r.phone.key, sealed, r.appID, r.openID, r.scope, r.unionID,
		r.created, r.lastSeen, r.linked, r.mergedInto, r.mergedAt, r.cancelled, r.sessionsFrom)
	return err
}

func (s *stage) exec(ctx context.Context, query string, args ...any) error {
	_, err := s.tx.ExecContext(ctx, query, args...)
	return err
}

func (s *stage) count(ctx context.Context, query string, args ...any) (n int, err error) {
	err = s.tx.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// A contradiction is what rows of one file can say against each other.
type contradiction struct {
	code    ProblemCode
	key     string // columns that the rows have in common
	where   string
	differs string // a column in which they may not differ, the empty text apart
	skip    int    // what of all these rows is left out
}

// contradictions of a file. Nobody can tell which of the rows is right, so all
// of them are left out.
func contradictions(rules Rules) []contradiction {
	all := []contradiction{
		{UserDiffers, "user_id", "user_id <> ''", "kind", skipUser},
		{UserDiffers, "user_id", "user_id <> ''", "merged_into", skipUser},
		{UserDiffers, "user_id", "user_id <> '' AND cancelled <> 0", "cancelled", skipUser},
		{UserGone, "user_id", "user_id <> '' AND (merged_into <> '' OR cancelled <> 0 OR openid <> '' OR phone_key <> '')",
			"CASE WHEN merged_into <> '' OR cancelled <> 0 THEN 'gone' ELSE 'here' END", skipUser},
		{UserTwoPhones, "user_id", "phone_key <> ''", "phone_key", skipPhone},
		{PhoneTwice, "phone_key", "phone_key <> ''", "user_id", skipPhone},
		{OpenIDTwice, "appid, openid", "openid <> ''", "user_id", skipOpenID},
		{OpenIDTwoUnionIDs, "appid, openid", "openid <> ''", "unionid", skipOpenID},
		{UnionIDTwice, "scope, unionid", "openid <> '' AND unionid <> ''", "user_id", skipOpenID},
		{UnionIDTwoOpenIDs, "appid, unionid", "openid <> '' AND unionid <> ''", "openid", skipOpenID},
	}
	if rules.Linking != ManyUnionIDs {
		all = append(all, contradiction{UserTwoUnionIDs, "user_id, scope", "user_id <> '' AND openid <> '' AND unionid <> ''", "unionid", skipOpenID})
	}
	return all
}

// find reports the rows that contradict each other and marks what of them is
// left out.
func (s *stage) find(ctx context.Context, c contradiction, report func(Problem) error) error {
	differs := fmt.Sprintf("nullif(%s, '')", c.differs)
	err := s.exec(ctx, fmt.Sprintf(`CREATE TABLE bad AS SELECT row_number() OVER () AS id, %s FROM line WHERE %s GROUP BY %s HAVING min(%s) <> max(%s)`,
		c.key, c.where, c.key, differs, differs))
	if err != nil {
		return err
	}
	rows, err := s.tx.QueryContext(ctx, fmt.Sprintf(`SELECT bad.id, line.n, line.user_id FROM line JOIN bad USING (%s) WHERE %s ORDER BY bad.id, line.n`, c.key, c.where))
	if err != nil {
		return err
	}
	defer rows.Close()
	p, last := Problem{Code: c.code, Left: c.leaves()}, 0
	for rows.Next() {
		var id, line int
		var user string
		if err := rows.Scan(&id, &line, &user); err != nil {
			return err
		}
		if id != last && last != 0 {
			if err := report(p); err != nil {
				return err
			}
			p = Problem{Code: c.code, Left: c.leaves()}
		}
		p.add(line, user)
		last = id
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if last != 0 {
		if err := report(p); err != nil {
			return err
		}
	}
	err = s.exec(ctx, fmt.Sprintf(`UPDATE line SET skip = skip | %d WHERE %s AND (%s) IN (SELECT %s FROM bad)`, c.skip, c.where, c.key, c.key))
	if err != nil {
		return err
	}
	return s.exec(ctx, `DROP TABLE bad`)
}

func (c contradiction) leaves() Left {
	return map[int]Left{skipOpenID: LeftOpenID, skipPhone: LeftPhone, skipUser: LeftUser}[c.skip]
}

// groupUsers gathers what the rows say of each user: those who are merged
// behind those they are merged into.
func (s *stage) groupUsers(ctx context.Context) error {
	return s.exec(ctx, `
		CREATE TABLE person (
			n INTEGER PRIMARY KEY, line INTEGER, user_id TEXT, kind TEXT, own INTEGER, created INTEGER, last_seen INTEGER,
			merged_into TEXT, merged_at INTEGER, cancelled INTEGER, sessions_from INTEGER,
			phone_key TEXT, phone_sealed TEXT, phone_line INTEGER, skip INTEGER
		);
		INSERT INTO person SELECT NULL, min(n), user_id, coalesce(nullif(max(kind), ''), 'member'), max(own),
			coalesce(min(nullif(created, 0)), 0), max(last_seen), max(merged_into), max(merged_at), max(cancelled), max(sessions_from),
			max(phone_key), max(phone_sealed), coalesce(min(CASE WHEN phone_key <> '' THEN n END), 0),
			max(skip & 2) | max(skip & 4)
		FROM line WHERE user_id <> '' GROUP BY user_id ORDER BY max(merged_into) <> '', user_id;
		CREATE UNIQUE INDEX person_user ON person (user_id);`)
}

// groupOpenIDs gathers what the rows say of each openid.
func (s *stage) groupOpenIDs(ctx context.Context) error {
	return s.exec(ctx, `
		CREATE TABLE openid (
			n INTEGER PRIMARY KEY, line INTEGER, user_id TEXT, kind TEXT, appid TEXT, openid TEXT, scope TEXT, unionid TEXT,
			linked INTEGER, skip INTEGER, own INTEGER
		);
		INSERT INTO openid SELECT NULL, min(l.n), max(l.user_id), coalesce(p.kind, 'nobody'), l.appid, l.openid, max(l.scope), max(l.unionid),
			max(l.linked), max(l.skip & 1) | max(coalesce(p.skip, 0) & 4), max(l.own)
		FROM line l LEFT JOIN person p USING (user_id) WHERE l.openid <> '' GROUP BY l.appid, l.openid;`)
}
