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

// rebindBatch rows change in one transaction. With 500 it took longer, and a
// login beside it waited ten times as long.
const rebindBatch = 100

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
	err := db.inReadTx(ctx, func(tx *sql.Tx) (err error) {
		report, err = countRebind(ctx, tx, r.AppID)
		return err
	})
	for next, done := "", r.DryRun; err == nil && !done; {
		after, last := next, ""
		_, err = db.operate(ctx, r.By, func(c *change) (err error) { // perhaps several times
			if last, err = c.rebind(r.AppID, after); err != nil || after != "" {
				return err
			}
			return c.record(r.By, deed{ActionRebind, r.AppID, report})
		})
		next, done = last, last == ""
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

// rebindRow is a row whose unionid goes.
type rebindRow struct {
	openID, unionID string
	userID          string // empty: nobody
	kind            Kind
}

func readRebindRows(ctx context.Context, q querier, appID, after string) ([]rebindRow, error) {
	rows, err := q.QueryContext(ctx, `SELECT i.openid, i.unionid, coalesce(u.id, ''), coalesce(u.kind, '') FROM wxgate_identity i
		JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid LEFT JOIN wxgate_user u ON u.id = n.user_id
		WHERE i.appid = ? AND i.openid > ? AND i.scope = '' ORDER BY i.openid LIMIT ?`, appID, after, rebindBatch)
	if err != nil {
		return nil, fmt.Errorf("reading identities: %w", err)
	}
	return collect(rows, func(r *rebindRow) error { return rows.Scan(&r.openID, &r.unionID, &r.userID, &r.kind) })
}

// rebind changes the rows that follow an openid, and returns the last of them;
// empty when there are no more.
func (c *change) rebind(appID, after string) (last string, err error) {
	rows, err := readRebindRows(c.ctx, c.tx, appID, after)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	var members, guests, gone, unionIDs []any
	for _, r := range rows {
		unionIDs = append(unionIDs, r.unionID)
		switch r.kind {
		case Member:
			members = append(members, r.openID)
			continue
		case Guest:
			guests = append(guests, r.openID)
		}
		gone = append(gone, r.openID)
	}
	err = c.execIn(`INSERT INTO wxgate_visitor (appid, openid, guest_id, created)
		SELECT i.appid, i.openid, n.user_id, i.created FROM wxgate_identity i
		JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid WHERE i.appid = ? AND i.openid`, appID, guests)
	if err != nil {
		return "", fmt.Errorf("making visitor rows: %w", err)
	}
	if err := c.execIn(`DELETE FROM wxgate_identity WHERE appid = ? AND openid`, appID, gone); err != nil {
		return "", fmt.Errorf("removing identities: %w", err)
	}
	err = c.execIn(`UPDATE wxgate_identity SET user_id = (SELECT n.user_id FROM wxgate_unionid n
		WHERE n.scope = '' AND n.unionid = wxgate_identity.unionid), unionid = NULL, owner_id = NULL WHERE appid = ? AND openid`, appID, members)
	if err != nil {
		return "", fmt.Errorf("making imported rows: %w", err)
	}
	err = c.execIn(`DELETE FROM wxgate_unionid WHERE NOT EXISTS (SELECT 1 FROM wxgate_identity i
		WHERE i.scope = '' AND i.unionid = wxgate_unionid.unionid) AND scope = ? AND unionid`, "", unionIDs)
	if err != nil {
		return "", fmt.Errorf("removing unionids: %w", err)
	}
	return rows[len(rows)-1].openID, nil
}

// execIn runs a statement that ends before a list of up to rebindBatch values.
// The last one is named again until there are as many, so that it is always the
// same statement.
func (c *change) execIn(query, first string, list []any) error {
	if len(list) == 0 {
		return nil
	}
	args := append([]any{first}, list...)
	for len(args) <= rebindBatch {
		args = append(args, list[len(list)-1])
	}
	return c.exec(query+` IN (?`+strings.Repeat(", ?", rebindBatch-1)+`)`, args...)
}
