package account

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// askQuickly runs a query whose rows are one optional text each, outside of a
// transaction. It speaks to the driver itself: database/sql would have a
// goroutine watch the context of each answer.
func (db *DB) askQuickly(ctx context.Context, pool *sql.DB, query string, each func(text string), args ...string) error {
	pooled, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	if db.embedded { // see readBriefly
		ctx = context.WithoutCancel(ctx)
	}
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	err = pooled.Raw(func(c any) error { return c.(*conn).ask(ctx, query, each, values) })
	if errors.Is(err, driver.ErrBadConn) { // and Raw has let go of the connection
		return errors.Join(errBroken, err)
	}
	return errors.Join(err, pooled.Close())
}

func (c *conn) ask(ctx context.Context, query string, each func(string), args []driver.NamedValue) error {
	rows, err := c.QueryContext(ctx, query, args)
	if err != nil {
		return err
	}
	var row [1]driver.Value
	for err = rows.Next(row[:]); err == nil; err = rows.Next(row[:]) {
		var found sql.NullString
		if found, err = asText(row[0]); err != nil {
			break
		}
		if found.Valid {
			each(found.String)
		}
	}
	if err == io.EOF {
		err = nil
	}
	if failed := rows.Close(); err == nil {
		err = failed
	}
	return err
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
