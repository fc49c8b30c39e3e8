package account

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// FirstLoginReport says what to expect of a change of FirstLogin. Members that
// were merged or cancelled do not count.
type FirstLoginReport struct {
	Members   int `json:"members"`
	WithPhone int `json:"with_phone"` // members with a verified phone
	// The members by what could join a second account of theirs: a phone, and a
	// unionid of WeChat's, not one that an openid stands in for.
	PhoneOnly   int `json:"phone_only"`
	UnionIDOnly int `json:"unionid_only"`
	Neither     int `json:"neither"` // known by openids alone
	// SplitKnown is how many people have shown that they are two members, by
	// conflicts that are open. SplitAtMost bounds how many there can be: one who
	// is two members is one of Neither, or a PhoneOnly and a UnionIDOnly. They
	// stay two until somebody merges them.
	SplitKnown  int `json:"split_known"`
	SplitAtMost int `json:"split_at_most"`
	// Visitors are the WeChat accounts that are no members yet.
	Visitors               int `json:"visitors"`
	VisitorsWithoutUnionID int `json:"visitors_without_unionid"`
}

// FirstLoginReport reads all accounts; with a million that takes seconds.
func (db *DB) FirstLoginReport(ctx context.Context) (r FirstLoginReport, err error) {
	err = db.inReadTx(ctx, func(tx *sql.Tx) (err error) {
		r, err = firstLoginReport(ctx, tx)
		return err
	})
	if err != nil {
		return FirstLoginReport{}, fmt.Errorf("reporting on first logins: %w", err)
	}
	return r, nil
}

func firstLoginReport(ctx context.Context, q querier) (r FirstLoginReport, err error) {
	rows, err := q.QueryContext(ctx, `
		SELECT phoned, named, count(*) FROM (
			SELECT CASE WHEN phone_key IS NULL THEN 0 ELSE 1 END AS phoned,
				CASE WHEN EXISTS (SELECT 1 FROM wxgate_unionid n WHERE n.user_id = u.id AND n.scope = '') THEN 1 ELSE 0 END AS named
			FROM wxgate_user u WHERE kind = 'member' AND merged_into IS NULL AND cancelled IS NULL
		) AS m GROUP BY phoned, named`)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	for rows.Next() {
		var phoned, named bool
		var n int
		if err := rows.Scan(&phoned, &named, &n); err != nil {
			return r, err
		}
		r.Members += n
		switch {
		case phoned:
			r.WithPhone += n
			if !named {
				r.PhoneOnly = n
			}
		case named:
			r.UnionIDOnly = n
		default:
			r.Neither = n
		}
	}
	if err := rows.Err(); err != nil {
		return r, err
	}
	r.SplitAtMost = r.Neither + min(r.PhoneOnly, r.UnionIDOnly)
	if r.SplitKnown, err = knownSplits(ctx, q); err != nil {
		return r, err
	}
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM wxgate_visitor`).Scan(&r.VisitorsWithoutUnionID)
	if err != nil {
		return r, err
	}
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM wxgate_unionid n LEFT JOIN wxgate_user u ON u.id = n.user_id
		WHERE n.user_id IS NULL OR u.kind = 'guest'`).Scan(&r.Visitors)
	r.Visitors += r.VisitorsWithoutUnionID
	return r, err
}

// knownSplits counts the pairs of members whom one person has claimed both.
func knownSplits(ctx context.Context, q querier) (int, error) {
	rows, err := q.QueryContext(ctx, `SELECT code, parties FROM wxgate_conflict WHERE code IN (?, ?) AND closed IS NULL`,
		string(CodePhoneOwnedByOtherUser), string(CodeWeChatBoundToOtherUser))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	pairs := map[[2]string]bool{}
	for rows.Next() {
		var code Code
		var text string
		if err := rows.Scan(&code, &text); err != nil {
			return 0, err
		}
		parties := strings.Split(text, "\n")
		one, other := parties[0], parties[1] // of the phone
		if code == CodeWeChatBoundToOtherUser {
			other = parties[2] // of the unionid
		}
		pairs[[2]string{min(one, other), max(one, other)}] = true
	}
	return len(pairs), rows.Err()
}
