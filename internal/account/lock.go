package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
)

// lockSet are the rows that a change is about. Whoever changes accounts locks
// them first, in one order: unionids, then users, each by their keys. A phone is
// a column of its user's row. What has no row yet is kept apart by the unique
// keys of the database, and whoever comes second begins again. Only an openid
// may get its first row in one of two tables, so it has a lock of its own, which
// comes before all others.
type lockSet struct {
	openIDs  []openID
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

// lockNumber is the number of an openid's lock. Two openids that share one wait
// for each other and are no worse off.
func (d *dialect) lockNumber(o openID) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(o.appID + "\n" + o.openID)) // never fails
	return 1 + int64(h.Sum64()%d.numbers)
}

// lockAlone keeps every Link and every other operation out to the end of the
// transaction. Operations are rare, short, and look at what they like; one that
// is about many people is a chain of such transactions.
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
// at all. Each kind is one statement, which locks its rows in their order.
func (db *DB) lock(ctx context.Context, tx *sql.Tx, r lockSet) error {
	if !db.locksRows {
		return nil
	}
	first := db.lockOpenIDs(r.openIDs)
	if err := lockRows(ctx, tx, first.query, first.args); err != nil {
		return fmt.Errorf("locking openids: %w", err)
	}
	byScope := grouped{}
	for _, id := range r.unionIDs {
		byScope.add(id.scope, id.unionID)
	}
	for _, scope := range slices.Sorted(maps.Keys(byScope)) {
		ids := fill(byScope[scope])
		query := "SELECT unionid FROM wxgate_unionid" + db.byKey + " WHERE scope = ? AND unionid" + in(len(ids)) + " ORDER BY unionid FOR UPDATE"
		if err := lockRows(ctx, tx, query, append([]any{scope}, ids...)); err != nil {
			return fmt.Errorf("locking unionids: %w", err)
		}
	}
	if len(r.users) == 0 {
		return nil
	}
	ids := fill(anyOf(r.users))
	query := "SELECT id FROM wxgate_user" + db.byKey + " WHERE id" + in(len(ids)) + " ORDER BY id FOR UPDATE"
	if err := lockRows(ctx, tx, query, ids); err != nil {
		return fmt.Errorf("locking users: %w", err)
	}
	return nil
}

// lockRows reads what a query locks. As an Exec, a prepared query that has no
// rows hangs the MySQL driver (1.10.1).
func lockRows(ctx context.Context, tx *sql.Tx, query string, args []any) error {
	return queryRows(ctx, tx, query, args, func(*sql.Rows) error { return nil })
}

// lockOpenIDs is the statement that locks out operations, and openids.
func (d *dialect) lockOpenIDs(openIDs []openID) write {
	if len(openIDs) == 0 {
		return write{query: d.lockShared}
	}
	numbers := make([]int64, len(openIDs))
	for i, id := range openIDs {
		numbers[i] = d.lockNumber(id)
	}
	slices.Sort(numbers)
	args := fill(anyOf(numbers))
	return write{d.lockNumbers(len(args)), args}
}

// lockSet are the rows that the decision is about.
func (f *facts) lockSet() (r lockSet) {
	if f.in.OpenID != "" {
		r.openIDs = []openID{{f.in.AppID, f.in.OpenID}}
	}
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
