package account

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/span"
)

// arrivedSQL asks about visitors who arrive, whom arrivedFrom names. An answer
// begins with a line that says which of them it is about. It goes on as that of
// knownSQL where he is known, is at its end where only something is stored of
// him, and is NULL where nothing is. MariaDB would keep a bare parameter without
// the spaces at its end.
const arrivedSQL = `SELECT a.n || '
' || coalesce((` + knownWhere + `i.appid = a.appid AND i.openid = a.openid),
	(SELECT '' FROM wxgate_identity WHERE appid = a.appid AND openid = a.openid),
	(SELECT '' FROM wxgate_unionid WHERE scope = '' AND unionid = a.unionid),
	(SELECT '' FROM wxgate_visitor WHERE appid = a.appid AND openid = a.openid))
FROM (SELECT '0' AS n, ? || '' AS appid, ? || '' AS openid, ? || '' AS unionid`

// arrivedFrom completes arrivedSQL for n visitors.
func arrivedFrom(n int) string {
	var more strings.Builder
	for i := 1; i < n; i++ {
		more.WriteString(" UNION ALL SELECT '" + strconv.Itoa(i) + "', ? || '', ? || '', ? || ''")
	}
	return more.String() + ") AS a"
}

// arrives says whether a visitor comes with a unionid and without a session, so
// that he is known by his openid, or by the unionid, or new.
func (c *call) arrives() bool { return c.in.UnionID != "" && c.in.UserID == "" }

// arrival is what is stored of a visitor who arrives.
type arrival struct {
	in Input

	stored bool   // anything
	found  string // what known takes
}

func (*arrival) fits(*arrival) bool        { return true }
func (*arrival) isTwin(*arrival) bool      { return false }
func (*arrival) operation() span.Operation { return span.Operation{Statement: arrivedSQL} }

// readArrival is readKnown for a visitor who arrives. On a server, those who
// arrive at the same time are read together; should that fail, each is read
// alone.
func (db *DB) readArrival(ctx context.Context, c call) (*facts, error) {
	a, err := &arrival{in: c.in}, error(errTogether{})
	if !db.embedded {
		err = db.arrivals.together(ctx, a, db.readArrivals)
	}
	if errors.As(err, &errTogether{}) {
		a = &arrival{in: c.in}
		err = db.readArrivals(ctx, []*arrival{a})
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading an identity: %w", err)
	case a.stored:
		return known(c, a.found)
	}
	return &facts{now: time.Now(), in: c.in, rules: c.rules, unionIDKey: unionIDKey{"", c.in.UnionID}}, nil
}

// readArrivals reads what is stored of some. The last is asked for until they are
// 1, 2, 4 and so on, so that a connection has few statements to remember.
func (db *DB) readArrivals(ctx context.Context, some []*arrival) error {
	args := make([]string, 0, 6*len(some))
	n := 1 << bits.Len(uint(len(some)-1))
	for i := range n {
		in := some[min(i, len(some)-1)].in
		args = append(args, in.AppID, in.OpenID, in.UnionID)
	}
	// Who is new is read where he will be stored, if nobody else is there: what
	// a connection to SQLite keeps in memory is worth nothing after a change by
	// another one.
	pool := db.read
	if db.embedded && db.write.Stats().InUse == 0 {
		pool = db.write
	}
	return db.askQuickly(ctx, pool, arrivedSQL+arrivedFrom(n), func(text string) {
		which, found, _ := strings.Cut(text, "\n")
		if i, err := strconv.Atoi(which); err == nil && i < len(some) {
			some[i].stored, some[i].found = true, found
		}
	}, args...)
}
