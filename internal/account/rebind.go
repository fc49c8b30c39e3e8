package account

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Rebinding names an app that was bound to another Open Platform account.
type Rebinding struct {
	AppID  string
	DryRun bool // report only
	By     By
}

// RebindReport counts the rows of an app that a Rebind is about.
type RebindReport struct {
	Members int `json:"members"` // that wait for their new unionid as imported rows
	Guests  int `json:"guests"`  // that do as visitor rows
	Nobody  int `json:"nobody"`  // with an empty user id, removed
	// Elsewhere counts those whose unionid lives on in other apps. Where those
	// are not rebound too, members meet repair_conflict under one_to_one.
	Elsewhere int `json:"elsewhere"`
}

// rebindBatch rows change in one transaction.
const rebindBatch = 500

// Rebind lets go of the unionids of an app that was bound to another Open
// Platform account (O5). Members stand in imported rows and guests in visitor
// rows until the new unionid arrives. Stand-ins are left alone, and so are rows
// that wait already.
//
// An app may have millions of rows, and its visitors must not wait for all of
// them: a Rebind is a chain of small transactions. One that was interrupted is
// completed by the next.
//
// Errors: ErrNoReason.
func (db *DB) Rebind(ctx context.Context, r Rebinding) (RebindReport, error) {
	var report RebindReport
	err := db.glimpse(ctx, func(tx *sql.Tx) (err error) {
		report, err = countRebind(ctx, tx, r.AppID)
		return err
	})
	for after, done := "", r.DryRun; err == nil && !done; {
		first := after == ""
		_, err = db.operate(ctx, r.By, func(c *change) error {
			last, err := c.rebind(r.AppID, after)
			if err != nil {
				return err
			}
			if after, done = last, last == ""; !first {
				return nil
			}
			return c.record(r.By, ActionRebind, r.AppID, report)
		})
	}
	if err != nil {
		return RebindReport{}, fmt.Errorf("rebinding an app: %w", err)
	}
	return report, nil
}

func countRebind(ctx context.Context, q querier, appID string) (r RebindReport, err error) {
	rows, err := q.QueryContext(ctx, `
		SELECT coalesce(u.kind, ''), count(*), sum(CASE WHEN EXISTS (
			SELECT 1 FROM wxgate_identity o WHERE o.scope = '' AND o.unionid = i.unionid AND o.appid <> i.appid) THEN 1 ELSE 0 END)
		FROM wxgate_identity i JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid LEFT JOIN wxgate_user u ON u.id = n.user_id
		WHERE i.appid = ? AND i.scope = '' GROUP BY u.kind`, appID)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	for rows.Next() {
		var kind Kind
		var n, elsewhere int
		if err := rows.Scan(&kind, &n, &elsewhere); err != nil {
			return r, err
		}
		switch kind {
		case Member:
			r.Members = n
		case Guest:
			r.Guests = n
		default:
			r.Nobody = n
		}
		r.Elsewhere += elsewhere
	}
	return r, rows.Err()
}

// rebind changes the rows that follow an openid, and returns the last of them;
// empty when there are no more.
func (c *change) rebind(appID, after string) (last string, err error) {
	rows, err := c.tx.QueryContext(c.ctx, `SELECT openid, unionid FROM wxgate_identity
		WHERE appid = ? AND openid > ? AND scope = '' AND unionid IS NOT NULL ORDER BY openid LIMIT ?`, appID, after, rebindBatch)
	if err != nil {
		return "", err
	}
	var unionIDs []any
	_, err = collect(rows, func(*struct{}) error {
		var unionID string
		err := rows.Scan(&last, &unionID)
		unionIDs = append(unionIDs, unionID)
		return err
	})
	if err != nil || last == "" {
		return "", err
	}
	const these = ` appid = ? AND openid > ? AND openid <= ? AND scope = '' AND unionid IS NOT NULL`
	err = c.exec(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created)
		SELECT i.appid, i.openid, u.id, ? FROM wxgate_identity i
		JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid JOIN wxgate_user u ON u.id = n.user_id
		WHERE u.kind = 'guest' AND i.appid = ? AND i.openid > ? AND i.openid <= ? AND i.scope = ''`, millis(c.at), appID, after, last)
	if err != nil {
		return "", fmt.Errorf("making visitor rows: %w", err)
	}
	err = c.exec(`DELETE FROM wxgate_identity WHERE`+these+` AND unionid NOT IN (
		SELECT n.unionid FROM wxgate_unionid n JOIN wxgate_user u ON u.id = n.user_id WHERE n.scope = '' AND u.kind = 'member')`, appID, after, last)
	if err != nil {
		return "", fmt.Errorf("removing identities: %w", err)
	}
	err = c.exec(`UPDATE wxgate_identity SET user_id = (
		SELECT n.user_id FROM wxgate_unionid n WHERE n.scope = '' AND n.unionid = wxgate_identity.unionid), unionid = NULL WHERE`+these, appID, after, last)
	if err != nil {
		return "", fmt.Errorf("making imported rows: %w", err)
	}
	err = c.exec(`DELETE FROM wxgate_unionid WHERE scope = '' AND unionid IN (?`+strings.Repeat(`, ?`, len(unionIDs)-1)+`)
		AND NOT EXISTS (SELECT 1 FROM wxgate_identity i WHERE i.scope = '' AND i.unionid = wxgate_unionid.unionid)`, unionIDs...)
	if err != nil {
		return "", fmt.Errorf("removing unionids: %w", err)
	}
	return last, nil
}
