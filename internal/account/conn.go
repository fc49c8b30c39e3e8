package account

import (
	"context"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/span"
)

// connector makes connections that speak as this package writes: with `?` for
// parameters, and each statement prepared once per connection, also those of
// transactions, without anybody naming them beforehand.
type connector struct {
	driver.Connector
	setup   []string         // statements that every new connection begins with
	numbers bool             // parameters are $1, $2, ...
	native  bool             // the driver remembers statements itself
	timeout time.Duration    // of opening a connection; 0: none
	broken  func(error) bool // see dialect
	spans   span.Database
	// send runs writes in one transaction and one round trip; nil: there is no
	// way to save.
	send func(context.Context, *conn, []write) error
}

var errNoAnswer = errors.New("the server does not answer")

// maxStatements bounds what a connection remembers. The package has far fewer.
const maxStatements = 256

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.timeout > 0 { // a server may accept a connection and say nothing
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.timeout, errNoAnswer)
		defer cancel()
	}
	made, err := c.connect(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		err = errNoAnswer
	}
	return made, err
}

func (c *connector) connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, query := range c.setup {
		if _, err := inner.(driver.ExecerContext).ExecContext(ctx, query, nil); err != nil {
			_ = inner.Close()
			return nil, err
		}
	}
	return &conn{Conn: inner, connector: c, known: map[string]*statement{}}, nil
}

// conn is one connection. database/sql lets one goroutine use it at a time.
type conn struct {
	driver.Conn
	*connector
	known map[string]*statement
	inTx  bool // at least since it was last taken from the pool
}

// statement is a query as the driver knows it.
type statement struct {
	query    string
	prepared driver.Stmt // nil: the driver takes the query
}

// statement returns what to run for a query. Without parameters that is the
// query itself: preparing it would pay nothing.
func (c *conn) statement(ctx context.Context, query string, args int) (*statement, error) {
	if s := c.known[query]; s != nil {
		return s, nil
	}
	s := &statement{query: c.rewrite(query)}
	if args == 0 || len(c.known) == maxStatements {
		return s, nil
	}
	if !c.native {
		prepared, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, s.query)
		if err != nil {
			return nil, err
		}
		s.prepared = prepared
	}
	c.known[query] = s
	return s, nil
}

// rewrite numbers the parameters. No statement of ours has a question mark for
// anything else.
func (c *connector) rewrite(query string) string {
	if !c.numbers {
		return query
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// QueryContext implements driver.QueryerContext. Outside of transactions there
// are only queries that read, and database/sql asks them again on another
// connection.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx, told := c.spans.Start(ctx, span.Operation{Statement: query})
	rows, err := c.query(ctx, query, args)
	told.EndWith(err)
	if err != nil && !c.inTx {
		err = c.retriable(ctx, err)
	}
	return rows, err
}

func (c *conn) query(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query, len(args))
	switch {
	case err != nil:
		return nil, err
	case s.prepared != nil:
		return s.prepared.(driver.StmtQueryContext).QueryContext(ctx, args)
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, s.query, args)
}

// retriable makes of the error of a broken connection the one by which
// database/sql knows it.
func (c *conn) retriable(ctx context.Context, err error) error {
	if ctx.Err() == nil && c.broken != nil && c.broken(err) {
		return driver.ErrBadConn
	}
	return err
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx, told := c.spans.Start(ctx, span.Operation{Statement: query})
	result, err := c.exec(ctx, query, args)
	told.EndWith(err)
	return result, err
}

func (c *conn) exec(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(ctx, query, len(args))
	switch {
	case err != nil:
		return nil, err
	case s.prepared != nil:
		return s.prepared.(driver.StmtExecContext).ExecContext(ctx, args)
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, s.query, args)
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, c.rewrite(query))
}

// Close implements driver.Conn. SQLite keeps a connection with open statements
// alive, and its write-ahead log with it.
func (c *conn) Close() error {
	for _, s := range c.known {
		if s.prepared != nil {
			_ = s.prepared.Close() // a dead server has closed them
		}
	}
	err := c.Conn.Close()
	if c.broken != nil {
		return nil // a farewell that does not reach a server tells nothing
	}
	return err
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.inTx = true
	begun, told := c.spans.Start(ctx, span.Operation{Command: "BEGIN"})
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(begun, opts)
	told.EndWith(err)
	if err != nil {
		return nil, c.retriable(ctx, err)
	}
	if !span.Recorded(ctx) {
		return tx, nil
	}
	return recordedTx{tx, ctx, c.spans}, nil
}

// recordedTx tells how long its end takes, which is when it goes to disk.
type recordedTx struct {
	driver.Tx
	ctx   context.Context
	spans span.Database
}

// Commit implements driver.Tx.
func (t recordedTx) Commit() error {
	_, told := t.spans.Start(t.ctx, span.Operation{Command: "COMMIT"})
	err := t.Tx.Commit()
	told.EndWith(err)
	return err
}

// Ping implements driver.Pinger.
func (c *conn) Ping(ctx context.Context) error { return c.Conn.(driver.Pinger).Ping(ctx) }

// ResetSession implements driver.SessionResetter.
func (c *conn) ResetSession(ctx context.Context) error {
	c.inTx = false
	return c.Conn.(driver.SessionResetter).ResetSession(ctx)
}

// IsValid implements driver.Validator.
func (c *conn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if inner, ok := c.Conn.(driver.NamedValueChecker); ok {
		return inner.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

var (
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
)
