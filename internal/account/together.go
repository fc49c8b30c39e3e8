package account

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wxgate/wxgate/internal/span"
)

// write is a statement of whose outcome only the error counts. Its values are
// texts, numbers and nil.
type write struct {
	query string
	args  []any
}

// together runs statements as one transaction, which takes one way to a server
// and back. A lost connection leaves unknown whether they were stored.
func (db *DB) together(ctx context.Context, writes []write) error {
	ctx, cancel := context.WithTimeout(ctx, db.txTimeout)
	defer cancel()
	pooled, err := db.write.Conn(ctx)
	if err != nil {
		return err
	}
	if db.embedded { // see readBriefly
		ctx = context.WithoutCancel(ctx)
	}
	err = pooled.Raw(func(c any) error { return c.(*conn).together(ctx, writes) })
	return errors.Join(err, pooled.Close())
}

// together ends the transaction in any case, or the connection.
func (c *conn) together(ctx context.Context, writes []write) error {
	if c.send != nil {
		ctx, told := c.spans.Start(ctx, span.Operation{Command: "BATCH", Batch: len(writes)})
		err := c.send(ctx, c, writes)
		told.EndWith(err)
		return err
	}
	tx, err := c.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return err
	}
	for _, w := range writes {
		if err := c.run(ctx, w); err != nil {
			return endedBy(err, tx.Rollback())
		}
	}
	return endedBy(nil, tx.Commit())
}

// endedBy is the error of statements whose transaction was ended. Where that
// failed, it ends with the connection.
func endedBy(err, failed error) error {
	if failed != nil {
		return errors.Join(err, failed, driver.ErrBadConn)
	}
	return err
}

func (c *conn) run(ctx context.Context, w write) error {
	args := make([]driver.NamedValue, len(w.args))
	for i, arg := range w.args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return err
		}
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	_, err := c.ExecContext(ctx, w.query, args)
	return err
}

// sendPostgres sends the statements before it reads an answer. PostgreSQL makes
// one transaction of what comes so, and stops at the first error.
func sendPostgres(ctx context.Context, c *conn, writes []write) error {
	batch := &pgx.Batch{}
	for _, w := range writes {
		s, err := c.statement(ctx, w.query, len(w.args))
		if err != nil {
			return err
		}
		batch.Queue(s.query, w.args...)
	}
	return c.Conn.(*stdlib.Conn).Conn().SendBatch(ctx, batch).Close()
}

// sendMySQL sends the statements as one text. The server stops at the first
// error, and leaves the transaction open.
func sendMySQL(ctx context.Context, c *conn, writes []write) error {
	script, err := mysqlScript(writes)
	if err != nil {
		return err
	}
	exec := c.Conn.(driver.ExecerContext).ExecContext
	if _, err = exec(ctx, script, nil); err == nil {
		return nil
	}
	_, failed := exec(ctx, "ROLLBACK", nil)
	return endedBy(err, failed)
}

// mysqlScript writes the values of statements into them: texts as hexadecimal
// digits, in which nothing can be mistaken for SQL.
func mysqlScript(writes []write) (string, error) {
	b := []byte("START TRANSACTION")
	for _, w := range writes {
		if places := strings.Count(w.query, "?"); places != len(w.args) {
			return "", fmt.Errorf("a statement with %d places has %d values", places, len(w.args))
		}
		b = append(b, "; "...)
		query := w.query
		for _, arg := range w.args {
			before, after, _ := strings.Cut(query, "?")
			b, query = append(b, before...), after
			switch v := arg.(type) {
			case string:
				b = append(hex.AppendEncode(append(b, "x'"...), []byte(v)), '\'')
			case int64:
				b = strconv.AppendInt(b, v, 10)
			case nil:
				b = append(b, "NULL"...)
			default:
				return "", fmt.Errorf("a value is a %T", arg)
			}
		}
		b = append(b, query...)
	}
	return string(append(b, "; COMMIT"...)), nil
}
