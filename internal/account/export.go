package account

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ExportConfig says what to export.
type ExportConfig struct {
	Writer io.Writer
	Format Format
	// Phones writes phone numbers, in clear. Without it there are none.
	Phones   bool
	By       By             // who exports, and why
	Progress func(Progress) // is told how many rows are written; nil: nobody
}

// Export writes all accounts, guests and replaced and cancelled users among
// them, as Import reads them. It is what the database was at one moment. After
// an error the file is not whole.
//
// Sessions that were revoked one by one, conflicts, events, keys and what
// operators did are not in it.
//
// Errors: ErrNoReason.
func (db *DB) Export(ctx context.Context, cfg ExportConfig) (rows int, err error) {
	w, err := newRowWriter(cfg)
	if err != nil {
		return 0, fmt.Errorf("exporting: %w", err)
	}
	if _, err := db.operate(ctx, cfg.By, func(c *change) error {
		return c.record(cfg.By, deed{ActionExport, "", map[string]bool{"phones": cfg.Phones}})
	}); err != nil {
		return 0, fmt.Errorf("exporting: %w", err)
	}
	e := &exporter{db: db, cfg: cfg, w: w}
	if err := e.run(ctx); err != nil {
		return e.rows, fmt.Errorf("exporting: %w", err)
	}
	return e.rows, nil
}

// exporter is one export under way.
type exporter struct {
	db   *DB
	cfg  ExportConfig
	w    rowWriter
	rows int
}

// An export reads so many rows at once, so that no statement takes long.
const exportPage = 4096

// section is a part of an export: a query of rows in the order of their last
// column, which is unique, and what it is about.
type section struct {
	query string
	args  []any
}

const (
	exportUsers = `SELECT id, kind, created, last_seen, merged_into, merged_at, cancelled, sessions_from, phone_sealed,
		'', '', '', '', 0, id FROM wxgate_user WHERE `
	exportIdentities = `SELECT coalesce(u.id, ''), coalesce(u.kind, 'nobody'), 0, 0, NULL, NULL, NULL, NULL, NULL,
		i.appid, i.openid, coalesce(i.unionid, ''), i.scope, i.created, i.openid
		FROM wxgate_identity i LEFT JOIN wxgate_unionid n ON n.scope = i.scope AND n.unionid = i.unionid
		LEFT JOIN wxgate_user u ON u.id = coalesce(n.user_id, i.user_id) WHERE i.appid = ? AND i.openid > ? ORDER BY i.openid LIMIT ?`
	exportVisitors = `SELECT guest_id, 'guest', 0, 0, NULL, NULL, NULL, NULL, NULL, appid, openid, '', '', created, openid
		FROM wxgate_visitor WHERE appid = ? AND openid > ? ORDER BY openid LIMIT ?`
)

// sections of an export: users, the merged ones last, since they name others;
// then the openids.
func (e *exporter) sections(ctx context.Context, tx *sql.Tx) ([]section, error) {
	all := []section{
		{exportUsers + `merged_into IS NULL AND id > ? ORDER BY id LIMIT ?`, nil},
		{exportUsers + `merged_into IS NOT NULL AND id > ? ORDER BY id LIMIT ?`, nil},
	}
	err := queryRows(ctx, tx, `SELECT appid FROM wxgate_identity UNION SELECT appid FROM wxgate_visitor ORDER BY appid`, nil, func(rows *sql.Rows) error {
		var appID string
		err := rows.Scan(&appID)
		all = append(all, section{exportIdentities, []any{appID}}, section{exportVisitors, []any{appID}})
		return err
	})
	return all, err
}

func (e *exporter) run(ctx context.Context) error {
	err := e.db.inReadTx(ctx, func(tx *sql.Tx) error {
		if e.rows > 0 {
			return errors.New("the database has broken off") // what is written cannot be taken back
		}
		sections, err := e.sections(ctx, tx)
		if err != nil {
			return err
		}
		for _, s := range sections {
			if err := e.section(ctx, tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.w.flush()
}

func (e *exporter) section(ctx context.Context, tx *sql.Tx, s section) error {
	for last := ""; ; {
		n := 0
		err := queryRows(ctx, tx, s.query, append(s.args, last, exportPage), func(rows *sql.Rows) error {
			v, err := e.values(rows, &last)
			if err != nil {
				return err
			}
			n++
			e.rows++
			return e.w.write(v)
		})
		if err != nil {
			return err
		}
		if e.cfg.Progress != nil {
			e.cfg.Progress(Progress{Stage: StageWriting, Done: e.rows})
		}
		if n < exportPage {
			return nil
		}
	}
}

// values reads a row of a section, and its place there.
func (e *exporter) values(rows *sql.Rows, place *string) (v values, err error) {
	var created, lastSeen, linked int64
	var mergedAt, cancelled, sessionsFrom sql.NullInt64
	var mergedInto, sealed sql.NullString
	err = rows.Scan(&v[fieldUserID], &v[fieldKind], &created, &lastSeen, &mergedInto, &mergedAt, &cancelled, &sessionsFrom, &sealed,
		&v[fieldAppID], &v[fieldOpenID], &v[fieldUnionID], &v[fieldScope], &linked, place)
	if err != nil {
		return v, err
	}
	v[fieldMergedInto] = mergedInto.String
	for f, ms := range map[field]int64{
		fieldCreated: created, fieldLastSeen: lastSeen, fieldLinked: linked,
		fieldMergedAt: mergedAt.Int64, fieldCancelled: cancelled.Int64, fieldSessionsFrom: sessionsFrom.Int64,
	} {
		if ms != 0 {
			v[f] = fromMillis(ms).Format(time.RFC3339Nano)
		}
	}
	if !e.cfg.Phones || sealed.String == "" {
		return v, nil
	}
	number, err := e.db.openPhone(v[fieldUserID], sealed.String)
	v[fieldPhone] = string(number)
	return v, err
}

// rowWriter writes the rows of a file.
type rowWriter interface {
	write(values) error
	flush() error
}

func newRowWriter(cfg ExportConfig) (rowWriter, error) {
	switch cfg.Format {
	case CSV:
		w := csv.NewWriter(cfg.Writer)
		var header values
		for f := range fieldCount {
			header[f] = f.String()
		}
		return csvWriter{w}, w.Write(header[:])
	case NDJSON:
		return jsonWriter{bufio.NewWriterSize(cfg.Writer, 64<<10)}, nil
	}
	return nil, fmt.Errorf("format %q is none of: %s, %s", cfg.Format, CSV, NDJSON)
}

type csvWriter struct{ w *csv.Writer }

func (c csvWriter) write(v values) error { return c.w.Write(v[:]) }

func (c csvWriter) flush() error {
	c.w.Flush()
	return c.w.Error()
}

type jsonWriter struct{ w *bufio.Writer }

// write leaves out what is empty.
func (j jsonWriter) write(v values) error {
	begin := byte('{')
	for f, text := range v {
		if text == "" {
			continue
		}
		value, err := json.Marshal(text)
		if err != nil {
			return err
		}
		_ = j.w.WriteByte(begin) // flush returns the errors of all
		begin = ','
		_, _ = fmt.Fprintf(j.w, "%q:%s", field(f).String(), value)
	}
	_, err := j.w.WriteString("}\n")
	return err
}

func (j jsonWriter) flush() error { return j.w.Flush() }
