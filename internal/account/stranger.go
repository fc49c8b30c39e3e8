package account

import (
	"context"
	"math/bits"
	"slices"
	"strings"

	"github.com/wxgate/wxgate/internal/span"
)

// A stranger is a visitor of whom nothing is stored: neither of his openid, nor
// of his unionid, nor of his phone, nor of the guest whom his session knows.
// What is decided about him only inserts, and what was read for it can change
// in no other way than that one of these rows appears.

// isStranger says whether nothing that a table looks at is stored.
func (f *facts) isStranger() bool {
	return f.own == nil && f.other == "" && f.owner == nil && f.ownerOf == nil && f.target == nil && f.named == nil &&
		f.visitor == nil && f.imported == nil && f.phoneOwner == nil && (f.came == nil || !f.came.stored) && !f.torn
}

// strangerSQL stores nothing, or fails where a row is found: a block of ids
// without an end is refused. No other table refers to this one, or MariaDB would
// open that, too.
const strangerSQL = `INSERT INTO wxgate_id_block (first, next) SELECT 0, NULL FROM `

// check makes sure that the plan is still one about a stranger. It looks for
// what no unique key would miss: the row that an openid has in the one of two
// tables while the plan makes one in the other, and an open conflict that the
// plan would close.
func (a *applier) check() (all []write) {
	at := []any{a.in.AppID, a.in.OpenID}
	if a.plan.linkRow {
		all = append(all, write{strangerSQL + "wxgate_visitor WHERE (appid = ? AND openid = ?)", at})
	}
	if a.plan.setVisitor != "" {
		all = append(all, write{strangerSQL + "wxgate_identity WHERE (appid = ? AND openid = ?)", at})
	}
	if made := a.made(); len(made) > 0 {
		all = append(all, write{strangerSQL + "wxgate_conflict WHERE (wants" + in(len(made)) + " AND open_as IS NOT NULL)", made})
	}
	return all
}

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
	if a.apply() != nil || db.strangers.together(ctx, a.stranger(), db.storeStrangers) != nil {
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

// stranger is what is stored of one.
type stranger struct {
	openIDs []openID // to lock
	writes  []write
}

func (a *applier) stranger() *stranger {
	return &stranger{openIDs: a.lockSet().openIDs, writes: append(a.check(), a.later...)}
}

// fits says whether each statement can be about several strangers, and is the
// same as another's.
func (s *stranger) fits(o *stranger) bool {
	return slices.EqualFunc(s.writes, o.writes, func(a, b write) bool {
		return a.query == b.query && a.oneMore() != ""
	})
}

// isTwin says whether two are about one openid. The second would be no stranger's
// when its turn comes, and all others of its transaction would have to be stored
// anew.
func (s *stranger) isTwin(o *stranger) bool {
	return slices.ContainsFunc(s.openIDs, func(id openID) bool { return slices.Contains(o.openIDs, id) })
}

func (s *stranger) operation() span.Operation {
	return span.Operation{Command: "BATCH", Batch: len(s.writes)}
}

// storeStrangers stores some who fit in one transaction: locks first.
func (db *DB) storeStrangers(ctx context.Context, some []*stranger) error {
	var all []write
	if db.locksRows {
		var openIDs []openID
		for _, s := range some {
			openIDs = append(openIDs, s.openIDs...)
		}
		all = append(all, db.lockOpenIDs(openIDs))
	}
	for i := range some[0].writes {
		if db.remembers {
			all = append(all, inPieces(some, i)...)
		} else {
			all = append(all, aboutAll(some, i))
		}
	}
	return db.together(ctx, all)
}

// oneMore is what makes a statement one about another stranger, too; empty if
// nothing does.
func (w write) oneMore() string {
	if _, condition, found := strings.Cut(w.query, " WHERE "); found && strings.HasPrefix(w.query, strangerSQL) {
		return " OR " + condition
	}
	if _, row, found := strings.Cut(w.query, " VALUES "); found {
		return ", " + row
	}
	return ""
}

// aboutAll makes of one statement for each stranger one about all.
func aboutAll(some []*stranger, i int) write {
	first := some[0].writes[i]
	w := write{query: first.query + strings.Repeat(first.oneMore(), len(some)-1)}
	for _, s := range some {
		w.args = append(w.args, s.writes[i].args...)
	}
	return w
}

// inPieces is aboutAll, but of 1, 2, 4 and so on, so that a connection has few
// statements to remember.
func inPieces(some []*stranger, i int) (all []write) {
	for len(some) > 0 {
		n := 1 << (bits.Len(uint(len(some))) - 1)
		all, some = append(all, aboutAll(some[:n], i)), some[n:]
	}
	return all
}
