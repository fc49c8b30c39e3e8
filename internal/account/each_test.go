package account

import "testing"

// opener opens a new database of one kind.
type opener func(testing.TB) *DB

// onEach runs a test on each kind of database.
func onEach(t *testing.T, f func(*testing.T, opener)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newDB) })
}

// newWorldOn is newWorld in a database of one kind.
func newWorldOn(t testing.TB, open opener, rules Rules, given ...string) *world {
	w := &world{t: t, db: open(t), rules: rules, names: map[string]string{}, made: map[Kind]int{}}
	for _, line := range given {
		w.given(line)
	}
	return w
}
