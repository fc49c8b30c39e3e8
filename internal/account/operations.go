package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// By says by whose will an operation is done. The zero By is the person
// himself, who has proved what the operation asks for.
type By struct {
	// Operator says that an operator acts. What he does is recorded, in the
	// transaction that does it.
	Operator bool
	Reason   string // of an operator, who must give one
	Name     string // of the operator; empty: he does not say
}

func (b By) check() error {
	if b.Operator && b.Reason == "" {
		return ErrNoReason
	}
	return nil
}

var (
	// ErrNoReason means that an operator has given no reason.
	ErrNoReason = errors.New("an operator must give a reason")
	// ErrUserCancelled means that the account is cancelled.
	ErrUserCancelled = errors.New("the user is cancelled")
	// ErrNotMember means that a guest was named where only a member can be.
	ErrNotMember = errors.New("the user is not a member")
	// ErrUnknownIdentity means that the WeChat account named is not the user's.
	ErrUnknownIdentity = errors.New("unknown identity")
	// ErrSeveralIdentities means that the user has several WeChat accounts
	// which that name fits.
	ErrSeveralIdentities = errors.New("several identities fit")
	// ErrUnknownConflict means that no conflict has that id.
	ErrUnknownConflict = errors.New("unknown conflict")
	// ErrTooManyMoves means that an openid map has more than MaxOpenIDMoves.
	ErrTooManyMoves = errors.New("too many openids for one call")
)

// Action names what an operator did.
type Action string

const (
	ActionUnbind        Action = "unbind"
	ActionCancel        Action = "cancel"
	ActionMerge         Action = "merge"
	ActionRevoke        Action = "revoke"
	ActionMapOpenIDs    Action = "map_openids"
	ActionRebind        Action = "rebind"
	ActionCloseConflict Action = "close_conflict"
	ActionImport        Action = "import"
	ActionExport        Action = "export"
	ActionRepair        Action = "repair"
	ActionReplay        Action = "replay"
	ActionRotateKeys    Action = "rotate_keys"
)

// operate runs an operation as one transaction, with its events, and tells
// caches what to forget. The caller's errors pass through.
func (db *DB) operate(ctx context.Context, by By, f func(*change) error) ([]Event, error) {
	if err := by.check(); err != nil {
		return nil, err
	}
	var c *change
	err := db.inTx(ctx, func(tx *sql.Tx) error {
		if err := db.lockAlone(ctx, tx); err != nil {
			return err
		}
		c = &change{ctx: ctx, tx: tx, db: db, at: time.Now()}
		if err := f(c); err != nil {
			return err
		}
		return c.log()
	})
	if err != nil {
		return nil, err
	}
	db.changed(c.changed)
	return c.events, nil
}

// holding is a user with his identities.
type holding struct {
	who  *user // nil: nobody
	rows []PersonIdentity
}

func holds(ctx context.Context, q querier, who *user) (holding, error) {
	rows, err := readIdentities(ctx, q, who.id)
	return holding{who, rows}, err
}

// deed is what is recorded of an operation.
type deed struct {
	action  Action
	subject string
	detail  any // as JSON
}

// record writes down what an operator does, where one does it.
func (c *change) record(by By, d deed) error {
	if !by.Operator {
		return nil
	}
	raw, err := json.Marshal(d.detail)
	if err != nil {
		return fmt.Errorf("encoding an operation: %w", err)
	}
	err = c.exec(`INSERT INTO wxgate_operation (id, time, action, subject, reason, operator, detail) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		rand.Text(), millis(c.at), string(d.action), cutSubject(d.subject), by.Reason, by.Name, string(raw))
	if err != nil {
		return fmt.Errorf("recording an operation: %w", err)
	}
	return nil
}

// Record writes down what an operator does to something else than accounts. It
// stands before the deed, so that none goes unrecorded.
//
// Errors: ErrNoReason.
func (db *DB) Record(ctx context.Context, by By, action Action) error {
	if err := by.check(); err != nil {
		return err
	}
	return db.inTx(ctx, func(tx *sql.Tx) error {
		c := &change{ctx: ctx, tx: tx, db: db, at: time.Now()}
		return c.record(by, deed{action: action, detail: struct{}{}})
	})
}

// cutSubject keeps as much of the name of a subject as an id is long, for that
// is what a database has room for: a file may have a longer one, and so may what
// names nobody.
func cutSubject(name string) string { return strings.ToValidUTF8(name[:min(len(name), maxID)], "") }

// Page asks for a part of a list, newest first.
type Page struct {
	After string // the id of the last one of the part before; empty: from the newest
	Limit int    // default 100, at most 1000
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, 1000)
}

// OperationRecord is what an operator did.
type OperationRecord struct {
	ID      string          `json:"id"`
	Time    time.Time       `json:"time"`
	Action  Action          `json:"action"`
	Subject string          `json:"subject"` // user id, conflict id or appid
	Reason  string          `json:"reason"`
	By      string          `json:"operator,omitempty"`
	Detail  json.RawMessage `json:"detail"`
}

// Operations lists what operators did, the newest first. With a subject, only
// what they did to it. After an id that is unknown there is nothing.
func (db *DB) Operations(ctx context.Context, subject string, page Page) ([]OperationRecord, error) {
	all, err := readOperations(ctx, db.read, `WHERE (? = '' OR o.subject = ?) AND (? = '' OR EXISTS (
			SELECT 1 FROM wxgate_operation p WHERE p.id = ? AND (o.time < p.time OR o.time = p.time AND o.id < p.id)))
		ORDER BY o.time DESC, o.id DESC LIMIT ?`, subject, subject, page.After, page.After, page.limit())
	if err != nil {
		return nil, fmt.Errorf("reading operations: %w", err)
	}
	return all, nil
}

func readOperations(ctx context.Context, q querier, clause string, args ...any) ([]OperationRecord, error) {
	rows, err := q.QueryContext(ctx, `SELECT o.id, o.time, o.action, o.subject, o.reason, o.operator, o.detail FROM wxgate_operation o `+clause, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(o *OperationRecord) error {
		var ms int64
		var detail string
		err := rows.Scan(&o.ID, &ms, &o.Action, &o.Subject, &o.Reason, &o.By, &detail)
		o.Time, o.Detail = fromMillis(ms), json.RawMessage(detail)
		return err
	})
}

// collect scans all rows and closes them. None is an empty list.
func collect[T any](rows *sql.Rows, scan func(*T) error) ([]T, error) {
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		var v T
		if err := scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
