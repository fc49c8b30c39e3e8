package account

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/span"
)

// maxGathered is how many go together.
const maxGathered = 32

// gatherer has those who come at the same time go together, as a database server
// does with the commits of those who wait for its disk: who comes while some are
// under way goes with the next. Nobody waits for others to come.
type gatherer[P part[P]] struct {
	spans   span.Database
	timeout time.Duration // of those who do not go alone

	mu      sync.Mutex
	going   []*gathered[P] // empty: nobody is under way
	waiting []*gathered[P]
	stop    func() // those who are under way; nil: one goes alone
}

// part is what one of a crowd wants.
type part[P any] interface {
	// fits says whether it may go with another; with itself: with any.
	fits(P) bool
	// isTwin says whether it is refused while another is there.
	isTwin(P) bool
	// operation is what a trace calls the wait.
	operation() span.Operation
}

// gathered is a part whose turn has come, or will.
type gathered[P any] struct {
	part P
	done chan error // nil: it goes alone
	gone bool       // nobody waits for it any more
}

// errTogether is that of parts which went together. It says nothing about whose
// fault it is.
type errTogether struct{ error }

func (e errTogether) Unwrap() error { return e.error }

// together has run do one part, with those of others if there are any.
func (g *gatherer[P]) together(ctx context.Context, p P, run func(context.Context, []P) error) error {
	if !p.fits(p) {
		return run(ctx, []P{p})
	}
	own, waits, err := g.add(p)
	if err != nil {
		return err
	}
	if waits {
		_, told := g.spans.Start(ctx, p.operation())
		err := g.wait(ctx, own)
		told.EndWith(err)
		return err
	}
	defer func() {
		if next := g.next(); next != nil {
			go g.runAll(next, run)
		}
	}()
	return run(ctx, []P{p})
}

// add has a part wait while others are under way. Otherwise that part is the one
// that others wait for from now on. A twin of one that is there is refused.
func (g *gatherer[P]) add(p P) (own *gathered[P], waits bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	isTwin := func(o *gathered[P]) bool { return p.isTwin(o.part) }
	if slices.ContainsFunc(g.going, isTwin) || slices.ContainsFunc(g.waiting, isTwin) {
		return nil, false, errMoved
	}
	own = &gathered[P]{part: p}
	if len(g.going) == 0 {
		g.going = []*gathered[P]{own}
		return own, false, nil
	}
	own.done = make(chan error, 1)
	g.waiting = append(g.waiting, own)
	return own, true, nil
}

// wait waits until a part is done with those of others.
func (g *gatherer[P]) wait(ctx context.Context, own *gathered[P]) error {
	select {
	case err := <-own.done:
		return err
	case <-ctx.Done():
		g.giveUp(own)
		return ctx.Err()
	}
}

// giveUp takes a part away for which nobody waits any more. Those under way go on
// as long as somebody waits for one of them: others wait for their end.
func (g *gatherer[P]) giveUp(own *gathered[P]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own.gone = true
	g.waiting = slices.DeleteFunc(g.waiting, func(o *gathered[P]) bool { return o == own })
	g.stopForNobody()
}

// stopForNobody stops those who are under way where nobody waits for any.
func (g *gatherer[P]) stopForNobody() {
	if g.stop != nil && !slices.ContainsFunc(g.going, func(o *gathered[P]) bool { return !o.gone }) {
		g.stop()
	}
}

// start returns the context of those who are under way.
func (g *gatherer[P]) start() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop = cancel
	g.stopForNobody()
	return ctx, cancel
}

// runAll does parts until nobody waits. Those who wait may give up one by one, so
// no context of theirs is the one of all.
func (g *gatherer[P]) runAll(going []*gathered[P], run func(context.Context, []P) error) {
	for ; going != nil; going = g.next() {
		parts := make([]P, len(going))
		for i, one := range going {
			parts[i] = one.part
		}
		ctx, cancel := g.start()
		err := run(ctx, parts)
		cancel()
		if err != nil {
			err = errTogether{err}
		}
		for _, one := range going {
			one.done <- err
		}
	}
}

// next takes from those who wait the first, and others who fit. Nil means that
// nobody waits.
func (g *gatherer[P]) next() []*gathered[P] {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.going, g.stop = nil, nil
	g.waiting = slices.DeleteFunc(g.waiting, func(o *gathered[P]) bool {
		goes := len(g.going) == 0 || len(g.going) < maxGathered && o.part.fits(g.going[0].part)
		if goes {
			g.going = append(g.going, o)
		}
		return goes
	})
	return g.going
}
