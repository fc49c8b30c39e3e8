package account

import (
	"context"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"github.com/wxgate/wxgate/internal/span"
)

// maxGathered is how many strangers are stored together.
const maxGathered = 32

// gatherer stores strangers who come at the same time in one transaction, as a
// database server does with the commits of those who wait for its disk: who
// comes while one is under way goes with the next one. Nobody waits for others
// to come.
type gatherer struct {
	mu      sync.Mutex
	storing []*gathered // empty: nobody is being stored
	waiting []*gathered
}

// gathered is one stranger's part.
type gathered struct {
	openIDs []openID // to lock
	writes  []write
	done    chan error
}

// storeTogether stores one part, with those of others if there are any. An error
// says nothing about whose fault it is.
func (db *DB) storeTogether(ctx context.Context, part *gathered) error {
	if !part.fits(part) {
		return db.together(ctx, db.strangers([]*gathered{part}))
	}
	waits, err := db.gather.add(part)
	if err != nil {
		return err
	}
	if waits {
		_, told := db.spans.Start(ctx, span.Operation{Command: "BATCH", Batch: len(part.writes)})
		err := db.gather.wait(ctx, part)
		told.EndWith(err)
		return err
	}
	defer func() {
		if parts := db.gather.next(); parts != nil {
			go db.storeWaiting(parts)
		}
	}()
	return db.together(ctx, db.strangers([]*gathered{part}))
}

// wait waits until a part is stored with those of others.
func (g *gatherer) wait(ctx context.Context, part *gathered) error {
	select {
	case err := <-part.done:
		return err
	case <-ctx.Done():
		g.forget(part)
		return ctx.Err()
	}
}

// add has a part wait while another is being stored. Otherwise that part is the
// one that others wait for from now on. One about an openid that is among them
// already is refused: it would be no stranger's when its turn comes, and all
// others of its transaction would have to be stored anew.
func (g *gatherer) add(part *gathered) (waits bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.ContainsFunc(g.storing, part.isTwin) || slices.ContainsFunc(g.waiting, part.isTwin) {
		return false, errMoved
	}
	if len(g.storing) == 0 {
		g.storing = []*gathered{part}
		return false, nil
	}
	part.done = make(chan error, 1)
	g.waiting = append(g.waiting, part)
	return true, nil
}

// forget takes a part away for which nobody waits any more, unless it is being
// stored.
func (g *gatherer) forget(part *gathered) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(p *gathered) bool { return p == part })
}

// storeWaiting stores parts until nobody waits. Those who wait may give up one
// by one, so no context of theirs is the one of all.
func (db *DB) storeWaiting(parts []*gathered) {
	for ; parts != nil; parts = db.gather.next() {
		err := db.together(context.Background(), db.strangers(parts))
		for _, part := range parts {
			part.done <- err
		}
	}
}

// next takes from those who wait the first, and others whose statements are the
// same. Nil means that nobody waits.
func (g *gatherer) next() []*gathered {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.storing = nil
	g.waiting = slices.DeleteFunc(g.waiting, func(p *gathered) bool {
		goes := len(g.storing) == 0 || len(g.storing) < maxGathered && p.fits(g.storing[0])
		if goes {
			g.storing = append(g.storing, p)
		}
		return goes
	})
	return g.storing
}

// fits says whether each statement can be about several parts, and is the same
// as another's.
func (p *gathered) fits(o *gathered) bool {
	return slices.EqualFunc(p.writes, o.writes, func(a, b write) bool {
		return a.query == b.query && a.oneMore() != ""
	})
}

// isTwin says whether two parts are about one openid.
func (p *gathered) isTwin(o *gathered) bool {
	return slices.ContainsFunc(p.openIDs, func(id openID) bool { return slices.Contains(o.openIDs, id) })
}

// oneMore is what makes a statement one about another part, too; empty if
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

// strangers are the statements that store parts which fit: locks first.
func (db *DB) strangers(parts []*gathered) (all []write) {
	if db.locksRows {
		var openIDs []openID
		for _, p := range parts {
			openIDs = append(openIDs, p.openIDs...)
		}
		all = db.lockOpenIDs(openIDs)
	}
	for i := range parts[0].writes {
		all = append(all, inPieces(parts, i)...)
	}
	return all
}

// inPieces makes of one statement for each part statements about several. They
// are about 1, 2, 4 and so on, so that a connection has few to remember.
func inPieces(parts []*gathered, i int) (all []write) {
	first := parts[0].writes[i]
	for len(parts) > 0 {
		n := 1 << (bits.Len(uint(len(parts))) - 1)
		w := write{query: first.query + strings.Repeat(first.oneMore(), n-1)}
		for _, p := range parts[:n] {
			w.args = append(w.args, p.writes[i].args...)
		}
		all, parts = append(all, w), parts[n:]
	}
	return all
}
