package account

import (
	"context"
	"database/sql"
	"testing"
)

// meanwhile is a database that others change after the first query.
type meanwhile struct {
	querier
	change func()
}

func (m *meanwhile) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if change := m.change; change != nil {
		defer change()
		m.change = nil
	}
	return m.querier.QueryContext(ctx, query, args...)
}

// Without a transaction the two reads of a decision see two states. Where that
// matters, the call decides again under locks.
func TestUsersWhoChangeBetweenTheReadsAreNoticed(t *testing.T) {
	given := []string{"member U1", "member U2", "guest V3 3", "visitor oa y V3", "identity oa x X U1", "phone U1 p1", "guest V4 4", "merged V4 V3"}
	for _, c := range []struct {
		name, change string
		in           Input
		torn         bool
	}{
		{"nothing", ``, proved("oa", "x", "X").as("V4"), false},
		{"the unionid's user is merged", `UPDATE wxgate_user SET merged_into = 'U2', merged_at = 1 WHERE id = 'U1'`, at("oa", "x"), true},
		{"he is cancelled", `UPDATE wxgate_user SET cancelled = 1 WHERE id = 'U1'`, at("oa", "x"), true},
		{"the visitor is merged", `UPDATE wxgate_user SET merged_into = 'U2', merged_at = 1 WHERE id = 'V3'`, at("oa", "y"), true},
		{"the phone's owner is merged", `UPDATE wxgate_user SET merged_into = 'U2', merged_at = 1 WHERE id = 'U1'`, Input{}.with("p1"), true},
		{"the session's user is merged, which is read at once", `UPDATE wxgate_user SET merged_into = 'U2', merged_at = 1 WHERE id = 'U1'`, Input{}.as("U1"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Rules{}, given...)
			number, err := w.db.phone(c.in.Phone)
			must(t, err)
			f, err := readFacts(t.Context(), &meanwhile{w.db.read, func() {
				if c.change != "" {
					w.exec(c.change)
				}
			}}, call{in: c.in, phone: number})
			must(t, err)
			if f.torn != c.torn {
				t.Errorf("torn is %t", f.torn)
			}
		})
	}
}
