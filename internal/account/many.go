package account

import (
	"context"
	"database/sql"
	"strings"
)

// lengthStep keeps the kinds of statements about many rows few, for connections
// remember each: they are about 1, 8, 64 or 512.
const lengthStep = 8

// queryRows runs scan for each row of a query.
func queryRows(ctx context.Context, q querier, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// fill repeats the last of some values until their number is that of a
// statement.
func fill(values []any) []any {
	n := 1
	for n < len(values) {
		n *= lengthStep
	}
	for len(values) < n {
		values = append(values, values[len(values)-1])
	}
	return values
}

// in is the end of a condition: one of so many values.
func in(n int) string { return " IN (" + marks(n) + ")" }

// marks are n placeholders.
func marks(n int) string { return "?" + strings.Repeat(", ?", n-1) }

func anyOf[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

// grouped are values by a column that they share.
type grouped map[string][]any

func (g grouped) add(shared, value string) { g[shared] = append(g[shared], value) }
