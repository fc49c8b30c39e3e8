package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// previousFor bounds X-User-Previous-ID in time; resolveSQL bounds its number.
const previousFor = 30 * 24 * time.Hour

// RotationGrace is how long a session is served as what it was after a login
// has replaced it, or has merged its guest. The login's answer, which brings
// another session, is still under way, and so is what the browser has sent
// besides.
const RotationGrace = time.Minute

// resolveSQL reads all that Resolve looks at in one statement, so in one state
// of the database: the revocation, the user, whom he was merged into, the user
// of the sealed unionid, and the ids merged into the current user.
const resolveSQL = `
SELECT 'revocation' AS what, '' AS id, '' AS kind, dies AS n, 0 AS seen, 0 AS cancelled, 0 AS phone
FROM wxgate_revocation WHERE session_id = ?
UNION ALL
SELECT 'user', id, kind, coalesce(sessions_from, 0), last_seen,
	CASE WHEN cancelled IS NULL THEN 0 ELSE 1 END, CASE WHEN phone_key IS NULL THEN 0 ELSE 1 END FROM wxgate_user WHERE id = ?
UNION ALL
SELECT 'target', t.id, t.kind, coalesce(t.sessions_from, 0), t.last_seen,
	CASE WHEN t.cancelled IS NULL THEN 0 ELSE 1 END, CASE WHEN t.phone_key IS NULL THEN 0 ELSE 1 END
FROM wxgate_user u JOIN wxgate_user t ON t.id = u.merged_into WHERE u.id = ?
UNION ALL
SELECT 'owner', user_id, '', 0, 0, 0, 0 FROM wxgate_unionid WHERE scope = ? AND unionid = ? AND user_id IS NOT NULL
UNION ALL
SELECT * FROM (
	SELECT 'previous' AS what, id, kind, merged_at AS n, 0 AS seen, 0 AS cancelled, 0 AS phone FROM wxgate_user
	WHERE merged_into = coalesce((SELECT merged_into FROM wxgate_user WHERE id = ?), ?) AND merged_at > ?
	ORDER BY merged_at DESC, id DESC LIMIT 20
) AS p`

// Resolve returns whom a session stands for now. ErrSessionDead means that it
// stands for nobody any more.
func (db *DB) Resolve(ctx context.Context, ref SessionRef) (Resolved, error) {
	now := time.Now()
	var s standing
	err := db.retry(ctx, func() error {
		return db.readBriefly(ctx, func(ctx context.Context, q querier) (err error) {
			s, err = readStanding(ctx, q, ref, now)
			return err
		})
	})
	if err != nil {
		return Resolved{}, fmt.Errorf("resolving a session: %w", err)
	}
	res, err := s.resolve(ref, now)
	if u := s.served(res.UserID); u != nil && u.kind == Member && !ref.Unattended && now.Sub(u.lastSeen) >= seenInterval {
		db.see(ctx, u.id, now)
	}
	return res, err
}

// seenWithin bounds what noting a visit may cost the visitor.
const seenWithin = 100 * time.Millisecond

// see notes that a member was here, whose session may live for months without a
// Link. It is an extra: a database that cannot be written still resolves.
func (db *DB) see(ctx context.Context, id string, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	if _, err := db.write.ExecContext(ctx, `UPDATE wxgate_user SET last_seen = ? WHERE id = ? AND last_seen < ?`, millis(now), id, millis(now)); err != nil {
		db.log.Load().WarnContext(ctx, "a member's visit was not noted", "error", err)
	}
}

// standing is what resolveSQL finds.
type standing struct {
	user, target *user
	dies         time.Time // of the revocation; zero: there is none
	owner        string    // user of the sealed unionid
	previous     []string  // of the target, else of the user
	merged       time.Time // when the user was, if not long ago
}

// served returns the one of the users whose id it is.
func (s *standing) served(id string) *user {
	for _, u := range []*user{s.user, s.target} {
		if u != nil && u.id == id {
			return u
		}
	}
	return nil
}

func readStanding(ctx context.Context, q querier, ref SessionRef, now time.Time) (s standing, err error) {
	sealed := sealedUnionID(ref.AppID, ref.OpenID, ref.UnionID)
	rows, err := q.QueryContext(ctx, resolveSQL, ref.ID, ref.UserID, ref.UserID, sealed.scope, sealed.unionID,
		ref.UserID, ref.UserID, millis(now.Add(-previousFor)))
	if err != nil {
		return s, err
	}
	defer rows.Close()
	for rows.Next() {
		var what string
		var n, seen int64
		u := &user{stored: true}
		if err := rows.Scan(&what, &u.id, &u.kind, &n, &seen, &u.cancelled, &u.hasPhone); err != nil {
			return s, err
		}
		u.lastSeen = fromMillis(seen)
		if n > 0 {
			u.sessionsFrom = fromMillis(n)
		}
		switch what {
		case "revocation":
			s.dies = fromMillis(n)
		case "user":
			s.user = u
		case "target":
			s.target = u
		case "owner":
			s.owner = u.id
		case "previous":
			s.previous = append(s.previous, u.id)
			if u.id == ref.UserID {
				s.merged = fromMillis(n)
			}
		}
	}
	return s, rows.Err()
}

// resolve applies the rules to what was found.
func (s *standing) resolve(ref SessionRef, now time.Time) (Resolved, error) {
	res := Resolved{DiesAt: s.dies}
	if !s.dies.IsZero() && !now.Before(s.dies) {
		return Resolved{}, ErrSessionDead
	}
	if ref.UserID == "" {
		return res, nil
	}
	u := s.user
	if u == nil {
		u = &user{id: ref.UserID, kind: Guest} // has no row before he is linked
	}
	if u.kind != ref.Kind || u.dead(ref.IssuedAt) {
		return Resolved{}, ErrSessionDead
	}
	if t := s.target; t != nil {
		switch {
		case t.dead(ref.IssuedAt):
			return Resolved{}, ErrSessionDead
		case u.kind == Member, t.kind == Guest, s.owner == t.id:
			u = t
		case s.dies.IsZero() && !now.Before(s.merged.Add(RotationGrace)):
			return Resolved{}, ErrSessionDead
		default: // rotated away a moment ago, or about to be: served as what it was
			s.previous = nil
			if s.dies.IsZero() {
				res.DiesAt = s.merged.Add(RotationGrace)
			}
		}
	}
	res.UserID, res.Kind, res.PhoneVerified, res.Previous = u.id, u.kind, u.hasPhone, s.previous
	return res, nil
}

// RevokeSession ends a session at a time: at once, or after the grace of a
// rotation. A second call can only bring the end forward. After forgetAt every
// token of the session has expired by itself.
func (db *DB) RevokeSession(ctx context.Context, id string, at, forgetAt time.Time) error {
	inv := Invalidation{SessionID: id}
	if !at.After(time.Now()) {
		at = at.Add(-clockSkew) // over for instances whose clock is behind, too
	}
	err := db.inRepeatableTx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE wxgate_revocation SET dies = CASE WHEN dies < ? THEN dies ELSE ? END,
			forget = CASE WHEN forget > ? THEN forget ELSE ? END WHERE session_id = ?`,
			millis(at), millis(at), millis(forgetAt), millis(forgetAt), id)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if n == 0 && err == nil {
			_, err = tx.ExecContext(ctx, `INSERT INTO wxgate_revocation (session_id, dies, forget) VALUES (?, ?, ?)`, id, millis(at), millis(forgetAt))
		}
		if err != nil {
			return err
		}
		return invalidate(ctx, tx, inv)
	})
	if err != nil {
		return fmt.Errorf("revoking a session: %w", err)
	}
	db.changed([]Invalidation{inv})
	return nil
}

// ErrUnknownUser means that no row has that user id.
var ErrUnknownUser = errors.New("unknown user")

// RevokeUser ends every session of a member or of a guest with a row, those
// under ids that were merged into him included. A replaced id stands for its
// survivor. Errors: ErrUnknownUser, ErrNoReason.
func (db *DB) RevokeUser(ctx context.Context, id string, by By) error {
	_, err := db.operate(ctx, by, func(c *change) error {
		who, err := person(ctx, c.tx, id)
		if err != nil {
			return err
		}
		if err := c.endSessions(who.id); err != nil {
			return err
		}
		return c.record(by, deed{ActionRevoke, who.id, struct{}{}})
	})
	if err != nil {
		return fmt.Errorf("revoking the sessions of a user: %w", err)
	}
	return nil
}

// clockSkew is how far apart the clocks of instances may be. A session that one
// with a fast clock has issued dies too when a slow one ends sessions.
const clockSkew = 10 * time.Second

// endSessions ends all sessions of a user and of those who answer to him. Who
// logs in afterwards gets a session that is issued no sooner than that, however
// the clocks are, so each time is later than the one before.
func (c *change) endSessions(id string) error {
	var last sql.NullInt64
	err := c.tx.QueryRowContext(c.ctx, `SELECT max(sessions_from) FROM wxgate_user WHERE id = ? OR merged_into = ?`, id, id).Scan(&last)
	if err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	// Sessions know when they were issued in seconds: those of this one die too.
	from := max(millis(c.at.Add(clockSkew).Truncate(time.Second)), last.Int64) + time.Second.Milliseconds()
	if err := c.exec(`UPDATE wxgate_user SET sessions_from = ? WHERE id = ? OR merged_into = ?`, from, id, id); err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	c.changed = append(c.changed, Invalidation{UserID: id})
	return nil
}

// Prune removes revocations of sessions that have expired, invalidations that
// every instance has read long ago, events after EventsKept, what was parked or
// is in no configuration for as long, and copies of the data key under secrets
// that were replaced long ago.
func (db *DB) Prune(ctx context.Context, now time.Time) error {
	err := db.inTx(ctx, func(tx *sql.Tx) error { return pruneDeliveries(ctx, tx, millis(now.Add(-EventsKept))) })
	if err != nil {
		return fmt.Errorf("pruning deliveries: %w", err)
	}
	if err := db.pruneEvents(ctx, now); err != nil {
		return fmt.Errorf("pruning events: %w", err)
	}
	return db.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM wxgate_revocation WHERE forget <= ?`, millis(now)); err != nil {
			return fmt.Errorf("pruning revocations: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM wxgate_invalidation WHERE time < ?`, millis(now.Add(-invalidationKept))); err != nil {
			return fmt.Errorf("pruning the invalidation log: %w", err)
		}
		if err := pruneNewcomers(ctx, tx, now); err != nil {
			return fmt.Errorf("pruning the keys of newcomers: %w", err)
		}
		if err := db.pruneDataKeys(ctx, tx, now); err != nil {
			return fmt.Errorf("pruning data keys: %w", err)
		}
		return nil
	})
}
