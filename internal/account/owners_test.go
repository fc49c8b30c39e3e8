package account

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// What a version that knows no copies does to an account, in its statements.
func olderWriters() map[string][]string {
	return map[string][]string{
		"stores a guest": {`UPDATE wxgate_identity SET owner_id = NULL WHERE openid = 'y'`},
		"merges a guest": {`UPDATE wxgate_unionid SET user_id = 'U1' WHERE user_id = 'V1'`, `UPDATE wxgate_user SET merged_into = 'U1', merged_at = 1 WHERE id = 'V1'`},
		"rebinds an app": {`UPDATE wxgate_identity SET user_id = 'U2', unionid = NULL WHERE openid = 'x'`, `DELETE FROM wxgate_unionid WHERE unionid = 'X'`},
	}
}

func TestACopyThatAnOlderGatewayHasLeftBehindIsPassedOver(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		for _, c := range []struct {
			name, want string
			in         Input
		}{
			{"stores a guest", "V1, guest", at("oa", "y")},
			{"merges a guest", "U1, ok", at("oa", "y")},
			{"rebinds an app", "U2, unionid_missing", at("oa", "x")},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldOn(t, open, Rules{}, "member U1", "member U2", "identity oa x X U2", "guest V1 1", "identity oa y Y V1")
				for _, query := range olderWriters()[c.name] {
					w.exec(query)
				}
				f, err := w.db.readKnown(t.Context(), call{in: c.in})
				must(t, err)
				if f != nil {
					t.Errorf("he is known as %s by a copy that is not true", f.ownerOf.id)
				}
				out, err := w.db.Link(t.Context(), w.rules, c.in)
				must(t, err)
				diff(t, "outcome", c.want, w.said(out))
			})
		}
	})
}

func TestACopyIsMendedWhenItsVisitorIsStoredAgain(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		for _, c := range []struct {
			name string
			old  string
			in   Input
		}{
			{"a member's first visit of the day", "merges a guest", at("oa", "y")},
			{"a guest's login", "stores a guest", proved("oa", "y", "Y").login()},
			{"a rebound app's new unionid", "rebinds an app", proved("oa", "x", "NEW")},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorldOn(t, open, Rules{}, "member U1", "idle U1", "member U2", "identity oa x X U2", "guest V1 1", "identity oa y Y V1")
				for _, query := range olderWriters()[c.old] {
					w.exec(query)
				}
				_, err := w.db.Link(t.Context(), w.rules, c.in)
				must(t, err)
				diff(t, "copies that are not true", []string(nil), readUntrue(t, w.db.read))
				f, err := w.db.readKnown(t.Context(), call{in: at(c.in.AppID, c.in.OpenID)})
				must(t, err)
				if f == nil {
					t.Error("he is not known by his copy")
				}
			})
		}
	})
}

func TestCopiesAreFilledInBatches(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U2", "imported old i U2")
		for i := range 7 {
			w.given(fmt.Sprintf("member M%d", i))
			w.given(fmt.Sprintf("identity oa x%d X%d M%d", i, i, i))
		}
		w.given("identity mp x0 x0 M0")
		w.given("identity mp e E -")
		w.exec(`UPDATE wxgate_identity SET owner_id = NULL`)
		for _, batch := range []int{3, 7} { // again: where it was stopped, it begins anew
			must(t, fillOwners(t.Context(), w.db.write, ownersFill{batch, w.db.lockShared}))
			diff(t, "copies that are not true", []string(nil), readUntrue(t, w.db.read))
		}
	})
}

// What an operation takes from its user while it is copied would stay his.
func TestCopiesAreNotFilledDuringAnOperation(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		w := newWorldOn(t, open, Rules{}, "member U1", "identity oa x X U1")
		fill := func(ctx context.Context) error {
			return fillOwners(ctx, w.db.write, ownersFill{ownersBatch, w.db.lockShared})
		}
		err := w.db.inTx(t.Context(), func(tx *sql.Tx) error {
			must(t, w.db.lockAlone(t.Context(), tx))
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if fill(ctx) == nil {
				t.Error("copies are filled")
			}
			return nil
		})
		must(t, err)
		must(t, fill(t.Context()))
	})
}

func TestMigrationsThatCommitEachStatementGoOnWhereTheyWereCutShort(t *testing.T) {
	url := dbtest.Shared(t, dbtest.MariaDB).Database(t)
	w := newWorldIn(t, openURL(t, url), Rules{}, "member U1", "identity oa x X U1")
	w.exec(`DELETE FROM wxgate_schema WHERE version_id > 0`)
	again := openURL(t, url)
	diff(t, "served", "U1, ok", w.said(w.link(at("oa", "x"))))
	diff(t, "last version", []string{fmt.Sprint(presentVersion(t, again.dialect))}, linesOf(t, again, `SELECT max(version_id) FROM wxgate_schema`))
}
