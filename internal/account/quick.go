package account

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// askQuickly runs a query for one optional text outside of a transaction. It
// speaks to the driver itself: database/sql would have a goroutine watch the
// context of each answer.
func (db *DB) askQuickly(ctx context.Context, pool *sql.DB, query string, args ...string) (found sql.NullString, err error) {
	pooled, err := pool.Conn(ctx)
	if err != nil {
		return found, err
	}
	if db.embedded { // see readBriefly
		ctx = context.WithoutCancel(ctx)
	}
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	err = pooled.Raw(func(c any) (err error) {
		found, err = c.(*conn).ask(ctx, query, values)
		return err
	})
	if errors.Is(err, driver.ErrBadConn) { // and Raw has let go of the connection
		return found, errors.Join(errBroken, err)
	}
	return found, errors.Join(err, pooled.Close())
}

func (c *conn) ask(ctx context.Context, query string, args []driver.NamedValue) (found sql.NullString, err error) {
	rows, err := c.QueryContext(ctx, query, args)
	if err != nil {
		return found, err
	}
	var row [1]driver.Value
	switch err = rows.Next(row[:]); {
	case err == io.EOF:
		err = nil
	case err == nil:
		found, err = asText(row[0])
	}
	if failed := rows.Close(); err == nil {
		err = failed
	}
	return found, err
}

// asText is a text as one of the drivers tells it.
func asText(v driver.Value) (sql.NullString, error) {
	switch text := v.(type) {
	case nil:
		return sql.NullString{}, nil
	case string:
		return sql.NullString{String: text, Valid: true}, nil
	case []byte:
		return sql.NullString{String: string(text), Valid: true}, nil
	}
	return sql.NullString{}, fmt.Errorf("a text is a %T", v)
}
