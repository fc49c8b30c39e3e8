package account

import "context"

// A stranger is a visitor of whom nothing is stored: neither of his openid, nor
// of his unionid, nor of his phone, nor of the guest whom his session knows.
// What is decided about him only inserts, and what was read for it can change
// in no other way than that one of these rows appears.

// isStranger says whether nothing that a table looks at is stored.
func (f *facts) isStranger() bool {
	return f.own == nil && f.other == "" && f.owner == nil && f.ownerOf == nil && f.target == nil && f.named == nil &&
		f.visitor == nil && f.imported == nil && f.phoneOwner == nil && (f.came == nil || !f.came.stored) && !f.torn
}

// strangerSQL stores nothing, or fails: a user without an id is refused. It
// comes before what a plan inserts and looks for what no unique key would miss:
// the row that an openid has in the one of two tables while the plan makes one
// in the other, and an open conflict that the plan would close.
const strangerSQL = `INSERT INTO wxgate_user (id, kind, created, last_seen) SELECT NULL, 'guest', 0, 0 FROM (SELECT 1 AS one) AS x
WHERE EXISTS (SELECT 1 FROM wxgate_identity WHERE appid = ? AND openid = ?)
OR EXISTS (SELECT 1 FROM wxgate_visitor WHERE appid = ? AND openid = ?)
OR EXISTS (SELECT 1 FROM wxgate_conflict WHERE wants IN (?, ?, ?) AND open_as IS NOT NULL)`

// storeStranger stores a plan that was made of a stranger in one go, without
// reading anything again: locks and constraints have the last word. If he has
// become known meanwhile, or anything else is in the way, nothing is stored,
// and the caller decides again in the ordinary way. Should the connection get
// lost, he finds there what was stored.
func (db *DB) storeStranger(ctx context.Context, c call, f *facts, p plan) (out Outcome, stored bool) {
	if !f.isStranger() || len(p.merges) > 0 || p.conflict != nil || p.needsShop(c.rules) {
		return Outcome{}, false
	}
	id, err := db.ids.take(ctx)
	if err != nil {
		return Outcome{}, false
	}
	a := &applier{change: &change{ctx: ctx, at: f.now}, facts: f, plan: p, freshID: id}
	if a.apply() != nil || db.together(ctx, append(db.strangersLocks(a), a.later...)) != nil {
		return Outcome{}, false // the id may be the very key that was there
	}
	out = f.outcome(&a.plan)
	if out.UserID != id {
		db.ids.giveBack(id)
	}
	out.Events = a.events
	db.changed(a.changed)
	return out, true
}

// strangersLocks are the statements that a stranger's plan begins with.
func (db *DB) strangersLocks(a *applier) (first []write) {
	if db.locksRows {
		first = append(first, write{query: db.lockShared})
		for _, id := range a.lockSet().openIDs {
			first = append(first, write{db.lockNumbers(1), []any{db.lockNumber(id)}})
		}
	}
	at := []any{a.in.AppID, a.in.OpenID, a.in.AppID, a.in.OpenID}
	return append(first, write{strangerSQL, append(at, a.made()...)})
}
