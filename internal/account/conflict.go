package account

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// conflict is what was asked for and refused.
type conflict struct {
	code    Code
	parties []string
	wants   string // what was asked for; a Link that makes just that closes it
}

// What conflicts want: that an openid is stored under a unionid, that a unionid
// is a user's, that a phone is.

func wantsRow(appID, openID, unionID string) string {
	return strings.Join([]string{"row", appID, openID, unionID}, "\n")
}

func wantsUnionID(userID, unionID string) string {
	return strings.Join([]string{"unionid", userID, unionID}, "\n")
}

func wantsPhone(userID, phoneKey string) string {
	return strings.Join([]string{"phone", userID, phoneKey}, "\n")
}

// openAs makes an open conflict unique.
func (c *conflict) openAs() string { return string(c.code) + "\n" + strings.Join(c.parties, "\n") }

// isOpen says whether the same was refused to the same parties before.
func (c *conflict) isOpen(ctx context.Context, q querier) (bool, error) {
	id, err := text(ctx, q, `SELECT id FROM wxgate_conflict WHERE open_as = ?`, c.openAs())
	if err != nil {
		return false, fmt.Errorf("reading conflicts: %w", err)
	}
	return id != "", nil
}

// openConflict records what was refused, once while it is open.
func (a *applier) openConflict() error {
	refused := a.plan.conflict
	if refused == nil {
		return nil
	}
	if open, err := refused.isOpen(a.ctx, a.tx); open || err != nil {
		return err
	}
	c := Conflict{ID: rand.Text(), Code: refused.code, Parties: refused.parties}
	err := a.exec(`INSERT INTO wxgate_conflict (id, code, parties, wants, open_as, appid, openid, opened) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		c.ID, string(c.Code), strings.Join(c.Parties, "\n"), refused.wants, refused.openAs(), a.in.AppID, a.in.OpenID, millis(a.now))
	if err != nil {
		return fmt.Errorf("opening a conflict: %w", err)
	}
	if err := a.emit(EventConflictOpened, c.ID, c); err != nil || c.Code != CodeUnionIDChanged {
		return err
	}
	return a.watchRebinding()
}

// More changed unionids of one app than this, an hour, are not people: the app
// was bound to another Open Platform account.
const reboundLimit = 20

// watchRebinding raises the alarm as the limit is passed, and then not again.
func (a *applier) watchRebinding() error {
	var n int
	err := a.tx.QueryRowContext(a.ctx, `SELECT count(*) FROM wxgate_conflict WHERE appid = ? AND code = ? AND opened > ? AND closed IS NULL`,
		a.in.AppID, string(CodeUnionIDChanged), millis(a.now.Add(-time.Hour))).Scan(&n)
	if err != nil {
		return fmt.Errorf("counting changed unionids: %w", err)
	}
	a.rebound = n == reboundLimit+1
	return nil
}

// made are what conflicts may have wanted and the plan makes. A user who is new
// with this plan was no party to any.
func (a *applier) made() (made []any) {
	if a.plan.linkRow {
		made = append(made, wantsRow(a.in.AppID, a.in.OpenID, a.unionID))
	}
	if a.plan.fill != nil && *a.plan.fill != a.freshID {
		made = append(made, wantsUnionID(*a.plan.fill, a.unionID))
	}
	if a.plan.bindPhone != "" && a.plan.bindPhone != a.freshID {
		made = append(made, wantsPhone(a.plan.bindPhone, a.phone.key))
	}
	return made
}

// closeMade ends what was refused before and is made now. Of a stranger, check
// has made sure that there is nothing.
func (a *applier) closeMade() error {
	made := a.made()
	if a.tx == nil || len(made) == 0 {
		return nil
	}
	over, err := readConflictRecords(a.ctx, a.tx, `WHERE wants`+in(len(made))+` AND open_as IS NOT NULL`, made...)
	if err != nil {
		return err
	}
	return a.closeConflicts(over)
}
