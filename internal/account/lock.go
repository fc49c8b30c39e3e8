package account

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// lockSet are the rows that a change is about. Whoever changes accounts locks
// them first, in one order: unionids, then users, each by their keys. A phone is
// a column of its user's row. What has no row yet is kept apart by the unique
// keys of the database, and whoever comes second begins again. Only an openid
// may get its first row in one of two tables, so it has a lock of its own, which
// comes before all others.
type lockSet struct {
	openID   openID
	unionIDs []unionIDKey
	users    []string
}

// errMoved means that others have changed which rows a change is about while it
// waited for its locks. It is a lost race.
var errMoved = errors.New("the rows to lock have changed")

func (r *lockSet) addUnionID(id unionIDKey) {
	if id.unionID != "" && !slices.Contains(r.unionIDs, id) {
		r.unionIDs = append(r.unionIDs, id)
	}
}

func (r *lockSet) addUser(id string) {
	if id != "" && !slices.Contains(r.users, id) {
		r.users = append(r.users, id)
	}
}

// cover says whether all of o are among r.
func (r *lockSet) cover(o lockSet) bool {
	for _, id := range o.unionIDs {
		if !slices.Contains(r.unionIDs, id) {
			return false
		}
	}
	for _, id := range o.users {
		if !slices.Contains(r.users, id) {
			return false
		}
	}
	return true
}

// lock is the number of an openid's lock. Two openids that share one wait for
// each other and are no worse off.
func (o openID) lock() int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(o.appID + "\n" + o.openID)) // never fails
	return int64(h.Sum64() >> 1)
}

// lockAlone keeps every Link and every other operation out to the end of the
// transaction. Operations are rare and look at what they like.
func (db *DB) lockAlone(ctx context.Context, tx *sql.Tx) error {
	if !db.locksRows {
		return nil
	}
	if _, err := tx.ExecContext(ctx, db.lockExclusive); err != nil {
		return fmt.Errorf("locking the accounts: %w", err)
	}
	return nil
}

// lock locks rows to the end of the transaction, where the database locks rows
// at all.
func (db *DB) lock(ctx context.Context, tx *sql.Tx, r lockSet) error {
	if !db.locksRows {
		return nil
	}
	if _, err := tx.ExecContext(ctx, db.lockShared); err != nil {
		return fmt.Errorf("locking out operations: %w", err)
	}
	if r.openID != (openID{}) {
		if _, err := tx.ExecContext(ctx, db.lockOpenID, r.openID.lock()); err != nil {
			return fmt.Errorf("locking an openid: %w", err)
		}
	}
	slices.SortFunc(r.unionIDs, func(a, b unionIDKey) int {
		return cmp.Or(strings.Compare(a.scope, b.scope), strings.Compare(a.unionID, b.unionID))
	})
	for _, id := range r.unionIDs {
		if _, err := text(ctx, tx, `SELECT unionid FROM wxgate_unionid WHERE scope = ? AND unionid = ? FOR UPDATE`, id.scope, id.unionID); err != nil {
			return fmt.Errorf("locking a unionid: %w", err)
		}
	}
	slices.Sort(r.users)
	for _, id := range r.users {
		if _, err := text(ctx, tx, `SELECT id FROM wxgate_user WHERE id = ? FOR UPDATE`, id); err != nil {
			return fmt.Errorf("locking a user: %w", err)
		}
	}
	return nil
}

// lockSet are the rows that the decision is about.
func (f *facts) lockSet() (r lockSet) {
	r.openID = openID{f.in.AppID, f.in.OpenID}
	if f.owner != nil {
		r.addUnionID(f.unionIDKey)
	}
	r.addUnionID(f.replaced)
	for _, u := range []*user{f.came, f.target, f.named, f.visitor, f.ownerOf, f.imported, f.phoneOwner} {
		if u != nil && u.stored {
			r.addUser(u.id)
		}
	}
	return r
}
