package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// lost is a database of a server that takes connections away.
type lost struct {
	*testing.T
	server *dbtest.Server
	url    string
	db     *DB
}

func onLost(t *testing.T, server func(testing.TB, dbtest.Engine) *dbtest.Server, f func(lost)) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			s := server(t, e)
			url := s.Database(t)
			f(lost{t, s, url, openURL(t, url)})
		})
	}
}

// disconnect makes use of all connections of the pool and takes them away.
func (l lost) disconnect() {
	l.Helper()
	l.connect()
	l.server.Disconnect(l, l.url)
}

// connect fills the pool.
func (l lost) connect() {
	l.Helper()
	var conns []*sql.Conn
	for range maxConnections {
		c, err := l.db.write.Conn(context.Background())
		must(l, err)
		conns = append(conns, c)
	}
	for _, c := range conns {
		must(l, c.Close())
	}
}

// calls are methods of each kind, in which a person may notice a restart.
func (l lost) calls(n int) map[string]func() error {
	ctx, now := context.Background(), time.Now()
	known := SessionRef{ID: "s", UserID: "U1", Kind: Member, IssuedAt: now}
	return map[string]func() error{
		"Resolve": func() error { _, err := l.db.Resolve(ctx, known); return err },
		"Link of who is known": func() error {
			_, err := l.db.Link(ctx, Rules{}, proved("oa", "x", "X"))
			return err
		},
		"Link of who is new": func() error {
			_, err := l.db.Link(ctx, Rules{}, proved("oa", fmt.Sprint("y", n), fmt.Sprint("Y", n)).login())
			return err
		},
		"NewGuestID": func() error {
			for range blockSize {
				if _, err := l.db.NewGuestID(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		"RevokeSession": func() error { return l.db.RevokeSession(ctx, fmt.Sprint("r", n), now, now) },
		"Find":          func() error { _, err := l.db.Find(ctx, "U1"); return err },
		"Person":        func() error { _, err := l.db.Person(ctx, "U1"); return err },
		"AssertionKeys": func() error { _, err := l.db.AssertionKeys(ctx); return err },
		"Conflicts":     func() error { _, err := l.db.Conflicts(ctx, false, Page{}); return err },
		"Ping":          func() error { return l.db.Ping(ctx) },
		"Prune":         func() error { return l.db.Prune(ctx, now) },
		"Next":          func() error { return l.db.ReadInvalidations().Next(ctx, func(Invalidation) {}) },
	}
}

// After a restart every connection of before is dead, and nobody notices.
func TestNobodyNoticesThatTheServerWasRestarted(t *testing.T) {
	onLost(t, dbtest.Start, func(l lost) {
		newWorldIn(l, l.db, Rules{}, "member U1", "identity oa x X U1")
		for round := range 2 {
			l.connect()
			l.server.Kill()
			if err := l.db.Ping(l.Context()); err == nil {
				l.Error("a killed server answers")
			}
			l.server.Restart(l)
			var wg sync.WaitGroup
			for i := range 4 {
				for what, call := range l.calls(4*round + i) {
					wg.Go(func() {
						if err := call(); err != nil {
							l.Errorf("%s: %v", what, err)
						}
					})
				}
			}
			wg.Wait()
		}
		checkInvariants(l, l.db)
	})
}

// Connections that were in use a moment ago are believed to be sound.
func TestNobodyNoticesThatHisConnectionIsGone(t *testing.T) {
	onLost(t, dbtest.Shared, func(l lost) {
		newWorldIn(l, l.db, Rules{}, "member U1", "identity oa x X U1")
		for what := range l.calls(0) {
			l.disconnect()
			if err := l.calls(0)[what](); err != nil {
				l.Errorf("%s: %v", what, err)
			}
		}
	})
}

// What has not been committed when the connection goes is done again, and once.
func TestATransactionThatLosesItsConnectionIsDoneAgain(t *testing.T) {
	onLost(t, dbtest.Shared, func(l lost) {
		tries := 0
		must(l, l.db.inTx(l.Context(), func(tx *sql.Tx) error {
			tries++
			if err := invalidate(l.Context(), tx, Invalidation{UserID: "x"}); err != nil {
				return err
			}
			if tries == 1 {
				l.server.Disconnect(l, l.url)
			}
			return invalidate(l.Context(), tx, Invalidation{UserID: "y"})
		}))
		diff(l, "tries", 2, tries)
		diff(l, "stored", []string{"x", "y"}, linesOf(l, l.db, `SELECT user_id FROM wxgate_invalidation ORDER BY seq`))

		tries = 0
		must(l, l.db.inReadTx(l.Context(), func(tx *sql.Tx) error {
			if tries++; tries == 1 {
				l.server.Disconnect(l, l.url)
			}
			_, err := text(l.Context(), tx, `SELECT user_id FROM wxgate_invalidation`)
			return err
		}))
		diff(l, "tries to read", 2, tries)
	})
}

// Nobody knows whether a commit without an answer was stored. It is done again
// only where that does no harm.
func TestACommitWithoutAnAnswerIsAnErrorUnlessItMayBeRepeated(t *testing.T) {
	onLost(t, dbtest.Shared, func(l lost) {
		for _, c := range []struct {
			what  string
			do    func(context.Context, func(*sql.Tx) error) error
			tries int
			err   error
		}{
			{"a transaction", l.db.inTx, 1, errUnknown},
			{"a repeatable one", l.db.inRepeatableTx, 2, nil},
		} {
			tries := 0
			err := c.do(l.Context(), func(tx *sql.Tx) error {
				err := invalidate(l.Context(), tx, Invalidation{UserID: "x"})
				if tries++; tries == 1 {
					l.server.Disconnect(l, l.url)
				}
				return err
			})
			if !errors.Is(err, c.err) {
				l.Errorf("%s: got %v, want %v", c.what, err, c.err)
			}
			diff(l, c.what, c.tries, tries)
		}
		diff(l, "stored", []string{"x"}, linesOf(l, l.db, `SELECT user_id FROM wxgate_invalidation`))
	})
}

// A server that is gone is told of at once.
func TestADeadServerIsAnError(t *testing.T) {
	onLost(t, dbtest.Start, func(l lost) {
		newWorldIn(l, l.db, Rules{}, "member U1", "identity oa x X U1")
		l.connect()
		l.server.Kill()
		for what, call := range l.calls(0) {
			if err := call(); err == nil && what != "NewGuestID" { // some are left of a block
				l.Errorf("%s answers", what)
			}
		}
	})
}
