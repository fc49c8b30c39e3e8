package account

import (
	"context"
	"database/sql"
	"fmt"
)

// openIDRow is what the rows of a file say of one openid.
type openIDRow struct {
	n, line       int
	userID        string
	kind          Kind
	appID, openID string
	scope         string
	unionID       string
	linked        int64
	skip          int
	own           bool // the file is an export

	newUnionID bool   // nobody has stored it before
	apart      string // of the unionid's row
}

// maxApps bounds the apps that a report tells of.
const maxApps = 50

// openIDs stores the openids of the file with their unionids.
func (im *importer) openIDs(ctx context.Context) error {
	if err := im.stage.groupOpenIDs(ctx); err != nil {
		return fmt.Errorf("gathering the openids of the file: %w", err)
	}
	var total int
	im.report.Apps = map[string]int{}
	err := queryRows(ctx, im.stage.tx, `SELECT appid, count(*) FROM openid GROUP BY appid`, nil, func(rows *sql.Rows) error {
		var appID string
		var n int
		err := rows.Scan(&appID, &n)
		if total += n; len(im.report.Apps) < maxApps {
			im.report.Apps[appID] = n
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("counting the openids of the file: %w", err)
	}
	for last := 0; ; {
		im.cfg.Progress(Progress{Stage: StageOpenIDs, Done: last, Total: total})
		rows, err := im.stage.openIDs(ctx, last)
		if err != nil {
			return fmt.Errorf("reading the openids of the file: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		b, err := im.transact(ctx, about(rows), func(b *batch) error { return im.openIDsBatch(b, rows) })
		if err != nil {
			return fmt.Errorf("storing openids: %w", err)
		}
		im.report.OpenIDs.plus(b.first)
		im.report.WithoutUnionID += b.waiting
		if err := im.link(ctx, b.links); err != nil {
			return err
		}
		last = rows[len(rows)-1].n
	}
}

func (s *stage) openIDs(ctx context.Context, after int) ([]*openIDRow, error) {
	rows, err := s.tx.QueryContext(ctx, `SELECT n, line, user_id, kind, appid, openid, scope, unionid, linked, skip, own
		FROM openid WHERE n > ? ORDER BY n LIMIT ?`, after, importBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*openIDRow
	for rows.Next() {
		r := &openIDRow{}
		if err := rows.Scan(&r.n, &r.line, &r.userID, &r.kind, &r.appID, &r.openID, &r.scope, &r.unionID, &r.linked, &r.skip, &r.own); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// about is what the rows will stand beside.
func about(rows []*openIDRow) (r lockSet) {
	for _, row := range rows {
		r.openIDs = append(r.openIDs, openID{row.appID, row.openID})
		if row.unionID != "" {
			r.unionIDs = append(r.unionIDs, unionIDKey{row.scope, row.unionID})
		}
		if row.userID != "" {
			r.users = append(r.users, row.userID)
		}
	}
	return r
}

// openIDsBatch compares openids with the database and stores what is new.
func (im *importer) openIDsBatch(b *batch, rows []*openIDRow) error {
	s, err := b.readOpenIDs(rows)
	if err != nil {
		return err
	}
	s.rules = im.rules
	var add []*openIDRow
	for _, r := range rows {
		if r.skip != 0 { // reported
			b.first.LeftOut++
			continue
		}
		v, p := s.judge(r)
		switch v {
		case leaveOut:
			b.first.LeftOut++
			b.leaveOut(r.problem(p))
			continue
		case isKnown:
			b.first.Known++
		case addNew:
			b.first.New++
			add = append(add, r)
			s.add(r)
		case linkIt:
			b.first.New++
			b.links = append(b.links, r)
		}
		if r.kind == Member && r.unionID == "" && s.identities[r.here()].unionID == "" {
			b.waiting++
			b.leaveOut(r.problem(Problem{Code: WithoutUnionID}))
		}
	}
	if im.cfg.DryRun {
		return nil
	}
	return b.insertOpenIDs(add)
}

// problem completes a problem of the openid.
func (r *openIDRow) problem(p Problem) Problem {
	if p.Code != WithoutUnionID {
		p.Left = LeftOpenID
	}
	p.add(r.line, r.userID)
	return p
}

func (r *openIDRow) here() [2]string { return [2]string{r.appID, r.openID} }

// insertOpenIDs stores new openids: as identities with their unionids, as
// imported rows that wait for one, or as visitors.
func (b *batch) insertOpenIDs(rows []*openIDRow) error {
	var unionIDs, identities, visitors []any
	for _, r := range rows {
		if r.linked == 0 && !r.own {
			r.linked = millis(b.at)
		}
		if r.newUnionID {
			unionIDs = append(unionIDs, r.scope, r.unionID, orNull(r.userID), r.apart)
		}
		switch {
		case r.unionID != "":
			identities = append(identities, r.appID, r.openID, r.scope, r.unionID, orNull(r.userID), nil, r.linked)
		case r.kind == Guest:
			visitors = append(visitors, r.appID, r.openID, r.userID, r.linked)
		default:
			identities = append(identities, r.appID, r.openID, "", nil, nil, r.userID, r.linked)
		}
	}
	if err := b.insert("wxgate_unionid (scope, unionid, user_id, apart)", 4, unionIDs); err != nil {
		return err
	}
	if err := b.insert("wxgate_identity (appid, openid, scope, unionid, owner_id, user_id, created)", 7, identities); err != nil {
		return err
	}
	return b.insert("wxgate_visitor (appid, openid, guest_id, created)", 4, visitors)
}

// link lets the rules decide about openids of members that somebody has used
// already.
func (im *importer) link(ctx context.Context, rows []*openIDRow) error {
	if im.cfg.DryRun {
		return nil
	}
	for _, r := range rows {
		out, err := im.db.Link(ctx, im.rules, Input{
			AppID: r.appID, OpenID: r.openID, UnionID: r.unionID, UserID: r.userID, UserKind: Member, Outside: true, Unattended: true,
		})
		if err != nil {
			return err
		}
		if out.Code == CodeOK && out.UserID == r.userID {
			continue
		}
		im.report.OpenIDs.New--
		im.report.OpenIDs.LeftOut++
		if err := im.problem(r.problem(Problem{Code: UnionIDTwice, Stored: out.UserID, Detail: string(out.Code)})); err != nil {
			return err
		}
	}
	return nil
}
