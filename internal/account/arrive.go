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

// arrivedSQL asks about one who arrives, and arrivedManySQL with arrivedFrom
// about several, of whom a server makes a table first: for one, that would take
// MariaDB as long as all the lookups. An answer begins with a line that says which
// of them it is about. It goes on as that of knownSQL where he is known, is at its
// end where only something is stored of him, and is NULL where nothing is. MariaDB
// would keep a bare parameter in such a table without the spaces at its end.
const (
	arrivedSQL = `SELECT '0
' || coalesce((` + knownSQL + `),
	(SELECT '' FROM wxgate_identity WHERE appid = ? AND openid = ?),
	(SELECT '' FROM wxgate_unionid WHERE scope = '' AND unionid = ?),
	(SELECT '' FROM wxgate_visitor WHERE appid = ? AND openid = ?))`
	arrivedManySQL = `SELECT a.n || '
' || coalesce((` + knownWhere + `i.appid = a.appid AND i.openid = a.openid),
	(SELECT '' FROM wxgate_identity WHERE appid = a.appid AND openid = a.openid),
	(SELECT '' FROM wxgate_unionid WHERE scope = '' AND unionid = a.unionid),
	(SELECT '' FROM wxgate_visitor WHERE appid = a.appid AND openid = a.openid))
FROM (SELECT '0' AS n, ? || '' AS appid, ? || '' AS openid, ? || '' AS unionid`
)

// arrivedFrom completes arrivedManySQL for n visitors.
func arrivedFrom(n int) string {
	var more strings.Builder
	for i := 1; i < n; i++ {
		more.WriteString(" UNION ALL SELECT '" + strconv.Itoa(i) + "', ? || '', ? || '', ? || ''")
	}
	return more.String() + ") AS a"
}

// arrived is the question about some. The last is asked for until they are 1, 2,
// 4 and so on, so that a connection has few statements to remember.
func arrived(some []*arrival) (query string, args []string) {
	if len(some) == 1 {
		in := some[0].in
		return arrivedSQL, []string{in.AppID, in.OpenID, in.AppID, in.OpenID, in.UnionID, in.AppID, in.OpenID}
	}
	n := 1 << bits.Len(uint(len(some)-1))
	for i := range n {
		in := some[min(i, len(some)-1)].in
		args = append(args, in.AppID, in.OpenID, in.UnionID)
	}
	return arrivedManySQL + arrivedFrom(n), args
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

// readArrivals reads what is stored of some.
func (db *DB) readArrivals(ctx context.Context, some []*arrival) error {
	// Who is new is read where he will be stored, if nobody else is there: what
	// a connection to SQLite keeps in memory is worth nothing after a change by
	// another one.
	pool := db.read
	if db.embedded && db.write.Stats().InUse == 0 {
		pool = db.write
	}
	query, args := arrived(some)
	return db.askQuickly(ctx, pool, query, func(text string) {
		which, found, _ := strings.Cut(text, "\n")
		if i, err := strconv.Atoi(which); err == nil && i < len(some) {
			some[i].stored, some[i].found = true, found
		}
	}, args...)
}
